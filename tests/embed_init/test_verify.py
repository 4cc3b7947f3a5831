"""`verify` accepts what embed-init writes, and names each thing that is broken on purpose."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from tiny_folders import byte_level, llama

from seatools.embed_init.token_map import match_tokens
from seatools.embed_init.verify import Verified, check_verifiable, verify
from seatools.streams.errors import CheckFailed, SeaError
from seatools.text.tokenizer import load_tokenizer

Sea = Callable[..., Any]
MERGES = [(b"\xe0", b"\xb8"), (b"\xe0\xb8", b"\x97"), (b"a", b"b"), (b"ab", b"c")]
EMBEDDING, HEAD, NORM = "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"
INDEX = "model.safetensors.index.json"


@dataclass
class Pair:
    """A model and what embed-init made of it."""

    base: Path
    new: Path
    out: Path

    def verify(self, **more: Any) -> Verified:
        old, new = load_tokenizer(self.base), load_tokenizer(self.new)
        return verify(self.base, old, self.out, new, match_tokens(old, new), **more)

    def fails(self, **more: Any) -> str:
        with pytest.raises(CheckFailed) as error:
            self.verify(**more)
        assert len(error.value.report().splitlines()) <= 3 and str(self.out) not in error.value.report()
        return error.value.report()


@pytest.fixture
def make(tmp_path: Path, sea: Sea) -> Callable[..., Pair]:
    """Llama with rows for 259 tokens, extended by three; `first` puts special tokens before the old ones."""

    def build(*flags: object, first: tuple[str, ...] = (), base: Path | None = None, **model: Any) -> Pair:
        base = base or llama(byte_level(tmp_path / "base", MERGES[:1]), 259, **model)
        new = byte_level(tmp_path / "new", MERGES, first=[*first, "<s>", "</s>"])
        assert sea("embed-init", base, "--tokenizer", new, "-o", tmp_path / "out", *flags).code == 0
        return Pair(base, new, tmp_path / "out")

    return build


def _shard(folder: Path, tensor: str) -> Path:
    index = folder / INDEX
    return folder / (json.loads(index.read_text())["weight_map"][tensor] if index.exists() else "model.safetensors")


def _replace(folder: Path, tensor: str, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Save the file of `tensor` again with what `change` makes of it."""
    path = _shard(folder, tensor)
    tensors = {name: value.clone() for name, value in load_file(path).items()}
    save_file(tensors | {tensor: change(tensors[tensor]).contiguous()}, path, metadata={"format": "pt"})


def _change(folder: Path, tensor: str, change: Callable[[torch.Tensor], object]) -> None:
    """Save the file of `tensor` again after `change` worked on the tensor in place."""

    def changed(table: torch.Tensor) -> torch.Tensor:
        change(table)
        return table

    _replace(folder, tensor, changed)


def _edit(path: Path, **values: Any) -> None:
    body = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in (body | values).items() if value is not ...}))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("tied", [True, False])
def test_what_embed_init_writes_is_accepted(make: Callable[..., Pair], dtype: torch.dtype, tied: bool) -> None:
    pair = make("--pad-to-multiple", 64, "--link", first=("[A]",), dtype=dtype, tied=tied, shard="10KB")
    check_verifiable(pair.base)
    found = pair.verify()
    assert found.counts == {
        "kept_rows": 259, "new_rows": 4, "zero_rows": 57, "other_tensors": 10, "kept_tokens": 259, "positions": 128
    }  # fmt: skip
    assert found.notes == [] and "logits of 259 old tokens at 128 positions bit-equal" in found.sentence


_SMALL = {"vocab_size": 259, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1}
_SMALL |= {"num_attention_heads": 2, "bos_token_id": 0, "eos_token_id": 1}
_GPT2 = {"vocab_size": 259, "n_embd": 16, "n_layer": 1, "n_head": 2, "bos_token_id": 0, "eos_token_id": 1}


@pytest.mark.parametrize(
    "config",
    [
        hf.GPTJConfig(**_GPT2, rotary_dim=4),  # its head has a bias
        hf.GPTNeoXConfig(**_SMALL),
        hf.Gemma2Config(**_SMALL, num_key_value_heads=2, head_dim=8),  # caps its logits
        hf.CohereConfig(**_SMALL, pad_token_id=0),  # scales its logits
    ],
    ids=lambda config: config.model_type,
)
def test_other_families_are_accepted(tmp_path: Path, make: Callable[..., Pair], config: Any) -> None:
    base = byte_level(tmp_path / "base", MERGES[:1])
    hf.AutoModelForCausalLM.from_config(config).save_pretrained(base)
    assert make("--pad-to-multiple", 64, base=base).verify().counts["positions"] == 128


