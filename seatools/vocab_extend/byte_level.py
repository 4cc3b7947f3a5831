"""A byte-level BPE base with a merge list (GPT-2, Qwen2, Llama 3) as continued BPE sees it: its words are pre-tokens.

With `ignore_merges` (Llama 3) a pre-token that is a vocabulary entry is emitted whole, so there a token is made only if
the base gives exactly its parts for it standing alone. Added tokens that are not special (GPT-NeoX: runs of spaces) are
words of their own, for they are cut out of the text before the pre-tokenizer sees it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from seatools.text.agreement import PROBES
from seatools.text.byte_alphabet import spell, unspell
from seatools.text.huggingface_json import JsonTokenizer
from seatools.text.pretokenizer_presets import PRESETS
from seatools.vocab_extend.segments import Segments
from seatools.vocab_extend.word_counts import Law, Splitter

_CHUNK = 512  # words that one call encodes together


class ByteLevelBase:
    """A loaded byte-level tokenizer. `pieces`: id -> piece in the byte alphabet, grows with the new tokens."""

    law: Law = "expands"
    joins: dict[str, int] | None = None
    seeds_are_merges = True

    def __init__(self, tokenizer: JsonTokenizer) -> None:
        self.tokenizer = tokenizer
        self.first_id = tokenizer.vocab_size
        self.pieces = {id: piece for piece, id in tokenizer.vocabulary.items()}
        self.taken = set(tokenizer.vocabulary) | {spell(token.content.encode()) for token in tokenizer.added_tokens}
        self._added = tuple(token for token in tokenizer.added_tokens if not token.special)
        self._added_words = {spell(token.content.encode()): token.id for token in self._added}
        self.pieces |= {id: word for word, id in self._added_words.items() if id is not None}
        self.ignores_merges = bool(tokenizer.json_model["model"].get("ignore_merges"))

    def splitter(self, sample: Sequence[str]) -> Splitter:
        """How to cut text into pre-tokens; by the regular expression alone if that cuts `sample` as the engine does."""
        parsed = self.tokenizer.json_model
        empty = {"type": "BPE", "vocab": {}, "merges": []}
        bare = json.dumps({**parsed, "model": empty, "added_tokens": [], "post_processor": None, "decoder": None})
        engine = "engine" if parsed.get("normalizer") else None
        by_engine = Splitter(normalizer=engine, engine_json=bare, added=self._added)
        steps = _flat(parsed["pre_tokenizer"])
        pattern, prefix = _one_pattern(steps)
        normalizer = (parsed.get("normalizer") or {}).get("type")
        if pattern is None or normalizer not in (None, "NFC"):
            return by_engine
        one = by_engine.compile()
        for by_spaces in (True, False):
            fast = Splitter(
                pattern=pattern, by_spaces=by_spaces, normalizer=normalizer, prefix=prefix, spells=True,
                added=self._added,
            )  # fmt: skip
            two = fast.compile()
            if all(one(text) == [spell(word.encode()) for word in two(text)] for text in (*PROBES, *sample)):
                return fast
        return by_engine

    @cached_property
    def _word_engine(self) -> Any:
        """The model behind a pre-tokenizer that cuts at line breaks."""
        import tokenizers

        model = self.tokenizer.json_model["model"]
        if self.ignores_merges == bool(model.get("ignore_merges")):
            engine = tokenizers.Tokenizer(self.tokenizer.engine.model)  # shared, not copied
        else:
            changed = {"version": "1.0", "added_tokens": [], "model": {**model, "ignore_merges": self.ignores_merges}}
            engine = tokenizers.Tokenizer.from_str(json.dumps(changed))
        engine.pre_tokenizer = tokenizers.pre_tokenizers.Split("\n", "removed")
        return engine

    def encode_words(self, words: Sequence[str], workers: int = 0) -> Segments:
        """The ids of each word, given in the byte alphabet (which has no line break: they keep the words apart)."""
        found = Segments.joined(list(self._encoded(words)))
        added = {number: id for number, word in enumerate(words) if (id := self._added_words.get(word)) is not None}
        return found.with_single(added) if added else found

    def _encoded(self, words: Sequence[str]) -> Iterator[Segments]:
        chunks = ["\n".join(words[start : start + _CHUNK]) for start in range(0, len(words), _CHUNK)]
        for start in range(0, len(chunks), 256):
            batch = chunks[start : start + 256]
            found = self._word_engine.encode_batch(batch, add_special_tokens=False)  # the fast one knows no words
            for chunk, encoding in zip(batch, found, strict=True):
                ids = np.array(encoding.ids, np.int32)
                lengths = np.bincount(np.array(encoding.word_ids, np.int64), minlength=chunk.count("\n") + 1)
                yield Segments(ids, np.concatenate([[0], np.cumsum(lengths)]))

    def symbols(self, words: Segments, texts: Sequence[str]) -> Segments:
        """The words as the learner takes them: as they are."""
        return words

    def without_whole_words(self) -> ByteLevelBase:
        """The same with `ignore_merges` off, which would hide merges that are missing."""
        if not self.ignores_merges:
            return self
        other = copy.copy(self)
        other.__dict__.pop("_word_engine", None)
        other.ignores_merges = False
        return other

    def base_rule(self, left: str, right: str, piece: str) -> bool:
        """With `ignore_merges` the base must give the token's own parts for it standing alone."""
        if not self.ignores_merges:
            return True
        model = self.tokenizer.engine.model
        whole, *parts = ([token.value for token in model.tokenize(text)] for text in (piece, left, right))
        return bool(whole == parts[0] + parts[1])

    def data(self, piece: str) -> bytes:
        """The bytes that a piece stands for."""
        return unspell(piece)

    def spelling(self, data: bytes) -> str | None:
        """The piece that stands for `data`."""
        return spell(data)

    def written(self, piece: str) -> str:
        """The piece as the tokenizer's file has it."""
        return piece


def _flat(step: dict[str, Any] | None) -> list[dict[str, Any]]:
    if step is None:
        return []
    if step.get("type") == "Sequence":
        return [inner for part in step["pretokenizers"] for inner in _flat(part)]
    return [step]


def _one_pattern(steps: list[dict[str, Any]]) -> tuple[str | None, str]:
    """The one regular expression of a byte-level pre-tokenizer and the prefix; None if it is made otherwise."""
    last = steps[-1]
    if last.get("type") != "ByteLevel":
        return None, ""
    prefix = " " if last.get("add_prefix_space") else ""
    if len(steps) == 1 and last.get("use_regex", True):
        return PRESETS["gpt2"].portable, prefix
    if len(steps) == 2 and not last.get("use_regex", True) and not prefix and steps[0].get("type") == "Split":
        pattern = steps[0].get("pattern", {}).get("Regex")
        if steps[0].get("behavior") == "Isolated" and not steps[0].get("invert"):
            return pattern, ""
    return None, ""
