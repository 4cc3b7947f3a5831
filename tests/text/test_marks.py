r"""`--pretokenizer marks`: letters keep their marks, nothing is lost, text without marks is split as before."""

from __future__ import annotations

import copy
import json
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import regex
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from seatools.streams.errors import UsageError
from seatools.text.marks import pattern_with_marks, pre_tokenizer_with_marks, with_marks
from seatools.text.pretokenizer_presets import GPT2_PATTERN, PRESETS, QWEN2_PATTERN
from seatools.text.tokenizer import load_tokenizer

BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def split(pattern: str, **how: Any) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False} | how


def sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(steps)}


@cache
def engine(section: str) -> Any:
    bare = {"version": "1.0", "added_tokens": [], "model": {"type": "BPE", "vocab": {}, "merges": []}}
    return tokenizers.Tokenizer.from_str(json.dumps({**bare, "pre_tokenizer": json.loads(section)})).pre_tokenizer


def pieces(section: dict[str, Any], text: str) -> list[tuple[str, tuple[int, int]]]:
    found: list[tuple[str, tuple[int, int]]] = engine(json.dumps(section)).pre_tokenize_str(text)
    return found


GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
SECTIONS = {
    "qwen2": sequence(split(QWEN2_PATTERN), BYTES),
    "cl100k": sequence(split(PRESETS["cl100k_base"].portable), BYTES),
    "cl100k, possessive, the rest removed": sequence(
        split(PRESETS["cl100k_base"].pattern.replace("{1,3}+", "{1,3}"), behavior="Removed", invert=True), BYTES
    ),
    "gpt2": GPT2,
    "gpt2, use_regex by default": {key: value for key, value in GPT2.items() if key != "use_regex"},
    "gpt2 with a space before": GPT2 | {"add_prefix_space": True},
    "starcoder": sequence({"type": "Digits", "individual_digits": True}, GPT2),
    "starcoder with a space before": sequence(
        {"type": "Digits", "individual_digits": True}, GPT2 | {"add_prefix_space": True}
    ),
    "nested": sequence(sequence(split(QWEN2_PATTERN)), BYTES),
}
CHANGED = {name: with_marks({"pre_tokenizer": section})["pre_tokenizer"] for name, section in SECTIONS.items()}


def test_the_expression_for_qwen2_is_that_of_qwen3_5() -> None:
    module = pytest.importorskip("transformers.models.qwen3_5.tokenization_qwen3_5")
    assert pattern_with_marks(QWEN2_PATTERN) == module.PRETOKENIZE_REGEX


def test_other_expressions() -> None:
    assert pattern_with_marks(GPT2_PATTERN) == (
        r"'s|'t|'re|'ve|'m|'ll|'d| ?[\p{L}\p{M}]+| ?\p{N}+| ?[^\s\p{L}\p{M}\p{N}]+|\s+(?!\S)|\s+"
    )
    assert pattern_with_marks(r"[^\r\n\p{L}\p{N}]?+\p{L}++") == r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]++"
    assert pattern_with_marks(r"[\p{L}\p{N}]{1,3}|\p{L}(?=\p{L})") == r"[\p{L}\p{M}\p{N}]{1,3}|\p{L}(?=\p{L})"
    o200k = PRESETS["o200k_base"].pattern
    assert pattern_with_marks(o200k) == o200k.replace(r"[^\s\p{L}\p{N}]+", r"[^\s\p{L}\p{M}\p{N}]+")


@pytest.mark.parametrize("name", SECTIONS)
def test_a_word_with_marks_is_one_piece(name: str) -> None:
    for word in ("กินที่", "ທີ່ນີ້", "ទីនេះ", "မြို့", "हिन्दी", unicodedata.normalize("NFD", "tiếng")):
        assert len(pieces(SECTIONS[name], word)) > 1
        assert len(pieces(CHANGED[name], word)) == 1