@pytest.mark.parametrize("model", ["stories260K", "babyllama-tok105"])
def test_real_models_extended_for_thai_are_accepted(tmp_path: Path, sea: Sea, shared: Path, model: str) -> None:
    base, out, extended = shared / "models" / model, tmp_path / "out", tmp_path / "extended"
    thai = tmp_path / "th.txt"
    thai.write_text((shared / "data/flores200/dev/tha_Thai.txt").read_text("utf-8"), "utf-8")
    assert sea("vocab-extend", base, f"th={thai}", "--add", 100, "-o", extended).code == 0
    assert sea("embed-init", base, "--tokenizer", extended, "-o", out).code == 0
    found = Pair(base, extended, out).verify()
    assert found.counts["new_rows"] == 100 and found.counts["kept_rows"] == load_tokenizer(base).vocab_size
    _change(out, EMBEDDING, lambda table: table[7].mul_(1 + 2**-20))
    assert "row 7" in Pair(base, extended, out).fails()


@pytest.mark.parametrize("tensor", [EMBEDDING, HEAD])
def test_one_bit_of_one_old_row(make: Callable[..., Pair], tensor: str) -> None:
    pair = make(first=("[A]",), shard="10KB", dtype=torch.bfloat16)
    _change(pair.out, tensor, lambda table: table.view(torch.int16)[100, 3].bitwise_xor_(1))
    piece = load_tokenizer(pair.new).piece(100)
    message = f'"{tensor}" row 100 ({piece!r}): 1 of 16 numbers are not those of the old row 99'
    assert message in pair.fails() and _shard(pair.out, tensor).name in pair.fails()


def test_a_sign_of_zero_is_a_bit_too(make: Callable[..., Pair]) -> None:
    pair = make()
    _change(pair.base, EMBEDDING, lambda table: table[9].fill_(0.0))
    _change(pair.out, EMBEDDING, lambda table: table[9].fill_(-0.0))
    assert "row 9" in pair.fails()


def test_head_rows_swapped(make: Callable[..., Pair]) -> None:
    pair = make()
    _replace(pair.out, HEAD, lambda table: table[[*range(40), 41, 40, *range(42, 262)]])
    assert f'"{HEAD}" row 40' in pair.fails() and "1 more rows" in pair.fails()


def test_rows_left_at_their_old_ids_are_found(make: Callable[..., Pair]) -> None:
    """What transformers' resize does to a tokenizer whose ids shifted: nothing moves."""
    pair = make(first=("[A]",))
    grown = {name: table[[*range(259), 0, 0, 0, 0][:263]] for name, table in load_file(_shard(pair.base, HEAD)).items()
             if name in (EMBEDDING, HEAD)}  # fmt: skip
    for name, table in grown.items():
        _replace(pair.out, name, lambda _, table=table: table)
    assert "are not those of the old row" in pair.fails()


@pytest.mark.parametrize("tensor", [EMBEDDING, HEAD])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_new_row_of_nan_or_infinity(make: Callable[..., Pair], tensor: str, value: float) -> None:
    pair = make()
    _change(pair.out, tensor, lambda table: table[260, 5].fill_(value))
    assert f'"{tensor}" row 260' in pair.fails() and "holds NaN or infinity" in pair.fails()


def test_old_row_of_nan(make: Callable[..., Pair]) -> None:
    pair = make()
    for folder in (pair.base, pair.out):
        _change(folder, EMBEDDING, lambda table: table[200].fill_(torch.nan))
    assert "row 200" in pair.fails() and "as in the old model" in pair.fails()


def test_new_row_of_zeros(make: Callable[..., Pair]) -> None:
    pair = make()
    _change(pair.out, HEAD, lambda table: table[259].zero_())
    assert f'"{HEAD}" row 259' in pair.fails() and "is new, and all zero" in pair.fails()


def test_added_padding_that_is_not_zero(make: Callable[..., Pair]) -> None:
    pair = make("--pad-to-multiple", 64)
    _change(pair.out, EMBEDDING, lambda table: table[300, 0].fill_(1))
    assert "row 300 (padding) is added padding, and not zero" in pair.fails()


def test_padding_of_the_old_model_that_changed(tmp_path: Path, make: Callable[..., Pair]) -> None:
    pair = make(base=llama(byte_level(tmp_path / "base", MERGES[:1]), 264))
    assert pair.verify().counts["kept_rows"] == 261
    _change(pair.out, EMBEDDING, lambda table: table[263, 0].add_(1))
    assert "row 263 (padding): 1 of 16 numbers" in pair.fails()


def test_rows_made_anew_must_be_announced(make: Callable[..., Pair]) -> None:
    pair = make()
    for tensor in (EMBEDDING, HEAD):
        _change(pair.out, tensor, lambda table: table[50].add_(1))
    assert pair.verify(reinitialised=[50]).counts["new_rows"] == 4
    assert "row 50" in pair.fails()


