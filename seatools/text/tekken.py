"""Mistral's tekken.json: byte-level ranks with their pattern and special tokens in one file.

Special tokens come first: the id of an ordinary piece is its rank plus their number, and missing ones are called
`<SPECIAL_n>`. Only the first `default_vocab_size` - `default_num_special_tokens` ranks are in use (130,072 of 150,000
in the public files). Everything follows `mistralai/mistral-common:src/mistral_common/tokens/tokenizers/tekken.py`,
which is the oracle of the tests. Engine: tiktoken with the shifted ids as ranks, which keeps their order. Cost: 0.7 s.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from seatools.streams.errors import SeaError
from seatools.text.special_tokens import is_id
from seatools.text.tiktoken_ranks import TiktokenTokenizer

# What files without `special_tokens` mean (mistral_common's DEPRECATED_SPECIAL_TOKENS), and which may leave them out.
_UNNAMED_SPECIAL = (
    "<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]",
    "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]",
)  # fmt: skip
_MAY_OMIT = ("v1", "v2", "v3", "v7")


class TekkenTokenizer(TiktokenTokenizer):
    """A tekken.json. `ranks`: bytes -> id, special tokens counted; `parsed`: the file."""

    kind = "tekken"

    def __init__(self, path: Path, parsed: dict[str, Any], files: tuple[Path, ...], *, where: Path) -> None:
        """`where`: the file to name in errors."""
        self.path, self.files, self.notes, self.parsed = path, files, [], parsed
        config = parsed["config"]
        size = _count(config, "default_vocab_size", where)
        self.num_special = _count(config, "default_num_special_tokens", where)
        special_ids = _special_ids(parsed, self.num_special, where)
        ranks = _ranks(parsed["vocab"], size - self.num_special, self.num_special, where)
        self._set_engine(where, ranks, config["pattern"], special_ids)
        self.bos_id, self.eos_id = special_ids.get("<s>"), special_ids.get("</s>")
        self.unk_id, self.pad_id = special_ids.get("<unk>"), special_ids.get("<pad>")
        self.add_bos = self.bos_id is not None  # the file does not say; mistral_common begins every prompt with it


def is_tekken(parsed: Any) -> bool:
    """True for the JSON of a tekken file."""
    config = parsed.get("config") if isinstance(parsed, dict) else None
    return isinstance(config, dict) and isinstance(config.get("pattern"), str) and isinstance(parsed.get("vocab"), list)


def _count(config: dict[str, Any], name: str, where: Path) -> int:
    value = config.get(name)
    if not is_id(value):
        raise SeaError(f"{where}: {name} is {value!r}, not a number", fix="get the file again")
    return value


def _special_ids(parsed: dict[str, Any], num_special: int, where: Path) -> dict[str, int]:
    entries = parsed.get("special_tokens")
    if entries is None:
        version = parsed["config"].get("version")
        if version not in _MAY_OMIT:
            raise SeaError(
                f"{where} names no special tokens, which version {version!r} must do", fix="get the file again"
            )
        entries = [{"rank": rank, "token_str": text} for rank, text in enumerate(_UNNAMED_SPECIAL)]
    if not isinstance(entries, list):
        raise SeaError(f"{where}: its special_tokens are no list", fix="get the file again")
    texts: list[str] = []
    for entry in entries:
        text = entry.get("token_str") if isinstance(entry, dict) else None
        if not isinstance(text, str) or not text or entry.get("rank") != len(texts):
            raise SeaError(f"{where}: {entry!r} is not special token {len(texts)}", fix="get the file again")
        texts.append(text)
    if len(texts) > num_special:
        raise SeaError(
            f"{where} has {len(texts)} special tokens and default_num_special_tokens {num_special}",
            fix="get the file again",
        )
    texts += [f"<SPECIAL_{rank}>" for rank in range(len(texts), num_special)]
    ids = {text: id for id, text in enumerate(texts)}
    if len(ids) < len(texts):
        raise SeaError(f"{where} names a special token twice", fix="get the file again")
    return ids


def _ranks(entries: list[Any], num_used: int, first_id: int, where: Path) -> dict[bytes, int]:
    if not 256 <= num_used <= len(entries):
        raise SeaError(
            f"{where} uses {num_used} ranks and holds {len(entries)}", fix="get the file again; its config does not fit"
        )
    ranks: dict[bytes, int] = {}
    for rank, entry in enumerate(entries[:num_used]):
        try:
            data = base64.b64decode(entry["token_bytes"], validate=True) if entry["rank"] == rank else b""
        except (KeyError, TypeError, ValueError):  # binascii.Error is a ValueError
            data = b""
        if not data or data in ranks or (rank < 256 and data != bytes([rank])):
            shown = str(entry)[:80]
            raise SeaError(f"{where}: {shown} is not the piece of rank {rank}", fix="get the file again")
        ranks[data] = first_id + rank
    return ranks
