r"""A pre-tokenizer whose letters keep their combining marks (`vocab-extend --pretokenizer marks`).

The regular expressions of GPT-2, cl100k, Llama 3 and Qwen 2/3 take `\p{L}+` as a word, which cuts Thai, Lao, Khmer and
Burmese at every vowel sign (openai/tiktoken#292). The change is the one of Qwen 3.5 (transformers,
`models/qwen3_5/tokenization_qwen3_5.py`), to the letter, since engines know that form by name: letter runs become
`[\p{L}\p{M}]+`, runs of symbols exclude `\p{M}`, the one optional symbol before a word stays. So a mark without a
letter begins a word of its own, and nothing is lost. Text without marks is split as before; a symbol with a mark (emoji
with U+FE0F) may not be. Whether it worked is asked of the engine, not read from the expression.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from seatools.streams.errors import UsageError
from seatools.text.huggingface_json import JsonTokenizer
from seatools.text.pretokenizer_presets import GPT2_PATTERN
from seatools.text.tiktoken_ranks import TiktokenTokenizer
from seatools.text.tokenizer import Tokenizer

# One word each, with a mark inside: Thai, Lao, Khmer, Burmese, Devanagari.
_WORDS = ("กินที่", "ກິນ", "ទីនេះ", "မြို့", "हिन्दी")
_LOST = (*_WORDS, "\u0e34", " \u0e34", "1\u0e34", "\u0e34\u0e34 1", "!\u0e34ก", "a\n\u0e34", "\u0e341", "1\u0e34!")
_QUANTIFIER = re.compile(r"(?:[*+?]|\{\d*,?\d*\})[+?]?")
_CLASS = re.compile(r"\[(\^?)((?:\\p\{[^}]*\}|\\.|[^\\\[\]])+)\]", re.DOTALL)
_ESCAPE = re.compile(r"\\[pP]\{[^}]*\}|\\.", re.DOTALL)


def pre_tokenizer_with_marks(tokenizer: Tokenizer) -> dict[str, Any]:
    """The `pre_tokenizer` section that keeps marks, for a loaded tokenizer; `UsageError` where there can be none."""
    if isinstance(tokenizer, JsonTokenizer):
        section: dict[str, Any] = with_marks(tokenizer.json_model)["pre_tokenizer"]
        return section
    if not isinstance(tokenizer, TiktokenTokenizer):
        raise _no_regex(f"{tokenizer.path}, a {tokenizer.kind} model,")
    if r"\p{M}" in tokenizer.pattern:
        raise _kept_already(str(tokenizer.path))
    raise UsageError(
        f"{tokenizer.path}: a {tokenizer.kind} file cannot hold another pattern for its readers",
        fix="leave --pretokenizer out, or give the model's tokenizer.json",
    )


def with_marks(parsed: dict[str, Any]) -> dict[str, Any]:
    """A parsed tokenizer.json with the pre-tokenizer changed; `parsed` stays as it is, other parts are shared.

    `UsageError` if no regular expression splits the text, if marks are kept already, or if the regular expression is of
    a form that the rule above does not mend.
    """
    section = parsed.get("pre_tokenizer")
    if not any(_has_regex(step) for step in _steps(section)):
        raise _no_regex("the pre-tokenizer")
    assert isinstance(section, dict)
    if not _cuts(section):
        raise _kept_already("the pre-tokenizer")
    steps: list[dict[str, Any]] = []
    in_bytes = False
    for step in _steps(section):
        # After ByteLevel the text is in the byte alphabet, where \p{L} and \p{M} mean something else.
        steps += [step] if in_bytes else _changed(step)
        in_bytes = in_bytes or step.get("type") == "ByteLevel"
    changed = {"type": "Sequence", "pretokenizers": steps} if len(steps) > 1 else steps[0]
    if _cuts(changed) or _pieces(section, _LOST) != _pieces(changed, _LOST):
        raise UsageError(
            "the pre-tokenizer's regular expression is of a form that --pretokenizer marks cannot change",
            fix="leave --pretokenizer out, or edit pre_tokenizer in tokenizer.json first",
        )
    return {**parsed, "pre_tokenizer": changed}


def pattern_with_marks(pattern: str) -> str:
    """The regular expression with letter runs and symbol runs changed."""
    changed: list[str] = []
    at = 0
    while at < len(pattern):
        match = _CLASS.match(pattern, at) or _ESCAPE.match(pattern, at)
        part = match.group() if match else pattern[at]
        at += len(part)
        found = _QUANTIFIER.match(pattern, at) if match else None
        quantifier = found.group() if found else ""
        at += len(quantifier)
        letters = r"\p{L}" in part and r"\p{M}" not in part
        if letters and part.startswith("[^") and quantifier[:1] == "?":
            # Possessive, it would take a mark that has no letter before it, and leave no letter run to match.
            quantifier = quantifier.removesuffix("+")
        elif letters and quantifier:
            part = part.replace(r"\p{L}", r"\p{L}\p{M}")
            part = part if part.startswith("[") else f"[{part}]"
        changed += [part, quantifier]
    return "".join(changed)


def _changed(step: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps that take a step's place."""
    if step.get("type") == "Split":
        pattern = step.get("pattern") or {}
        return [{**step, "pattern": {"Regex": pattern_with_marks(pattern["Regex"])}}] if "Regex" in pattern else [step]
    if not _has_regex(step):
        return [step]
    split = {
        "type": "Split",
        "pattern": {"Regex": pattern_with_marks(GPT2_PATTERN)},
        "behavior": "Isolated",
        "invert": False,
    }
    bytes_alone = {**step, "add_prefix_space": False, "use_regex": False}
    if not step.get("add_prefix_space", True):
        return [split, bytes_alone]
    # ByteLevel adds the space before it splits; after the split it would add one to every word.
    space = {"type": "Metaspace", "replacement": " ", "prepend_scheme": "always", "split": False}
    return [space, split, bytes_alone]


def _has_regex(step: dict[str, Any]) -> bool:
    if step.get("type") == "ByteLevel":
        return bool(step.get("use_regex", True))
    return step.get("type") == "Split" and "Regex" in (step.get("pattern") or {})


def _steps(section: Any) -> Iterator[dict[str, Any]]:
    if isinstance(section, dict) and section.get("type") == "Sequence":
        for step in section.get("pretokenizers") or []:
            yield from _steps(step)
    elif isinstance(section, dict):
        yield section


def _cuts(section: dict[str, Any]) -> bool:
    return any(len(pieces) > 1 for pieces in _split(section, _WORDS))


def _pieces(section: dict[str, Any], texts: tuple[str, ...]) -> list[str]:
    return ["".join(pieces) for pieces in _split(section, texts)]


def _split(section: dict[str, Any], texts: tuple[str, ...]) -> list[list[str]]:
    import tokenizers

    bare = {"version": "1.0", "added_tokens": [], "model": {"type": "BPE", "vocab": {}, "merges": []}}
    split = tokenizers.Tokenizer.from_str(json.dumps({**bare, "pre_tokenizer": section})).pre_tokenizer
    return [[piece for piece, _ in split.pre_tokenize_str(text)] for text in texts]


def _no_regex(what: str) -> UsageError:
    return UsageError(
        f"{what} splits text without a regular expression, so no mark is cut off its letter",
        fix="leave --pretokenizer out",
    )


def _kept_already(what: str) -> UsageError:
    return UsageError(f"{what} keeps combining marks with their letters already", fix="leave --pretokenizer out")