def test_another_tensor_that_changed(make: Callable[..., Pair]) -> None:
    pair = make(shard="10KB")
    _change(pair.out, NORM, lambda norm: norm[3].add_(1))
    assert f'"{NORM}" differs from the old model' in pair.fails()


def test_another_tensor_of_another_dtype(make: Callable[..., Pair]) -> None:
    pair = make()
    _replace(pair.out, NORM, lambda norm: norm.half())
    assert f'"{NORM}" is F16 [16], not F32 [16]' in pair.fails()


def test_a_tensor_too_few_and_one_too_many(make: Callable[..., Pair]) -> None:
    pair = make()
    path = pair.out / "model.safetensors"
    whole = load_file(path)
    save_file({name: value for name, value in whole.items() if name != NORM}, path, metadata={"format": "pt"})
    assert f'tensor "{NORM}" is missing' in pair.fails()
    save_file(whole | {"more": torch.zeros(2)}, path, metadata={"format": "pt"})
    assert 'tensor "more" is not the old model\'s' in pair.fails()


def test_a_matrix_with_rows_too_few(make: Callable[..., Pair]) -> None:
    pair = make()
    _replace(pair.out, HEAD, lambda table: table[:259])
    assert "does not have the shape of the embedding" in pair.fails()


def test_wrong_vocab_size(make: Callable[..., Pair]) -> None:
    pair = make()
    _edit(pair.out / "config.json", vocab_size=259)
    assert f'OUT/config.json: vocab_size is 259, "{EMBEDDING}" is [262, 16]' in pair.fails()


def test_fewer_rows_than_ids(make: Callable[..., Pair]) -> None:
    pair = make()
    for tensor in (EMBEDDING, HEAD):
        _replace(pair.out, tensor, lambda table: table[:261])
    _edit(pair.out / "config.json", vocab_size=261)
    assert "261 rows, and the tokenizer has ids up to 261" in pair.fails()


def test_a_tie_that_broke(make: Callable[..., Pair]) -> None:
    pair = make(tied=True)
    _edit(pair.out / "config.json", tie_word_embeddings=False)
    assert "no head tensor is stored" in pair.fails()
    _edit(pair.out / "config.json", tie_word_embeddings=True)
    tensors = load_file(pair.out / "model.safetensors")
    save_file(tensors | {HEAD: tensors[EMBEDDING] + 1}, pair.out / "model.safetensors", metadata={"format": "pt"})
    assert f'tensor "{HEAD}" is not the old model\'s' in pair.fails()


def test_a_head_that_became_tied(make: Callable[..., Pair]) -> None:
    pair = make()
    _edit(pair.out / "config.json", tie_word_embeddings=True)
    assert "the head of the old model is a matrix of its own" in pair.fails()


def test_stored_copy_of_a_tied_head(tmp_path: Path, make: Callable[..., Pair]) -> None:
    base = llama(byte_level(tmp_path / "base", MERGES[:1]), 259, tied=True)
    tensors = load_file(base / "model.safetensors")
    tensors[HEAD] = tensors[EMBEDDING].clone()
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    pair = make(base=base)
    assert pair.verify().counts["new_rows"] == 3
    _change(pair.out, HEAD, lambda table: table[260].add_(1))
    assert f'"{HEAD}" row 260' in pair.fails() and "tied to" in pair.fails()


def test_a_shard_that_the_index_forgets(make: Callable[..., Pair]) -> None:
    pair = make(shard="10KB")
    forgotten = _shard(pair.out, NORM).name
    weight_map = json.loads((pair.out / INDEX).read_text())["weight_map"]
    _edit(pair.out / INDEX, weight_map={name: file for name, file in weight_map.items() if file != forgotten})
    assert f"OUT/{forgotten} is there, but {INDEX} does not name it" in pair.fails()


def test_a_shard_that_is_not_there(make: Callable[..., Pair]) -> None:
    pair = make(shard="10KB")
    _shard(pair.out, NORM).unlink()
    assert "is missing, and model.safetensors.index.json names it" in pair.fails()


def test_an_index_that_forgets_a_tensor(make: Callable[..., Pair]) -> None:
    pair = make(shard="10KB")
    weight_map = json.loads((pair.out / INDEX).read_text())["weight_map"]
    name = next(name for name in weight_map if list(weight_map.values()).count(weight_map[name]) > 1)
    _edit(pair.out / INDEX, weight_map={other: file for other, file in weight_map.items() if other != name})
    assert f'does not say that "{name}" is in' in pair.fails()


