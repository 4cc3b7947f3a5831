"""Texts for the task `tokenizer`: what its tokens are to each of them, counted when the request is made.

Nothing is asked of a model, so the answers are there before one would be loaded, and neither weights nor neurons nor
the number format are in their keys. The counts are those of `sea audit` (text/text_batch.py, text/piece_table.py), one
text at a time, so that runs are compared text by text. Cost: 50 us a text of 100 characters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from seatools.eval.items import TokenizerItem
from seatools.eval.requests import Config, CountRequest, Setup
from seatools.eval.text_requests import readable_texts
from seatools.streams.records import BadRecord
from seatools.text.piece_table import PieceTable
from seatools.text.scored_text import Comes, ScoredText
from seatools.text.text_batch import TextBatch

_BATCH = 2 << 20  # characters laid out at once
_NOT_OF_A_MODEL = ("model_digest", "template_digest", "neurons_digest", "dtype")


def token_requests(items: Sequence[TokenizerItem], config: Config, setup: Setup) -> list[CountRequest]:
    """The texts of one language that have tokens; the others go to the policy for bad records."""
    good = []
    for item in items:
        if "\0" in item.text:
            setup.refuse(item, BadRecord("NUL", "the text holds a NUL character", fix="is it binary, or cut off?"))
        else:
            good.append(item)
    config = dict(config) | dict.fromkeys(_NOT_OF_A_MODEL)
    table = PieceTable(setup.tokenizer)
    made: list[CountRequest] = []
    is_spaced: bool | None = None
    for part in _batches(readable_texts(good, setup)):
        batch = TextBatch([text.text for _, text in part])
        is_spaced = batch.is_spaced if is_spaced is None else is_spaced
        for place, (item, text) in enumerate(part):
            counts = _counts(batch, place, text, table) | ({"words": int(batch.num_words[place])} if is_spaced else {})
            own = replace(item, scoring="spaced_tokens") if is_spaced else item
            made.append(CountRequest(item=own, config=config, counts=counts))
    return made


def _batches(
    texts: Sequence[tuple[TokenizerItem, ScoredText]],
) -> Iterator[list[tuple[TokenizerItem, ScoredText]]]:
    part: list[tuple[TokenizerItem, ScoredText]] = []
    size = 0
    for item, text in texts:
        part.append((item, text))
        size += len(text.text)
        if size >= _BATCH:
            yield part
            part, size = [], 0
    if part:
        yield part


def _counts(batch: TextBatch, place: int, text: ScoredText, table: PieceTable) -> dict[str, Any]:
    found: dict[str, Any] = {
        "tokens": len(text.ids),
        "bytes": text.num_bytes,
        "characters": int(batch.num_characters[place]),
        "clusters": int(batch.num_clusters[place]),
    }
    for name, is_one in (("unk", table.is_unk), ("byte_pieces", table.is_byte), ("incomplete", table.is_incomplete)):
        found[name] = int(np.count_nonzero(is_one[text.ids]))
    return found if text.decoded is Comes.same else found | {"round_trip_failure": text.decoded.value}
