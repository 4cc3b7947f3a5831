"""tekken.json: the ids of mistral_common, its special tokens, and what bad files get."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seatools.streams.errors import SeaError, UsageError
from seatools.text.agreement import PROBES
from seatools.text.tokenizer import load_tokenizer

PATTERN = r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+|\s+(?!\S)|\s+"
LANGUAGES = (
    "eng_Latn", "tha_Thai", "lao_Laoo", "khm_Khmr", "mya_Mymr", "vie_Latn", "zho_Hans", "tam_Taml", "arb_Arab",
    "rus_Cyrl",
)  # fmt: skip


def tekken(pieces: tuple[bytes, ...] = (b"ab", b"abc", b"spare"), **config: Any) -> dict[str, Any]:
    """256 bytes and `pieces`, all but the last in use, after 20 special tokens."""
    every = [*(bytes([byte]) for byte in range(256)), *pieces]
    return {
        "config": {
            "pattern": PATTERN,
            "num_vocab_tokens": len(every),
            "default_vocab_size": 20 + len(every) - 1,
            "default_num_special_tokens": 20,
            "version": "v3",
            **config,
        },
        "vocab": [
            {"rank": rank, "token_bytes": base64.b64encode(data).decode(), "token_str": None}
            for rank, data in enumerate(every)
        ],
    }


def write(folder: Path, parsed: Any, name: str = "tekken.json") -> Path:
    (folder / name).write_text(json.dumps(parsed))
    return folder / name


@pytest.fixture(scope="module", params=["tekken_240718.json", "tekken_240911.json"])
def published(request: pytest.FixtureRequest) -> Iterator[Path]:
    mistral_common = pytest.importorskip("mistral_common", reason="needs mistral-common, which carries tekken files")
    yield Path(mistral_common.__file__).parent / "data" / request.param


def test_ids_and_special_tokens_are_those_of_mistral_common(published: Path, shared: Path) -> None:
    from mistral_common.tokens.tokenizers.base import SpecialTokenPolicy
    from mistral_common.tokens.tokenizers.tekken import Tekkenizer

    theirs, ours = Tekkenizer.from_file(published), load_tokenizer(published)
    texts = [*PROBES, "", "\0", "a\u2028b", "<s>[INST] hi </s>"]
    for lang in LANGUAGES:
        texts += (shared / f"data/flores200/dev/{lang}.txt").read_text("utf-8").split("\n")[:-1:5]
    ids = [theirs.encode(text, bos=False, eos=False) for text in texts]
    assert ours.encode_batch(texts) == ids
    keep = SpecialTokenPolicy.KEEP
    assert [ours.decode(row) for row in ids] == [theirs.decode(row, special_token_policy=keep) for row in ids]
    assert (ours.kind, ours.vocab_size) == ("tekken", theirs.n_words)
    assert (ours.bos_id, ours.eos_id) == (theirs.bos_id, theirs.eos_id)
    assert (ours.unk_id, ours.pad_id) == (theirs.unk_id, theirs.pad_id)
    assert {ours.piece(id): id for id in range(1000)} == ours.special_ids
    assert [ours.piece(id) for id in range(1000)] == [theirs.id_to_piece(id) for id in range(1000)]
    sample = range(1000, theirs.n_words, 997)
    assert [ours.piece_bytes(id) for id in sample] == [
        theirs.id_to_byte_piece(id, SpecialTokenPolicy.RAISE) for id in sample
    ]


def test_a_folder_and_a_file_of_any_name_give_the_same_tokenizer(tmp_path: Path) -> None:
    write(tmp_path, tekken(), "tekken.json")
    write(tmp_path, tekken(), "other.json")
    by_folder, by_name = load_tokenizer(tmp_path), load_tokenizer(tmp_path / "other.json")
    assert by_folder.kind == by_name.kind == "tekken"
    assert by_folder.digest() == by_name.digest()


def test_only_the_ranks_in_use_count_and_ids_follow_the_special_tokens(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(write(tmp_path, tekken()))
    assert tokenizer.vocab_size == 20 + 258
    assert tokenizer.encode("abc ab") == [20 + 257, 20 + ord(" "), 20 + 256]
    assert len(tokenizer.encode("spare")) == 5
    assert tokenizer.encode("<s>ab", special=True) == [1, 20 + 256]
    assert tokenizer.piece_to_id(tokenizer.piece(277)) == 277


def test_special_tokens_of_the_file_are_filled_up(tmp_path: Path) -> None:
    named = [{"rank": rank, "token_str": text, "is_control": True} for rank, text in enumerate(("<unk>", "<s>"))]
    parsed = tekken(version="v11") | {"special_tokens": named}
    tokenizer = load_tokenizer(write(tmp_path, parsed))
    assert list(tokenizer.special_ids)[:3] == ["<unk>", "<s>", "<SPECIAL_2>"]
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id, tokenizer.add_bos) == (1, None, None, True)


def test_tokenizer_json_wins_over_a_tekken_file_beside_it_and_says_so(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((shared / "models/stories260K/tokenizer.json").read_bytes())
    write(tmp_path, tekken())
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.kind == "json-bpe"
    assert any("tekken.json" in note for note in tokenizer.notes)


def test_a_pattern_is_of_no_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has its own pre-tokenizer"):
        load_tokenizer(write(tmp_path, tekken()), pattern="gpt2")


def broken(number: int, **entry: Any) -> dict[str, Any]:
    parsed = tekken()
    parsed["vocab"][number].update(entry)
    return parsed


@pytest.mark.parametrize(
    ("parsed", "match"),
    [
        (broken(256, token_bytes="!"), "is not the piece of rank 256"),
        (broken(257, token_bytes="YWI="), "is not the piece of rank 257"),  # the same bytes as 256
        (broken(65, token_bytes="Qg=="), "is not the piece of rank 65"),
        (broken(256, rank=9), "is not the piece of rank 256"),
        (tekken(default_vocab_size=400), "uses 380 ranks and holds 259"),
        (tekken(default_vocab_size="x"), "default_vocab_size is 'x'"),
        (tekken(default_num_special_tokens=3), "has 20 special tokens and default_num_special_tokens 3"),
        (tekken(version="v11"), "names no special tokens"),
        (tekken(pattern="("), "cannot use the pattern"),
        (tekken() | {"special_tokens": [{"rank": 1, "token_str": "<s>"}]}, "is not special token 0"),
        (
            tekken() | {"special_tokens": [{"rank": rank, "token_str": "<s>"} for rank in (0, 1)]},
            "names a special token twice",
        ),
    ],
)  # fmt: skip
def test_broken_files_are_refused(tmp_path: Path, parsed: dict[str, Any], match: str) -> None:
    with pytest.raises(SeaError, match=match) as caught:
        load_tokenizer(write(tmp_path, parsed))
    assert caught.value.fix