# Letters, marks (one that joins them, one that encloses), digits, spaces, symbols, apostrophes: what the regexes know.
ALPHABET = st.sampled_from("aZกéé日\u0e34\u0301\u20dd\u17b6\ufe0f\u200d1๒ \n\r\t\u00a0\u3000'!.❤sltd")


@pytest.mark.parametrize("name", SECTIONS)
@given(text=st.text(ALPHABET | st.characters(codec="utf-8")))
def test_nothing_is_lost_and_text_without_marks_is_split_as_before(name: str, text: str) -> None:
    old, new = pieces(SECTIONS[name], text), pieces(CHANGED[name], text)
    assert "".join(piece for piece, _ in new) == "".join(piece for piece, _ in old)
    # By the regex package, which knows the newest Unicode: Python 3.11 calls the mark U+13447 unassigned.
    if not regex.search(r"\p{M}", text):
        assert new == old


@pytest.mark.parametrize("name", ["qwen2", "gpt2", "gpt2 with a space before"])
def test_real_text_in_other_languages_is_split_as_before(shared: Path, name: str) -> None:
    for lang in ("eng", "fra", "deu", "jpn", "zho-CN"):
        # In NFC, as Qwen2 normalises: one of the German lines has an "a" and U+0308.
        text = unicodedata.normalize("NFC", (shared / f"data/ntrex/{lang}.txt").read_text("utf-8"))
        lines = text.splitlines()
        assert len(lines) > 900
        assert sum(pieces(SECTIONS[name], line) != pieces(CHANGED[name], line) for line in lines) == 0


def test_only_the_pre_tokenizer_changes_and_the_argument_stays(shared: Path) -> None:
    parsed = load_tokenizer(shared / "tokenizers/gpt-neox-20b").json_model  # type: ignore[attr-defined]
    before = copy.deepcopy(parsed)
    changed = with_marks(parsed)
    assert parsed == before
    assert {key for key in parsed if parsed[key] != changed[key]} == {"pre_tokenizer"}


def test_the_expression_after_byte_level_is_left_alone() -> None:
    # Falcon cuts runs of three digits there, in the byte alphabet.
    late = split(r"\p{L}+[0-9]")
    assert with_marks({"pre_tokenizer": sequence(GPT2, late)})["pre_tokenizer"]["pretokenizers"][-1] == late


@pytest.mark.parametrize(
    ("section", "match"),
    [
        (None, "without a regular expression"),
        ({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}, "without a regular"),
        (sequence({"type": "Digits", "individual_digits": True}, BYTES), "without a regular expression"),
        (sequence(split(PRESETS["o200k_base"].portable), BYTES), "keeps combining marks"),
        (sequence(split(pattern_with_marks(QWEN2_PATTERN)), BYTES), "keeps combining marks"),
        (sequence(split(r"[a-zก-ฮ]+|."), BYTES), "of a form that"),
        (sequence(split(r"(?:\p{Lu}|\p{Ll}|\p{Lo})+|\s+|."), BYTES), "of a form that"),
    ],
)
def test_what_cannot_be_changed_is_told(section: Any, match: str) -> None:
    with pytest.raises(UsageError, match=match) as caught:
        with_marks({"pre_tokenizer": section})
    assert caught.value.fix


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("mistral-v1-spm", "a sentencepiece-bpe model, splits text without a regular expression"),
        ("t5-v1_1-spm-unigram", "without a regular expression"),
        ("openllama", "without a regular expression"),
        ("o200k-tiktoken", "keeps combining marks"),
        ("cl100k-tiktoken", "cannot hold another pattern"),
    ],
)
def test_kinds_that_cannot(shared: Path, name: str, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        pre_tokenizer_with_marks(load_tokenizer(shared / "tokenizers" / name))


def test_the_section_for_a_loaded_tokenizer(shared: Path) -> None:
    assert pre_tokenizer_with_marks(load_tokenizer(shared / "tokenizers/qwen2")) == CHANGED["qwen2"]
