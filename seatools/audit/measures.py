"""What one tokenizer does to the text of one language: counts that add up, and the measures made of them.

Everything is a ratio of sums over documents. Bytes are UTF-8 bytes of the text as it is given, never normalised. Words
are cut at white space, so measures of them exist only where the script writes spaces; words and syllables that a
segmenter found have measures of their own. `parity` is tokens over the reference language's tokens on the same
sentences (Petrov et al. 2023, arXiv 2305.15425), the honest headline, for bytes favour scripts of three bytes a letter.
`renyi_efficiency`: Zouhar et al. 2023 (arXiv 2306.16842), order 2.5, over the tokens that occur, as their
tokenization-scorer has it. Cost: engine apart, 20 ns a character and 60 ns a token.
"""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass, field

import numpy as np

from seatools.audit.intervals import GroupedSums, Value, ratio
from seatools.audit.segmenters import Segmenter
from seatools.audit.token_batch import Encoded, TokenBatch
from seatools.text.piece_table import PieceTable
from seatools.text.text_batch import Spans, TextBatch

_RENYI_ORDER = 2.5

# In the order of the table.
MEASURES = {
    "docs": "documents",
    "bytes": "UTF-8 bytes",
    "tokens": "tokens, without BOS and EOS",
    "bytes_per_token": "bytes over tokens",
    "tokens_per_character": "tokens over Unicode characters",
    "tokens_per_cluster": "tokens over grapheme clusters",
    "fertility": "tokens over white-space words, where words are spaced",
    "tokens_per_segmented_word": "tokens over the words that a segmenter finds (--segment)",
    "tokens_per_syllable": "tokens over the syllables that a rule finds (--segment, Burmese)",
    "parity": "tokens over the tokens of the reference language",
    "continued_word_rate": "share of tokens that begin inside a word, where words are spaced",
    "single_token_words": "share of words that are one token (STRR, arXiv 2510.09947), where words are spaced",
    "single_token_segmented_words": "share of a segmenter's words that are one token (--segment)",
    "renyi_efficiency": "Renyi entropy of order 2.5 of the tokens, over the logarithm of how many differ",
    "unk_rate": "share of tokens that are UNK",
    "byte_fallback_rate": "share of tokens that are byte pieces",
    "incomplete_rate": "share of tokens that cut a character",
    "round_trip_failures": "share of documents that do not come back as they were",
    "language_match": "share of documents in the language of their label, by CLD2 (--identify)",
    "context_share": "tokens of a mean document over the context (--context)",
    "context_characters": "characters that fill the context (--context)",
    "context_words": "white-space words that fill the context (--context), where words are spaced",
    "price": "what the text costs, in USD (--price)",
    "price_per_million_characters": "what a million characters cost, in USD (--price)",
    "drift": "share of documents whose pieces are not those of the first tokenizer",
    "token_change": "tokens over the first tokenizer's, less one",
}


@dataclass(kw_only=True, frozen=True)
class Rates:
    """What the user's model and bill are like; None: not asked."""

    context: int | None = None
    """Tokens of a context window."""
    price: float | None = None
    """USD for a million tokens."""


@dataclass
class TextCounts:
    """One language's text, whatever the tokenizer."""

    segmenter: Segmenter | None = None
    num_bytes: GroupedSums = field(default_factory=GroupedSums)
    num_characters: GroupedSums = field(default_factory=GroupedSums)
    num_clusters: GroupedSums = field(default_factory=GroupedSums)
    num_words: GroupedSums = field(default_factory=GroupedSums)
    num_segments: GroupedSums = field(default_factory=GroupedSums)
    num_not_nfc: int = 0
    num_identified: int | None = None
    is_spaced: bool | None = None
    """Whether the script puts spaces between words; by the first batch."""

    @property
    def num_docs(self) -> int:
        return self.num_bytes.num_docs

    def identify(self, texts: list[str], lang: str) -> None:
        """Count the documents whose language, by CLD2, is the one they are labelled with."""
        from seatools.text.identify import identify, same_language

        right = sum(identify(text) == same_language(lang) for text in texts)
        self.num_identified = (self.num_identified or 0) + right

    def add(self, batch: TextBatch) -> BatchSpans:
        """Count a batch; returns its words, for `TokenCounts.add`."""
        if self.is_spaced is None:
            self.is_spaced = batch.is_spaced
        self.num_bytes.add(batch.num_bytes)
        self.num_characters.add(batch.num_characters)
        self.num_clusters.add(batch.num_clusters)
        if self.is_spaced:
            self.num_words.add(batch.num_words)
        if not unicodedata.is_normalized("NFC", "\0".join(batch.texts)):
            self.num_not_nfc += sum(not unicodedata.is_normalized("NFC", text) for text in batch.texts)
        segments = None
        if self.segmenter is not None:
            segments = self.segmenter.spans(batch)
            self.num_segments.add(segments.per_doc)
            if self.segmenter.unit == "syllable":
                segments = None  # that a syllable is one token says little
        return BatchSpans(batch.words if self.is_spaced else None, segments)


