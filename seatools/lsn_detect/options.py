"""What decides the statistics of a model on texts: all of it goes into the file, and files merge only where it agrees.

How neurons are then chosen is another matter, and other options: `select.SelectOptions`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from seatools.streams.errors import UsageError

PARTS = ("ffn", "shared", "q", "k", "v", "o")
ATTENTION_PARTS = ("q", "k", "v", "o")
QK_KINDS = ("closed", "exact")
SEQ_LEN = 512
TOP_K = (0.01, 0.02, 0.05, 0.1, 0.2)


@dataclass(frozen=True, kw_only=True)
class StatsOptions:
    """Options of a pass over texts."""

    parts: tuple[str, ...] = PARTS
    """Which neurons are measured: FFN, shared experts, rows of q, k and v, columns of o."""
    seq_len: int | None = None
    """Tokens in a packed row; a document that is longer is cut into contexts of so many. None: SEQ_LEN, or what the
    model takes where that is less."""
    min_doc_tokens: int = 8
    """Contexts shorter than this are left out."""
    max_tokens: int = 1_000_000
    """Tokens read per language."""
    limit: int | None = None
    """Records read per language."""
    top_k: tuple[float, ...] = TOP_K
    """Shares of a place for which documents are counted that have a neuron among its most important."""
    thresholds: tuple[float, ...] = ()
    """Importances for which documents are counted in which a neuron reaches them."""
    qk: str = "closed"
    """How rows of q and k are measured: to first order in the softmax, or exactly, which costs head_dim softmaxes."""
    exact_norm: bool = False
    """FFN of a model that norms what its blocks give: the change after that norm, not before it."""
    taylor: bool = False
    """The loss-aware score as well, by a backward pass."""
    batch_tokens: int = 8192
    """Tokens in a forward pass, at least one row; changes results by rounding only."""
    shard: tuple[int, int] = (0, 1)
    """(i, N): read the contexts of shard i, from 0, of N."""
    stop_jaccard: float | None = None
    """Stop when the choices from the two halves of what was read agree so well, in every language."""
    check_every: int = 100_000
    """Tokens per language between two looks at the halves."""
    device: str = "auto"
    dtype: str = "auto"
    """Of the weights and the forward pass; sums are float32 within a batch and float64 over batches."""

    def __post_init__(self) -> None:
        if not self.parts or any(part not in PARTS for part in self.parts):
            raise _bad_parts(",".join(self.parts))
        least = 8 if self.seq_len is None else self.seq_len
        if least < 8 or self.max_tokens < 1 or self.batch_tokens < 1 or self.min_doc_tokens < 2:
            raise UsageError("--seq-len must be 8 or more, --min-doc-tokens 2 or more, token numbers positive")
        if self.seq_len is not None and self.min_doc_tokens > self.seq_len:
            raise UsageError(f"--min-doc-tokens {self.min_doc_tokens} is more than --seq-len {self.seq_len}")
        if self.max_tokens < self.min_doc_tokens:
            raise UsageError(f"--max-tokens {self.max_tokens} is less than --min-doc-tokens {self.min_doc_tokens}")
        if self.qk not in QK_KINDS:
            raise UsageError(f"--qk {self.qk}", fix=f"one of {', '.join(QK_KINDS)}")
        for share in self.top_k:
            if not 0 < share <= 1:
                raise UsageError(f"--top-k {share} is not a share", fix="more than 0, at most 1")
        for threshold in self.thresholds:
            if not 0 < threshold < math.inf:
                raise UsageError(f"--threshold {threshold} is not a positive number")
        if self.stop_jaccard is not None and not 0 < self.stop_jaccard <= 1:
            raise UsageError(f"--stop-jaccard {self.stop_jaccard} is not a share", fix="0.9, for example")
        if self.stop_jaccard is not None and self.shard[1] > 1:
            raise UsageError("--stop-jaccard needs all of the text; --shard has a part of it")
        if self.check_every < 1:
            raise UsageError(f"--check-every {self.check_every}", fix="1 or more tokens")

    def fitted(self, positions: int | None) -> tuple[StatsOptions, int]:
        """These options with the length of a row, and that length, for a model of `positions` (None: any number)."""
        if self.seq_len is not None and positions is not None and self.seq_len > positions:
            raise UsageError(f"--seq-len {self.seq_len} is more than the model's {positions} positions")
        seq_len = self.seq_len or min(SEQ_LEN, positions or SEQ_LEN)
        return replace(self, seq_len=seq_len), seq_len

    @property
    def limits(self) -> str:
        """How much of a text is read; shards of one text add up only where this is equal."""
        records = "" if self.limit is None else f" of {self.limit} records"
        return f"{self.max_tokens} tokens{records}"

    def recorded(self, parts: tuple[str, ...], dtype: str) -> dict[str, Any]:
        """What the file says of how it was made; statistics merge only where this is equal. `parts` of the model."""
        return {
            "parts": list(parts), "seq_len": self.seq_len, "min_doc_tokens": self.min_doc_tokens,
            "top_k": list(self.top_k), "thresholds": list(self.thresholds), "qk": self.qk,
            "exact_norm": self.exact_norm, "taylor": self.taylor, "dtype": dtype,
        }  # fmt: skip


def parse_parts(text: str) -> tuple[str, ...]:
    """`ffn,attention` -> ("ffn", "q", "k", "v", "o"), `all` -> PARTS, in the order of PARTS."""
    groups: Mapping[str, tuple[str, ...]] = {"attention": ATTENTION_PARTS, "all": PARTS}
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or any(name not in (*PARTS, *groups) for name in names):
        raise _bad_parts(text)
    wanted = {part for name in names for part in groups.get(name, (name,))}
    return tuple(part for part in PARTS if part in wanted)


def parse_core(text: str) -> str | int:
    """`all` -> "all", `3` -> 3."""
    if text == "all":
        return text
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"--core {text}", fix="all, or a number of languages from 2")
    return int(text)


def _bad_parts(text: str) -> UsageError:
    return UsageError(f"--parts {text}", fix=f"some of {','.join(PARTS)}; attention for q,k,v,o; or all")
