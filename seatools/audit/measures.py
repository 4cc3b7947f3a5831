"""What one tokenizer does to the text of one language: counts that add up, and the measures made of them.

Everything is a ratio of sums over documents. Bytes are UTF-8 bytes of the text as it is given, never normalised. Words
are cut at white space, so `fertility` exists only where the script writes spaces; `tokens_per_character` exists for
all. `parity` is tokens over the reference language's tokens on the same sentences (Petrov et al. 2023, arXiv
2305.15425), the honest headline, for bytes favour scripts of three bytes a letter. Cost: the engine's encode and
decode, and about 30 ns a token.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from seatools.text.scripts import writes_spaces
from seatools.text.tokenizer import Tokenizer

_SAMPLE = 20_000  # characters that decide whether words are spaced

# In the order of the table.
MEASURES = {
    "docs": "documents",
    "bytes": "UTF-8 bytes",
    "tokens": "tokens, without BOS and EOS",
    "bytes_per_token": "bytes over tokens",
    "tokens_per_character": "tokens over Unicode characters",
    "fertility": "tokens over white-space words, where words are spaced",
    "parity": "tokens over the tokens of the reference language",
    "unk_rate": "share of tokens that are UNK",
    "byte_fallback_rate": "share of tokens that are byte pieces",
    "round_trip_failures": "share of documents that do not come back as they were",
    "language_match": "share of documents in the language of their label, by CLD2 (--identify)",
}


@dataclass
class TextCounts:
    """One language's text, whatever the tokenizer."""

    num_docs: int = 0
    num_bytes: int = 0
    num_characters: int = 0
    num_words: int = 0
    num_not_nfc: int = 0
    num_identified: int | None = None
    sample: str = ""

    def identify(self, texts: Sequence[str], lang: str) -> None:
        """Count the documents whose language, by CLD2, is the one they are labelled with."""
        from seatools.text.identify import identify, same_language

        right = sum(identify(text) == same_language(lang) for text in texts)
        self.num_identified = (self.num_identified or 0) + right

    def add(self, texts: Sequence[str]) -> None:
        for text in texts:
            self.num_docs += 1
            self.num_bytes += len(text.encode())
            self.num_characters += len(text)
            self.num_words += len(text.split())
            self.num_not_nfc += not unicodedata.is_normalized("NFC", text)
            if len(self.sample) < _SAMPLE:
                self.sample += text[: _SAMPLE - len(self.sample)]


@dataclass
class TokenCounts:
    """One language's text under one tokenizer."""

    num_tokens: int = 0
    num_unk: int = 0
    num_bytes: int = 0
    num_failures: int = 0

    def add(self, texts: Sequence[str], tokenizer: Tokenizer, workers: int) -> None:
        """Encode and decode `texts`. Errors: SeaError for a lone surrogate."""
        byte_ids, unk_id = tokenizer.byte_ids, tokenizer.unk_id
        for text, ids in zip(texts, tokenizer.encode_batch(texts, workers=workers), strict=True):
            self.num_tokens += len(ids)
            if unk_id is not None:
                self.num_unk += ids.count(unk_id)
            if byte_ids:
                self.num_bytes += sum(map(byte_ids.__contains__, ids))
            self.num_failures += tokenizer.decode(ids) != text


def measure(text: TextCounts, tokens: TokenCounts, reference: TokenCounts | None) -> dict[str, float]:
    """Measure -> value, in the order of MEASURES; those that have no meaning here are left out."""
    values: dict[str, float] = {"docs": text.num_docs, "bytes": text.num_bytes, "tokens": tokens.num_tokens}
    if tokens.num_tokens:
        values["bytes_per_token"] = text.num_bytes / tokens.num_tokens
    values["tokens_per_character"] = tokens.num_tokens / text.num_characters
    if text.num_words and writes_spaces(text.sample):
        values["fertility"] = tokens.num_tokens / text.num_words
    if reference is not None and reference.num_tokens:
        values["parity"] = tokens.num_tokens / reference.num_tokens
    if tokens.num_tokens:
        values["unk_rate"] = tokens.num_unk / tokens.num_tokens
        values["byte_fallback_rate"] = tokens.num_bytes / tokens.num_tokens
    values["round_trip_failures"] = tokens.num_failures / text.num_docs
    if text.num_identified is not None:
        values["language_match"] = text.num_identified / text.num_docs
    return values