@dataclass(frozen=True)
class BatchSpans:
    """The words of one batch: white-space words where the script writes spaces, and a segmenter's words."""

    words: Spans | None
    segments: Spans | None


@dataclass
class TokenCounts:
    """One language's text under one tokenizer."""

    table: PieceTable
    num_tokens: GroupedSums = field(default_factory=GroupedSums)
    num_failures: int = 0
    histogram: np.ndarray = field(init=False)
    """[ids] int64: how often each token occurs."""
    shares: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Measure -> how many, of how many."""
    num_changed: GroupedSums = field(default_factory=GroupedSums)
    """Documents whose pieces are not those of the first tokenizer."""

    def __post_init__(self) -> None:
        self.histogram = np.zeros(len(self.table.pieces), np.int64)

    def add(self, batch: TextBatch, encoded: Encoded, spans: BatchSpans) -> None:
        """Count one batch and its encoding."""
        self.num_tokens.add(encoded.num_tokens)
        self.histogram += np.bincount(encoded.ids, minlength=len(self.histogram))
        tokens = TokenBatch(batch, encoded, self.table)
        self.num_failures += tokens.num_failures()
        if spans.words is not None:
            self._share("continued_word_rate", tokens.continuing(spans.words))
            self._share("single_token_words", tokens.whole(spans.words))
        if spans.segments is not None:
            self._share("single_token_segmented_words", tokens.whole(spans.segments))

    def _share(self, metric: str, found: tuple[int, int]) -> None:
        some, all = self.shares.get(metric, (0, 0))
        self.shares[metric] = (some + found[0], all + found[1])


def measure(
    text: TextCounts,
    tokens: TokenCounts,
    *,
    reference: TokenCounts | None = None,
    first: TokenCounts | None = None,
    rates: Rates = Rates(),
) -> dict[str, Value]:
    """Measure -> value, in the order of MEASURES; those that have no meaning here are left out.

    `reference`: the same sentences in the reference language; `first`: the same text under the first tokenizer.
    """
    total = tokens.num_tokens.total
    found: dict[str, Value | float | None] = {
        "docs": text.num_docs,
        "bytes": int(text.num_bytes.total),
        "tokens": int(total),
        "bytes_per_token": ratio(text.num_bytes, tokens.num_tokens),
        "tokens_per_character": ratio(tokens.num_tokens, text.num_characters),
        "tokens_per_cluster": ratio(tokens.num_tokens, text.num_clusters),
        "round_trip_failures": tokens.num_failures / text.num_docs,
    }
    if text.is_spaced:
        found["fertility"] = ratio(tokens.num_tokens, text.num_words)
    if text.segmenter is not None:
        found[f"tokens_per_{text.segmenter.unit}"] = ratio(tokens.num_tokens, text.num_segments)
    if reference is not None:
        found["parity"] = ratio(tokens.num_tokens, reference.num_tokens)
    for metric, (some, all) in tokens.shares.items():
        found[metric] = some / all if all else None
    if total:
        found |= _token_shares(tokens, total)
    if text.num_identified is not None:
        found["language_match"] = text.num_identified / text.num_docs
    if rates.context is not None and total:
        found["context_share"] = total / text.num_docs / rates.context
        found["context_characters"] = rates.context * text.num_characters.total / total
        if text.is_spaced:
            found["context_words"] = rates.context * text.num_words.total / total
    if rates.price is not None:
        found["price"] = rates.price * total / 1e6
        found["price_per_million_characters"] = rates.price * total / text.num_characters.total
    if first is not None:
        found["drift"] = ratio(tokens.num_changed, tokens.num_changed.documents())
        change = ratio(tokens.num_tokens, first.num_tokens)
        found["token_change"] = change and change.less(1.0)
    values = ((metric, found.get(metric)) for metric in MEASURES)
    return {
        metric: value if isinstance(value, Value) else Value(value) for metric, value in values if value is not None
    }


def renyi_efficiency(histogram: np.ndarray) -> float | None:
    """Of token counts [ids]; None where fewer than two tokens differ."""
    counts = histogram[histogram > 0]
    if len(counts) < 2:
        return None
    shares = counts / counts.sum()
    return float(np.log2((shares**_RENYI_ORDER).sum()) / (1 - _RENYI_ORDER) / math.log2(len(counts)))


def _token_shares(tokens: TokenCounts, total: float) -> dict[str, Value | float | None]:
    table, histogram = tokens.table, tokens.histogram
    return {
        "renyi_efficiency": renyi_efficiency(histogram),
        "unk_rate": float(histogram[table.is_unk].sum() / total),
        "byte_fallback_rate": float(histogram[table.is_byte].sum() / total),
        "incomplete_rate": float(histogram[table.is_incomplete].sum() / total),
    }
