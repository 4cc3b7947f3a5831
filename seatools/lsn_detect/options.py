"""Everything that decides a detection, in one frozen object that the manifest stores whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from seatools.streams.errors import UsageError

METHODS = ("lape", "plnd", "random")
PARTS = ("ffn", "v", "q", "k")
ATTENTION_PARTS = ("v", "q", "k")
TOP_K = 0.1


@dataclass(frozen=True, kw_only=True)
class DetectOptions:
    """Options of `sea lsn-detect`."""

    method: str = "lape"
    seq_len: int = 512
    """Tokens in a packed row; the longest document of PLND (longer ones are cut)."""
    max_tokens: int = 1_000_000
    """Tokens read per language; reading stops with the document that reaches them."""
    limit: int | None = None
    """Records read per language."""
    percentile: float = 0.95
    """LAPE: a neuron counts as active in a language above this percentile of all probabilities."""
    share: float = 0.01
    """LAPE: this share of all FFN neurons, those of lowest entropy, is kept."""
    top_k: float | None = None
    """PLND: share of each layer and matrix selected in a document (TOP_K, unless there is a `threshold`)."""
    threshold: float | None = None
    """PLND: eps of the paper's rule Imp >= eps, instead of `top_k`."""
    min_docs: float = 1.0
    """PLND: tau, the share of a language's documents in which a neuron must be selected."""
    parts: tuple[str, ...] = PARTS
    """PLND: which matrices are looked at."""
    min_doc_tokens: int = 8
    """PLND: shorter documents are left out; one of two tokens would decide an intersection over thousands."""
    batch_tokens: int = 8192
    """Tokens in a forward pass, at least one row."""
    like_path: str | None = None
    """random: the neuron file whose counts are matched."""
    seed: int = 0
    device: str = "auto"
    dtype: str = "auto"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"unknown method {self.method!r}", fix=f"use one of {', '.join(METHODS)}")
        if (self.method == "random") != (self.like_path is not None):
            raise UsageError("--method random and --like FILE belong together")
        if self.method != "plnd" and (self.top_k is not None or self.threshold is not None):
            raise UsageError("--top-k and --threshold belong to --method plnd")
        if self.top_k is not None and self.threshold is not None:
            raise UsageError("--top-k and --threshold are two rules; give one")
        if self.seq_len < 8 or self.max_tokens < 1 or self.batch_tokens < 1 or self.min_doc_tokens < 2:
            raise UsageError("--seq-len must be 8 or more, --min-doc-tokens 2 or more, token numbers positive")
        if self.min_doc_tokens > self.seq_len:
            raise UsageError(f"--min-doc-tokens {self.min_doc_tokens} is more than --seq-len {self.seq_len}")
        shares = (
            ("--percentile", self.percentile), ("--share", self.share), ("--top-k", self.top_k),
            ("--min-docs", self.min_docs),
        )  # fmt: skip
        for flag, value in shares:
            if value is not None and not 0 < value <= 1:
                raise UsageError(f"{flag} {value} is not a share", fix="more than 0, at most 1")
        if self.threshold is not None and not 0 < self.threshold < float("inf"):
            raise UsageError(f"--threshold {self.threshold} is not a positive number")
        if not self.parts or any(part not in PARTS for part in self.parts):
            raise UsageError(
                f"--parts {','.join(self.parts)}", fix=f"some of {','.join(PARTS)}, or attention for v,q,k"
            )

    @property
    def rule(self) -> tuple[float | None, float | None]:
        """PLND's rule in one document as (top_k, threshold): one of them is None."""
        return (None, self.threshold) if self.threshold is not None else (self.top_k or TOP_K, None)

    def thresholds(self) -> dict[str, Any]:
        """What the neuron file says of how its neurons were chosen."""
        if self.method == "random":
            return {"like": self.like_path, "seed": self.seed}
        read = {"seq_len": self.seq_len, "max_tokens": self.max_tokens, "limit": self.limit}
        if self.method == "lape":
            return read | {"percentile": self.percentile, "share": self.share}
        top_k, threshold = self.rule
        rule: dict[str, Any] = {"top_k": top_k} if threshold is None else {"threshold": threshold}
        parts = {"parts": list(self.parts), "min_doc_tokens": self.min_doc_tokens}
        return read | rule | parts | {"min_docs": self.min_docs}


def parse_parts(text: str) -> tuple[str, ...]:
    """`ffn,attention` -> ("ffn", "v", "q", "k"), in the order of PARTS."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in (*PARTS, "attention")]
    if unknown or not names:
        raise _bad_parts(text)
    wanted = {part for name in names for part in (ATTENTION_PARTS if name == "attention" else (name,))}
    return tuple(part for part in PARTS if part in wanted)


def _bad_parts(text: str) -> UsageError:
    return UsageError(f"--parts {text}", fix=f"some of {','.join(PARTS)}, or attention for v,q,k")
