"""Tokenizer and model folders small enough to compute by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers as hf

from seatools.text.byte_alphabet import BYTE_TO_CHAR, spell

Merge = tuple[bytes, bytes]


def added(content: str, id: int) -> dict[str, Any]:
    """A special entry of `added_tokens`."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": id, "content": content, **flags}


def byte_level(folder: Path, merges: list[Merge], *, first: list[str] | None = None) -> Path:
    """A byte-level BPE: specials `first` (default <s> </s>), the 256 bytes in order, then what the merges make."""
    specials = ["<s>", "</s>"] if first is None else first
    vocabulary = {token: id for id, token in enumerate([*specials, *(BYTE_TO_CHAR[byte] for byte in range(256))])}
    for left, right in merges:
        vocabulary[spell(left + right)] = len(vocabulary)
    model = {"type": "BPE", "vocab": vocabulary, "merges": [[spell(left), spell(right)] for left, right in merges]}
    step = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return _folder(folder, {"model": model, "pre_tokenizer": step, "decoder": step}, specials)


def byte_fallback(folder: Path, pieces: list[str], *, byte_pieces: bool = True) -> Path:
    """A Llama-like BPE with a dummy prefix: <unk> <s> </s>, 256 byte pieces, then `pieces` (merged left to right)."""
    specials = ["<unk>", "<s>", "</s>"]
    names = [*specials, *(f"<0x{byte:02X}>" for byte in range(256) if byte_pieces), *pieces]
    merges = [[piece[:-1], piece[-1]] for piece in pieces if len(piece) > 1]
    model = {
        "type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": byte_pieces,
        "vocab": {name: id for id, name in enumerate(names)}, "merges": merges,
    }  # fmt: skip
    space = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    normalizer = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, space]}
    back = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    decoder = {"type": "Sequence", "decoders": [back, {"type": "ByteFallback"}, {"type": "Fuse"}]}
    return _folder(folder, {"model": model, "normalizer": normalizer, "decoder": decoder}, specials)


def _folder(folder: Path, parsed: dict[str, Any], specials: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tokens = [added(token, id) for id, token in enumerate(specials)]
    body = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": tokens, **parsed}
    (folder / "tokenizer.json").write_text(json.dumps(body))
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
    config |= {role: token for role, token in (("bos_token", "<s>"), ("eos_token", "</s>")) if token in specials}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


_SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}


def llama(
    folder: Path, rows: int, *, tied: bool = False, dtype: torch.dtype = torch.float32, shard: str = "5GB", **more: Any
) -> Path:
    """Save a random Llama (16 columns, one layer) beside the tokenizer in `folder`."""
    config = hf.LlamaConfig(
        vocab_size=rows, tie_word_embeddings=tied,
        **(_SIZES | _special_ids(folder) | more),
    )  # fmt: skip
    torch.manual_seed(0)
    hf.LlamaForCausalLM(config).to(dtype).save_pretrained(folder, max_shard_size=shard)
    return folder


def _special_ids(folder: Path) -> dict[str, int | None]:
    """BOS and EOS as the tokenizer in `folder` has them."""
    tokens = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    ids = {token["content"]: token["id"] for token in tokens}
    return {"bos_token_id": ids.get("<s>"), "eos_token_id": ids.get("</s>")}


def load(folder: Path) -> Any:
    """Through transformers, in the dtype that is stored; every key must be known and present."""
    model, info = hf.AutoModelForCausalLM.from_pretrained(folder, dtype="auto", output_loading_info=True)
    assert not any(info.values()), info
    return model.eval()


def matrices(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Embedding and head."""
    return model.get_input_embeddings().weight.detach(), model.get_output_embeddings().weight.detach()


def logits(model: Any, ids: list[int], columns: int) -> torch.Tensor:
    """Logits [1, len(ids), columns] of the first tokens. Only they are multiplied, since BLAS sums a column in another
    order when the matrix has other columns beside it."""
    with torch.no_grad():
        hidden = model.model(torch.tensor([ids])).last_hidden_state
        return torch.nn.functional.linear(hidden, matrices(model)[1][:columns])
