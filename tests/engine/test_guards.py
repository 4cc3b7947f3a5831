"""Guards: a sound model and sound data pass, each fault is refused by its name and with how to mend it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seatools.engine.guards import check_data, check_model
from seatools.streams.errors import SeaError
from seatools.text.documents import TokenizedDoc
from seatools.text.packed import PackedData, read_packed, write_packed
from seatools.text.packed_shards import read_packed_files
from seatools.text.packing import pack

VOCABULARY = 97
EOS = 2


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma2"])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_sound_model_passes(tiny_model, family, tied, dtype):
    check_model(tiny_model(family, dtype, tie_word_embeddings=tied), VOCABULARY)


def test_more_ids_than_rows(tiny_model):
    with pytest.raises(SeaError, match="ids up to 97.*97 embedding rows") as error:
        check_model(tiny_model(), VOCABULARY + 1)
    assert "embed-init" in error.value.fix


def test_config_with_another_vocabulary(tiny_model):
    model = tiny_model()
    model.config.vocab_size = 96
    with pytest.raises(SeaError, match="vocab_size 96.*97 rows"):
        check_model(model, 90)


def test_head_with_other_rows_than_the_embeddings(tiny_model):
    model = tiny_model()
    model.lm_head = torch.nn.Linear(32, 96, bias=False)
    with pytest.raises(SeaError, match="head has 96 rows"):
        check_model(model, 90)


@pytest.mark.parametrize("tied", [False, True])
def test_tie_flag_that_is_not_true(tiny_model, tied):
    model = tiny_model(tie_word_embeddings=tied)
    model.config.tie_word_embeddings = not tied
    with pytest.raises(
        SeaError, match="untied, but they are one tensor" if tied else "tied, but they are two"
    ) as error:
        check_model(model, VOCABULARY)
    assert f"tie_word_embeddings to {str(tied).lower()}" in error.value.fix


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["model.embed_tokens.weight", "model.layers.2.mlp.down_proj.weight"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_number_that_is_not_finite_is_named(tiny_model, value, name, dtype):
    model = tiny_model("llama", dtype)
    with torch.no_grad():
        dict(model.named_parameters())[name].view(-1)[5] = value
    with pytest.raises(SeaError, match=name):
        check_model(model, VOCABULARY)


@pytest.mark.parametrize("part", ["embed_tokens", "lm_head"])
def test_zero_rows_of_tokens_are_found_and_others_may_be_zero(tiny_model, part, monkeypatch):
    monkeypatch.setattr("seatools.engine.guards.BLOCK_ROWS", 16)  # several blocks
    model = tiny_model()
    weight = next(p for name, p in model.named_parameters() if part in name)
    with torch.no_grad():
        weight[[0, 33, 90, 95]] = 0
    with pytest.raises(SeaError, match="row of token 33 and of 1 more is all zeros"):
        check_model(model, 94, exempt=(0, None))  # 95 is beyond the tokenizer: padding of the matrix
    check_model(model, 94, exempt=(0, 33, 90))


Source = tuple[str, Sequence[tuple[list[int], list[int]]]]


def packed_data(path: Path, *sources: Source, row_length: int = 16) -> PackedData:
    docs, owners = [], []
    for number, (_, own) in enumerate(sources):
        for ids, mask in own:
            docs.append(TokenizedDoc(np.array(ids, np.uint32), np.array([0, *mask[1:]], np.uint8)))
            owners.append(number)
    rows = pack([len(doc.ids) for doc in docs], row_length, seed=0)
    write_packed(path, rows, docs, owners, row_length=row_length, tokenizer_digest="x", sources=[n for n, _ in sources])
    return read_packed(path)


TEXT = [([1, 7, 8, EOS], [0, 1, 1, 1])] * 3
CHAT = [([1, 7, 8, 9, EOS], [0, 0, 0, 1, 1])] * 3
MUTE_TEXT = [([1, 7, 8, 9], [0, 1, 1, 1])] * 3
MUTE_CHAT = [([1, 7, 8, 9, EOS], [0, 0, 0, 1, 0])] * 3


def check(packed: Any, **options: Any) -> Any:
    return check_data(packed, {EOS}, num_rows=VOCABULARY, **options)


def test_sound_data_passes_and_is_described(tmp_path):
    warned: list[str] = []
    found = check(packed_data(tmp_path / "p", ("th", TEXT), ("chat", CHAT)), warn=warned.append)
    assert {name: (seen.ends, seen.masked) for name, seen in found.items()} == {
        "th": (True, False), "chat": (True, True),
    }  # fmt: skip
    assert not warned


def test_chat_whose_end_is_never_trained_is_refused_though_text_has_one(tmp_path):
    with pytest.raises(SeaError, match="chat: no target is a token that ends an answer") as error:
        check(packed_data(tmp_path / "p", ("th", TEXT), ("chat", MUTE_CHAT)))
    assert "eos_token" in error.value.fix


def test_text_without_an_end_is_warned_of(tmp_path):
    warned: list[str] = []
    check(packed_data(tmp_path / "p", ("th", MUTE_TEXT)), warn=warned.append)
    assert len(warned) == 1 and warned[0].startswith("th: no target")


def test_an_end_in_the_last_of_many_documents_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr("seatools.engine.guards.SEGMENTS", 2)
    found = check(packed_data(tmp_path / "p", ("chat", [*MUTE_CHAT, *MUTE_CHAT, *CHAT[:1]])))
    assert found["chat"].ends


def test_shards_are_read_as_one(tmp_path):
    one = packed_data(tmp_path / "a", ("chat", MUTE_CHAT))
    other = packed_data(tmp_path / "b", ("chat", CHAT))
    assert check(read_packed_files([one.path, other.path]))["chat"].ends


def test_chat_without_a_template_is_refused_and_text_is_not(tmp_path):
    with pytest.raises(SeaError, match="without a chat template") as error:
        check(packed_data(tmp_path / "p", ("chat", CHAT)), template_missing=True)
    assert "--chat-template" in error.value.fix
    check(packed_data(tmp_path / "q", ("th", TEXT)), template_missing=True)


def test_a_token_without_a_row(tmp_path):
    with pytest.raises(SeaError, match="token 97 is in the data, and the model has 97 rows"):
        check(packed_data(tmp_path / "p", ("th", [([1, 97, EOS], [0, 1, 1])])))


def test_a_source_without_targets_is_left_out(tmp_path):
    found = check(packed_data(tmp_path / "p", ("th", TEXT), ("none", [([5, 6], [0, 0])])))
    assert set(found) == {"th"}
