"""Perplexity that survives a changed tokenizer: bits per byte of the text as it is given (research A5).

bits per byte = sum of -ln p(token) / (ln 2 * UTF-8 bytes). Every text token is scored, exactly once; BOS (else EOS)
stands before it as context and is not scored, nor is an EOS after it. A document longer than a window is read in
windows that overlap (engine/text_windows.py); training's own evaluation (engine/evaluate.py) gives the same figures.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from seatools.engine.text_windows import window_document, windows
from seatools.eval.setup import Advance, Score, Setup
from seatools.eval.sources import Source
from seatools.streams.errors import SeaError
from seatools.streams.records import BadRecord, Record, check_text

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Comes(Enum):
    """How a text comes back from encoding and decoding."""

    same = "same"
    other_spaces = "other spaces"  # SentencePiece's normaliser drops spaces at the ends and doubled ones
    other_text = "other text"


@dataclass(frozen=True)
class Text:
    """One document: its tokens (no BOS, no EOS) and the bytes it came from."""

    where: str
    ids: np.ndarray  # [tokens] int64
    num_bytes: int
    decoded: Comes
    is_nfc: bool


def bits_per_byte(nats: np.ndarray, num_bytes: np.ndarray) -> tuple[float, float | None]:
    """The ratio of sums over documents, in bits, and its standard error by linearisation (None for one document).

    `nats`, `num_bytes`: [documents] float64. Variance of a ratio of sums r: n/(n-1) * sum (b_i - r B_i)^2 / (sum B)^2.
    """
    bits = nats / math.log(2)
    ratio = bits.sum() / num_bytes.sum()
    n = len(bits)
    if n < 2:
        return float(ratio), None
    spread = math.sqrt(n / (n - 1) * float(np.square(bits - ratio * num_bytes).sum()))
    return float(ratio), spread / float(num_bytes.sum())


class Perplexity:
    """The task `perplexity`."""

    name = "perplexity"
    takes_shots = False
    needs = "`text` (or lines of a .txt file)"

    def accepts(self, value: dict[str, Any]) -> bool:
        return isinstance(value.get("text"), str)

    def prepare(self, sources: Sequence[Source], shots: Sequence[Source], setup: Setup) -> PreparedPerplexity:
        context_id = setup.tokenizer.context_id
        window, stride = setup.options.window(setup.positions)
        texts: dict[str, list[Text]] = {}
        for source in sources:
            texts.setdefault(source.lang, []).extend(_encode(source, setup))
        for lang, own in texts.items():
            if not own:
                raise SeaError(f"no text left to score for {lang}")
            _warn(lang, own, setup)
        return PreparedPerplexity(texts, context_id, window, stride, setup)


def _encode(source: Source, setup: Setup) -> list[Text]:
    good: list[Record] = []
    for record in source.records:
        try:
            check_text(record.value)
        except BadRecord as error:
            setup.rejects.refuse(record, error)
            continue
        good.append(record)
    texts = []
    encoded = setup.tokenizer.encode_batch([record.value["text"] for record in good], workers=setup.workers)
    for record, ids in zip(good, encoded, strict=True):
        text = record.value["text"]
        if not ids:
            setup.rejects.refuse(record, BadRecord("no tokens", "the tokenizer makes no token of this text"))
            continue
        texts.append(
            Text(
                record.where,
                np.array(ids, dtype=np.int64),
                len(text.encode("utf-8")),
                _comes_back(text, setup.tokenizer.decode(ids)),
                unicodedata.is_normalized("NFC", text),
            )
        )
    return texts


def _comes_back(text: str, decoded: str) -> Comes:
    if decoded == text:
        return Comes.same
    return Comes.other_spaces if decoded.split() == text.split() else Comes.other_text


def _warn(lang: str, texts: Sequence[Text], setup: Setup) -> None:
    lost, spaces = _num_lost(texts)
    if lost:
        setup.messages.warn(
            f"perplexity, {lang}: {lost} of {len(texts)} texts do not survive encoding and decoding ({spaces} lose "
            "spaces only): the model read other text than the bytes that its score is divided by"
        )
    loose = sum(not text.is_nfc for text in texts)
    if loose:
        setup.messages.warn(
            f"perplexity, {lang}: {loose} of {len(texts)} texts are not in NFC; they are scored as given"
        )


def _num_lost(texts: Sequence[Text]) -> tuple[int, int]:
    """How many texts do not come back the same, and how many of those differ in spaces only."""
    spaces = sum(text.decoded is Comes.other_spaces for text in texts)
    return spaces + sum(text.decoded is Comes.other_text for text in texts), spaces


@dataclass(frozen=True)
class PreparedPerplexity:
    """Tokenised texts by language."""

    texts: dict[str, list[Text]]
    context_id: int
    window: int
    stride: int
    setup: Setup

    @property
    def size(self) -> int:
        return sum(len(self._spans(text)) for own in self.texts.values() for text in own)

    def _spans(self, text: Text) -> list[tuple[int, int, int]]:
        return list(windows(len(text.ids), self.window, self.stride))

    def score(self, model: PreTrainedModel, advance: Advance) -> Iterator[Score]:
        from seatools.engine.sequences import score_documents

        texts = [text for own in self.texts.values() for text in own]
        docs, owners = [], []
        for owner, text in enumerate(texts):
            for span in self._spans(text):
                docs.append(window_document(text.ids, span, self.context_id))
                owners.append(owner)
        found = score_documents(
            model, docs, self.setup.pad_id, batch_tokens=self.setup.options.batch_tokens, advance=advance
        )
        nats = -np.bincount(owners, weights=found, minlength=len(texts))
        if not np.isfinite(nats).all():
            wrong = texts[int(np.flatnonzero(~np.isfinite(nats))[0])]
            raise SeaError(
                "the model gives log-probabilities that are not finite",
                where=wrong.where,
                fix="try --dtype bf16 or fp32",
            )
        first = 0
        for lang, own in self.texts.items():
            part = nats[first : first + len(own)]
            first += len(own)
            num_bytes = np.array([text.num_bytes for text in own], dtype=np.float64)
            value, stderr = bits_per_byte(part, num_bytes)
            yield Score(lang, "bits_per_byte", value, stderr, len(own), self._config(own))

    def _config(self, texts: Sequence[Text]) -> dict[str, Any]:
        lost, spaces = _num_lost(texts)
        tokens, num_bytes = sum(len(text.ids) for text in texts), sum(text.num_bytes for text in texts)
        return {
            "seq_len": self.window,
            "stride": self.stride,
            "context_token": self.setup.tokenizer.piece(self.context_id),
            "tokens": tokens,
            "bytes": num_bytes,
            "bytes_per_token": num_bytes / tokens,
            "round_trip_failures": lost,
            "round_trip_spaces_only": spaces,
        }