def test_a_wrong_total_size(make: Callable[..., Pair]) -> None:
    pair = make(shard="10KB")
    _edit(pair.out / INDEX, metadata={"total_size": 1})
    assert "total_size is 1, the tensors have" in pair.fails()


def test_a_special_id_that_did_not_move(make: Callable[..., Pair]) -> None:
    pair = make(first=("[A]",), pad_token_id=258)
    _edit(pair.out / "config.json", eos_token_id=1)
    assert "OUT/config.json: eos_token_id is [1]; [1] of the old model are [2] now" in pair.fails()
    _edit(pair.out / "config.json", eos_token_id=2)
    _edit(pair.out / "generation_config.json", bos_token_id=0)
    assert "OUT/generation_config.json: bos_token_id" in pair.fails()


def test_a_special_id_beyond_the_rows(make: Callable[..., Pair]) -> None:
    pair = make(image_token_index=9999)
    assert "image_token_index names 9999; there are 262 rows" in pair.fails()


def test_another_tokenizer(make: Callable[..., Pair]) -> None:
    pair = make()
    (pair.out / "tokenizer.json").write_bytes((pair.base / "tokenizer.json").read_bytes())
    assert "its tokenizer is not that of" in pair.fails()


def test_a_tokenizer_that_transformers_does_not_load(make: Callable[..., Pair]) -> None:
    pair = make()
    _edit(pair.out / "tokenizer_config.json", tokenizer_class="Own", auto_map={"AutoTokenizer": ["x.Y", None]})
    assert "transformers does not load the tokenizer" in pair.fails()


def test_a_config_that_computes_something_else(make: Callable[..., Pair]) -> None:
    """All bytes of the tensors are right, and the model is another one all the same."""
    pair = make()
    _edit(pair.out / "config.json", rms_norm_eps=0.5)
    message = pair.fails()
    assert "logits of old tokens differ" in message and "in the old model" in message


def test_a_config_that_transformers_refuses(make: Callable[..., Pair]) -> None:
    pair = make()
    _edit(pair.out / "config.json", model_type="no_such_type")
    assert "transformers cannot use it" in pair.fails()


def test_truncated_output(make: Callable[..., Pair]) -> None:
    pair = make()
    path = pair.out / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert "OUT/model.safetensors: " in pair.fails() and "header promises" in pair.fails()


def test_a_quantised_model_is_refused_at_the_door(tmp_path: Path) -> None:
    base = llama(byte_level(tmp_path / "base", MERGES[:1]), 259)
    _edit(base / "config.json", quantization_config={"quant_method": "fp8"})
    with pytest.raises(SeaError, match="--verify runs the model, and cannot") as error:
        check_verifiable(base)
    assert error.value.fix == "leave out --verify"


def test_a_model_larger_than_memory_is_refused_at_the_door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = llama(byte_level(tmp_path / "base", MERGES[:1]), 259)
    monkeypatch.setattr("seatools.embed_init.logit_proof._free_memory", lambda: 50_000)
    with pytest.raises(SeaError, match="in fp32, which takes .* bytes; 50,000 are free"):
        check_verifiable(base)


def test_bits_are_compared_chunk_by_chunk(make: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows on both sides of a chunk's end, with chunks of three rows."""
    monkeypatch.setattr("seatools.embed_init.old_rows.CHUNK_BYTES", 4 * 16 * 3)
    pair = make("--pad-to-multiple", 64)
    pair.verify()
    for row in (2, 3, 258, 319):
        clean = _shard(pair.out, EMBEDDING).read_bytes()
        _change(pair.out, EMBEDDING, lambda table, row=row: table[row, 15].add_(1))
        assert f"row {row} (" in pair.fails()
        _shard(pair.out, EMBEDDING).write_bytes(clean)


def test_verify_on_the_command_line(tmp_path: Path, sea: Sea) -> None:
    """A model with a row of NaN that no new row is made of: exit 3, and nothing is left but what was there."""
    base = llama(byte_level(tmp_path / "base", MERGES[:1]), 259)
    new = byte_level(tmp_path / "new", MERGES)
    result = sea("embed-init", base, "--tokenizer", new, "-o", tmp_path / "out", "--verify")
    assert result.code == 0 and "bit-equal in fp32" in result.stderr
    manifest = json.loads((tmp_path / "out.manifest.json").read_text())
    assert manifest["counts"]["verified"]["new_rows"] == 3
    _change(base, HEAD, lambda table: table[200].fill_(torch.nan))
    before = {path: path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*"))}
    result = sea("embed-init", base, "--tokenizer", new, "-o", tmp_path / "out", "--verify", "--force")
    assert result.code == 3 and f'"{HEAD}" row 200' in result.stderr and len(result.stderr.splitlines()) <= 3
    assert {path: path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*"))} == before
