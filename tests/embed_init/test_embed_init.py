"""`sea embed-init` on whole folders, reloaded through transformers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from tiny_folders import byte_fallback, byte_level, llama, load, logits, matrices

from seatools.streams.tensors import load_tensors, read_header
from seatools.text.tokenizer import load_tokenizer

Sea = Callable[..., Any]
MEANS = ("--method", "subword-mean")  # what is easiest by hand
FIRST_MERGE = 258  # ids of `byte_level`: <s> </s>, 256 bytes, merges
THI = [(b"\xe0", b"\xb8"), (b"\xe0\xb8", b"\x97"), (b"\xe0\xb8\x97", b"\xe0\xb8")]


def _bits(tensor: torch.Tensor) -> np.ndarray:
    return tensor.contiguous().view(torch.uint8).numpy()


def _same(left: torch.Tensor, right: torch.Tensor) -> bool:
    return left.shape == right.shape and np.array_equal(_bits(left), _bits(right))


def _rows_file(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "new_rows.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shard", ["5GB", "20KB"])
def test_old_rows_keep_their_bits_and_new_rows_are_means(
    tmp_path: Path, sea: Sea, tied: bool, dtype: torch.dtype, shard: str
) -> None:
    """Byte-level: b"\\xe0\\xb8" is merged in the base; ท (e0 b8 97) and ทe0b8 (half a character more) are new."""
    base = llama(byte_level(tmp_path / "base", THI[:1]), 259, tied=tied, dtype=dtype, shard=shard)
    new = byte_level(tmp_path / "new", THI)
    assert sea("embed-init", base, *MEANS, "--tokenizer", new, "-o", tmp_path / "out").code == 0
    before, after = load(base), load(tmp_path / "out")
    assert after.dtype == dtype and after.config.vocab_size == 261
    prefix, letter = FIRST_MERGE, 2 + 0x97
    for old, grown in zip(matrices(before), matrices(after), strict=True):
        assert _same(old, grown[:259])
        first = old[[prefix, letter]].double().mean(0).to(dtype)
        # The second ends inside a character, so it is spelled byte by byte.
        second = old[[2 + 0xE0, 2 + 0xB8, letter, 2 + 0xE0, 2 + 0xB8]].double().mean(0).to(dtype)
        assert torch.equal(grown[259], first) and torch.equal(grown[260], second)
    untouched = {
        name: value for name, value in before.state_dict().items() if "embed" not in name and "lm_" not in name
    }
    assert all(_same(value, after.state_dict()[name]) for name, value in untouched.items())
    assert tied == (matrices(after)[0].data_ptr() == matrices(after)[1].data_ptr())


def test_logits_on_old_tokens_are_bit_equal(tmp_path: Path, sea: Sea) -> None:
    base = llama(byte_level(tmp_path / "base", THI[:1]), 259)
    sea("embed-init", base, *MEANS, "--tokenizer", byte_level(tmp_path / "new", THI), "-o", tmp_path / "out")
    ids = [0, 40, 70, 258, 100]
    before, after = load(base), load(tmp_path / "out")
    assert _same(logits(before, ids, 259), logits(after, ids, 259))
    with torch.no_grad():
        whole, grown = before(torch.tensor([ids])).logits, after(torch.tensor([ids])).logits
    assert torch.allclose(whole, grown[..., :259], atol=1e-6)


def test_byte_fallback_vocabulary_by_hand(tmp_path: Path, sea: Sea) -> None:
    base = llama(byte_fallback(tmp_path / "base", ["▁", "a", "▁a"]), 262)
    new = byte_fallback(tmp_path / "new", ["▁", "a", "▁a", "ท", "▁ท", "aa"])
    assert sea("embed-init", base, *MEANS, "--tokenizer", new, "-o", tmp_path / "out").code == 0
    old, grown = matrices(load(base))[0], matrices(load(tmp_path / "out"))[0]
    space, letter, tho = 259, 260, [3 + 0xE0, 3 + 0xB8, 3 + 0x97]
    assert torch.equal(grown[262], old[tho].double().mean(0).float())
    assert torch.equal(grown[263], old[[space, *tho]].double().mean(0).float())
    assert torch.equal(grown[264], old[letter])
    assert [row["pieces"] for row in _rows_file(tmp_path / "out")] == [tho, [space, *tho], [letter, letter]]


def test_rows_and_special_ids_follow_their_tokens(tmp_path: Path, sea: Sea) -> None:
    """The new tokenizer puts three control tokens before the old ones, as Mistral v3 did."""
    specials = ["<s>", "</s>"]
    base = llama(
        byte_level(tmp_path / "base", THI[:1], first=specials), 259, eos_token_id=[1, 5], image_token_index=258
    )
    (base / "generation_config.json").write_text('{"eos_token_id": [1], "suppress_tokens": [2, -1]}')
    new = byte_level(tmp_path / "new", THI[:2], first=["[A]", "[B]", "[C]", *specials])
    assert sea("embed-init", base, *MEANS, "--tokenizer", new, "-o", tmp_path / "out").code == 0
    old, grown = matrices(load(base))[1], matrices(load(tmp_path / "out"))[1]
    assert _same(old, grown[3:262])
    assert torch.equal(grown[0], old.double().mean(0).float())  # [A] stands for no text
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert (config["bos_token_id"], config["eos_token_id"], config["image_token_index"]) == (3, [4, 8], 261)
    generation = json.loads((tmp_path / "out/generation_config.json").read_text())
    assert generation == {"eos_token_id": [4], "suppress_tokens": [5, -1]}


def test_dropped_tokens_are_listed_and_leave_the_config(tmp_path: Path, sea: Sea) -> None:
    base = llama(byte_level(tmp_path / "base", THI[:1], first=["<s>", "</s>"]), 259, pad_token_id=1)
    new = byte_level(tmp_path / "new", THI[:1], first=["<s>"])
    result = sea("embed-init", base, *MEANS, "--tokenizer", new, "-o", tmp_path / "out")
    assert result.code == 0 and "'</s>'" in result.stderr and "eos_token_id" in result.stderr
    assert (tmp_path / "out/dropped_tokens.jsonl").read_bytes() == b'{"token":"</s>","id":1}\n'
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["eos_token_id"] is None and config["pad_token_id"] is None and config["vocab_size"] == 259


def test_padding_rows_are_used_first_and_the_rest_stay(tmp_path: Path, sea: Sea) -> None:
    base = llama(byte_level(tmp_path / "base", THI[:1]), 264)
    assert (
        sea("embed-init", base, *MEANS, "--tokenizer", byte_level(tmp_path / "new", THI), "-o", tmp_path / "out").code
        == 0
    )
    old, grown = matrices(load(base))[0], matrices(load(tmp_path / "out"))[0]
    assert len(grown) == 264
    assert _same(old[:259], grown[:259]) and _same(old[261:], grown[261:])
    assert not torch.equal(old[259], grown[259])


def test_added_padding_is_zero(tmp_path: Path, sea: Sea) -> None:
    base = llama(byte_level(tmp_path / "base", THI[:1]), 259)
    new = byte_level(tmp_path / "new", THI)
    assert (
        sea("embed-init", base, *MEANS, "--tokenizer", new, "-o", tmp_path / "out", "--pad-to-multiple", 64).code == 0
    )
    embedding, head = matrices(load(tmp_path / "out"))
    assert len(embedding) == len(head) == 320
    assert not embedding[261:].any() and not head[261:].any() and embedding[:261].any(1).all()


@pytest.mark.parametrize("method", ["mean", "gaussian", "xavier"])
def test_the_other_methods(tmp_path: Path, sea: Sea, method: str) -> None:
    base = llama(byte_level(tmp_path / "base", THI[:1]), 300, initializer_range=0.5)
    new = byte_level(tmp_path / "new", THI)
    result = sea("embed-init", base, *MEANS, "--tokenizer", new, "-o", tmp_path / "out", "--head-method", method)
    assert result.code == 0
    (_, old), (embedding, head) = matrices(load(base)), matrices(load(tmp_path / "out"))
    if method == "mean":
        assert torch.equal(head[259], old[:259].double().mean(0).float())
    else:
        assert not torch.equal(head[259], head[260])
        scale = 0.5 if method == "gaussian" else (2 / (300 + 16)) ** 0.5  # the standard deviation of U(-b, b): b/sqrt 3
        assert 0.5 * scale < head[259:261].std() < 2 * scale
    assert torch.equal(embedding[259], matrices(load(base))[0][[258, 2 + 0x97]].double().mean(0).float())
    assert [(row["method"], row["head"]["method"]) for row in _rows_file(tmp_path / "out")] == [
        ("subword-mean", method)
    ] * 2


def test_the_record_of_a_new_row(tmp_path: Path, sea: Sea) -> None:
    base = llama(byte_level(tmp_path / "base", []), 258, tied=True)
    sea("embed-init", base, *MEANS, "--tokenizer", byte_level(tmp_path / "new", [(b"a", b"a")]), "-o", tmp_path / "out")
    letter = 2 + ord("a")
    norm = float(matrices(load(base))[0][letter].norm())
    assert _rows_file(tmp_path / "out") == [
        {
            "token": "aa", "id": 258, "origin": "new", "pieces": [letter, letter], "method": "subword-mean",
            "norm": pytest.approx(norm, abs=1e-6), "nearest": {"token": "a", "cosine": 1.0},
        }
    ]  # fmt: skip


def test_pieces_of_new_tokens_jsonl_are_preferred(tmp_path: Path, sea: Sea) -> None:
    base = llama(byte_level(tmp_path / "base", [(b"a", b"b")]), 259, tied=True)
    new = byte_level(tmp_path / "new", [(b"a", b"b"), (b"ab", b"c")])
    letters = [2 + ord(char) for char in "abc"]
    (new / "new_tokens.jsonl").write_text(json.dumps({"token": "abc", "id": 259, "pieces": letters}) + "\n")
    sea("embed-init", base, *MEANS, "--tokenizer", new, "-o", tmp_path / "out")
    assert _rows_file(tmp_path / "out")[0]["pieces"] == letters
    assert not (tmp_path / "out/new_tokens.jsonl").exists()


def test_two_runs_give_the_same_bytes(tmp_path: Path, sea: Sea) -> None:
    base = llama(byte_level(tmp_path / "base", THI[:1]), 259, shard="20KB")
    new = byte_level(tmp_path / "new", THI)
    for name in ("one", "two"):
        sea("embed-init", base, "--tokenizer", new, "-o", tmp_path / name, "--method", "gaussian", "--seed", 7)
    files = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two")]
    assert files[0] == files[1]


def test_index_and_untouched_shards(tmp_path: Path, sea: Sea) -> None:
    base = llama(byte_level(tmp_path / "base", THI[:1]), 259, shard="20KB")
    new = byte_level(tmp_path / "new", THI)
    assert sea("embed-init", base, *MEANS, "--tokenizer", new, "-o", tmp_path / "out", "--link").code == 0
    shards = sorted(path.name for path in base.glob("*.safetensors"))
    linked = {name for name in shards if os.path.samefile(base / name, tmp_path / "out" / name)}
    index = json.loads((tmp_path / "out/model.safetensors.index.json").read_text())
    touched = {index["weight_map"][name] for name in ("model.embed_tokens.weight", "lm_head.weight")}
    assert linked == set(shards) - touched and linked
    sizes = [read_header(tmp_path / "out" / name) for name in shards]
    total = sum(entry["data_offsets"][1] - entry["data_offsets"][0] for head, _, _ in sizes for entry in head.values())
    assert index["metadata"]["total_size"] == total
    assert index["metadata"]["total_parameters"] == total // 4


def test_a_head_stored_beside_a_tied_embedding_stays_equal(tmp_path: Path, sea: Sea) -> None:
    from safetensors.torch import load_file, save_file

    base = llama(byte_level(tmp_path / "base", THI[:1]), 259, tied=True)
    tensors = load_file(base / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    new = byte_level(tmp_path / "new", THI)
    assert sea("embed-init", base, "--tokenizer", new, "-o", tmp_path / "out", "--method", "xavier").code == 0
    stored, metadata = load_tensors(tmp_path / "out/model.safetensors")
    assert np.array_equal(stored["lm_head.weight"], stored["model.embed_tokens.weight"])
    assert metadata == {"format": "pt"}


def test_head_bias_is_extended_by_its_mean(tmp_path: Path, sea: Sea) -> None:
    from safetensors.torch import load_file, save_file

    base = llama(byte_level(tmp_path / "base", THI[:1]), 264)
    tensors = load_file(base / "model.safetensors") | {"lm_head.bias": torch.arange(264.0)}
    tensors["lm_head.odd"] = torch.ones(3, dtype=torch.uint8)
    save_file(tensors, base / "model.safetensors")
    new = byte_level(tmp_path / "new", THI)
    assert (
        sea("embed-init", base, *MEANS, "--tokenizer", new, "-o", tmp_path / "out", "--pad-to-multiple", 128).code == 0
    )
    stored = load_file(tmp_path / "out/model.safetensors")
    assert stored["lm_head.bias"].tolist() == [*range(259), 129, 129, 261, 262, 263, *[0] * 120]
    assert stored["lm_head.odd"].tolist() == [1, 1, 1]


def test_which_files_go_along(tmp_path: Path, sea: Sea) -> None:
    base = llama(byte_level(tmp_path / "base", THI[:1]), 259)
    for name in ("LICENSE", "tokenizer.model.v3", "added_tokens.json", "pytorch_model.bin", "metrics.jsonl", "x.gguf"):
        (base / name).write_text("{}")
    (base / "chat_template.jinja").write_text("{{ messages }}")
    (base / "checkpoints").mkdir()
    new = byte_level(tmp_path / "new", THI)
    (new / "special_tokens_map.json").write_text("{}")
    assert sea("embed-init", base, *MEANS, "--tokenizer", new, "-o", tmp_path / "out").code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "LICENSE", "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors",
        "new_rows.jsonl", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    assert (tmp_path / "out/tokenizer.json").read_bytes() == (new / "tokenizer.json").read_bytes()
    assert (tmp_path / "out.manifest.json").exists()


def test_dry_run_writes_nothing(tmp_path: Path, sea: Sea) -> None:
    base = llama(byte_level(tmp_path / "base", THI[:1]), 259, shard="20KB")
    new = byte_level(tmp_path / "new", THI)
    result = sea("embed-init", base, *MEANS, "--tokenizer", new, "-o", tmp_path / "out", "--dry-run")
    assert result.code == 0 and result.stdout == b""
    assert "rows: [259, 16] -> [261, 16]" in result.stderr and "2 new, 0 dropped" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "new"]


_SMALL = {"vocab_size": 259, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1}
_SMALL |= {"num_attention_heads": 2, "bos_token_id": 0, "eos_token_id": 1}
_GPT2 = {"vocab_size": 259, "n_embd": 16, "n_layer": 1, "n_head": 2, "bos_token_id": 0, "eos_token_id": 1}


@pytest.mark.parametrize(
    "config",
    [
        hf.GPT2Config(**_GPT2),
        hf.GPTJConfig(**_GPT2, rotary_dim=4),  # its head has a bias
        hf.GPTNeoXConfig(**_SMALL),
        hf.Qwen2Config(**_SMALL, num_key_value_heads=2),
        hf.Gemma2Config(**_SMALL, num_key_value_heads=2, head_dim=8),
    ],
    ids=lambda config: config.model_type,
)
def test_other_families(tmp_path: Path, sea: Sea, config: Any) -> None:
    base = byte_level(tmp_path / "base", THI[:1])
    hf.AutoModelForCausalLM.from_config(config).save_pretrained(base)
    new = byte_level(tmp_path / "new", THI[:2])
    assert sea("embed-init", base, *MEANS, "--tokenizer", new, "-o", tmp_path / "out").code == 0
    for old, grown in zip(matrices(load(base)), matrices(load(tmp_path / "out")), strict=True):
        assert _same(old, grown[:259])
        assert torch.equal(grown[259], old[[258, 2 + 0x97]].double().mean(0).float())


def test_model_of_links_as_in_the_hub_cache(tmp_path: Path, sea: Sea) -> None:
    base = llama(byte_level(tmp_path / "base", THI[:1]), 259, shard="20KB")
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    for path in base.iterdir():
        (snapshot / path.name).symlink_to(path)
    new = byte_level(tmp_path / "new", THI)
    assert sea("embed-init", snapshot, *MEANS, "--tokenizer", new, "-o", tmp_path / "out", "--link").code == 0
    assert not any(path.is_symlink() for path in (tmp_path / "out").iterdir())
    assert len(matrices(load(tmp_path / "out"))[0]) == 261


def test_nested_text_config(tmp_path: Path, sea: Sea) -> None:
    base = llama(byte_level(tmp_path / "base", THI[:1]), 259)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({"model_type": "some_vlm", "eos_token_id": 1, "text_config": config}))
    new = byte_level(tmp_path / "new", THI, first=["[A]", "<s>", "</s>"])
    assert sea("embed-init", base, *MEANS, "--tokenizer", new, "-o", tmp_path / "out").code == 0
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert (config["eos_token_id"], config["text_config"]["eos_token_id"]) == (2, 2)
    assert config["text_config"]["vocab_size"] == 262


def test_stories260k_extended_for_thai(tmp_path: Path, sea: Sea, shared: Path) -> None:
    """Real weights: Thai read with the new rows costs fewer tokens, and English logits stay as they were."""
    base = shared / "models/stories260K"
    thai = tmp_path / "th.txt"
    thai.write_text((shared / "data/flores200/dev/tha_Thai.txt").read_text("utf-8"), "utf-8")
    assert sea("vocab-extend", base, f"th={thai}", "--add", 200, "-o", tmp_path / "extended").code == 0
    assert sea("embed-init", base, *MEANS, "--tokenizer", tmp_path / "extended", "-o", tmp_path / "out").code == 0
    old, new = load_tokenizer(base), load_tokenizer(tmp_path / "out")
    text = "Once upon a time, there was a little girl."
    ids = old.encode(text)
    assert (
        new.encode(text)
        == ids
        == hf.AutoTokenizer.from_pretrained(tmp_path / "out").encode(text, add_special_tokens=False)
    )
    before, after = load(base), load(tmp_path / "out")
    assert _same(logits(before, [1, *ids], 512), logits(after, [1, *ids], 512))
    table, grown = matrices(before)[0], matrices(after)[0]
    for row in _rows_file(tmp_path / "out"):
        assert b"".join(map(old.piece_bytes, row["pieces"])) == new.piece_bytes(row["id"])
        assert torch.equal(grown[row["id"]], table[row["pieces"]].double().mean(0).float())
