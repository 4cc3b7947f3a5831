"""Pre-tokenizer patterns by name, for files that hold ranks or merges but not the pattern.

Source of `pattern` and the special tokens: `openai/tiktoken:tiktoken_ext/openai_public.py` (0.14). `portable` is that,
rewritten for the regex engine of tokenizers, Oniguruma, which reads `{1,3}+` as "groups of one to three, repeated" and
`$` as the end of any line; a test splits text both ways. (The form of cl100k_base that many tokenizer.json files carry
is older: after a line break it splits trailing spaces off, which tiktoken no longer does.) GPT-2's portable form is
`openai/gpt-2:src/encoder.py`; Qwen2's pattern is `transformers/models/qwen2/tokenization_qwen2.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from seatools.streams.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One published encoding, without its ranks."""

    pattern: str
    """For tiktoken (fancy-regex)."""
    portable: str
    """The same splits, for tokenizers (Oniguruma)."""
    num_ranks: int
    """How many ranks the published file has; the special tokens belong to that file."""
    special: dict[str, int]

    def owns(self, ids: Iterable[int]) -> bool:
        """True for the ids of the published file, with or without others above all special tokens."""
        # The published ids run from 0 without gaps, but for special tokens among them (p50k_base: 50256).
        taken = set(self.special.values())
        published = set(range(self.num_ranks + sum(id < self.num_ranks for id in taken))) - taken
        others = set(ids)
        if not published <= others:
            return False
        others -= published
        return not others or min(others) > max(taken)


GPT2_PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
_R50K = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""
_CL100K = (
    r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"""
    r"""|\s++$|\s*[\r\n]|\s+(?!\S)|\s"""
)
_CL100K_PORTABLE = (
    r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"""
    r"""|\s+\z|\s*[\r\n]|\s+(?!\S)|\s"""
)
_O200K = (
    r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"""
    r"""|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"""
    r"""|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
)

QWEN2_PATTERN = (
    r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"""
    r"""|\s*[\r\n]+|\s+(?!\S)|\s+"""
)

_R50K_BASE = Preset(pattern=_R50K, portable=GPT2_PATTERN, num_ranks=50256, special={"<|endoftext|>": 50256})

PRESETS: dict[str, Preset] = {
    "gpt2": _R50K_BASE,
    "r50k_base": _R50K_BASE,
    "p50k_base": Preset(pattern=_R50K, portable=GPT2_PATTERN, num_ranks=50280, special={"<|endoftext|>": 50256}),
    "cl100k_base": Preset(
        pattern=_CL100K,
        portable=_CL100K_PORTABLE,
        num_ranks=100256,
        special={
            "<|endoftext|>": 100257,
            "<|fim_prefix|>": 100258,
            "<|fim_middle|>": 100259,
            "<|fim_suffix|>": 100260,
            "<|endofprompt|>": 100276,
        },
    ),
    "o200k_base": Preset(
        pattern=_O200K,
        portable=_O200K,
        num_ranks=199998,
        special={"<|endoftext|>": 199999, "<|endofprompt|>": 200018},
    ),
}


def portable_pattern(pattern: str) -> str:
    """A preset's or the user's pattern in the form that tokenizers needs; `UsageError` if it would be misread."""
    if pattern in PRESETS:
        return PRESETS[pattern].portable
    if "}+" in pattern:
        raise UsageError(
            "the pattern has a possessive counted repeat ({m,n}+), which tokenizers reads as a repeated group",
            fix="write it without the last +",
        )
    import tokenizers

    try:
        tokenizers.Regex(pattern)
    except Exception as error:  # tokenizers raises bare Exception
        raise UsageError(f"tokenizers cannot use the pattern {pattern!r}: {error}", fix="mend it") from None
    return pattern
