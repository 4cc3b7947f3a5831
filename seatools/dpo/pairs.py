"""Preference records as token arrays: each answer with its prompt masked; digests that tie a cache to them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from seatools.streams.batches import record_batches
from seatools.streams.errors import SeaError
from seatools.streams.records import BadRecord, RecordReader, Rejects, check_preference
from seatools.text.documents import Documents, TokenizedDoc

ANSWERS = ("chosen", "rejected")


@dataclass(frozen=True)
class Pair:
    """One preference: prompt + answer twice, loss masks 1 on the answer's tokens."""

    chosen: TokenizedDoc
    rejected: TokenizedDoc


def read_pairs(
    paths: Sequence[str],
    documents: Documents,
    *,
    max_length: int,
    rejects: Rejects,
    limit: int | None,
    workers: int = 0,
) -> list[Pair]:
    """The usable pairs of preference records; the others go to `rejects` with a reason."""
    pairs = []
    for batch in record_batches(RecordReader(list(paths), check=check_preference, rejects=rejects, limit=limit)):
        sides = [
            {"prompt": record.value["prompt"], "completion": record.value[key]} for record in batch for key in ANSWERS
        ]
        encoded = documents.encode(sides, workers=workers)
        for record, chosen, rejected in zip(batch, encoded[0::2], encoded[1::2], strict=True):
            try:
                pairs.append(_pair(chosen, rejected, max_length))
            except BadRecord as error:
                rejects.refuse(record, error)
    return pairs


def _pair(chosen: TokenizedDoc | SeaError, rejected: TokenizedDoc | SeaError, max_length: int) -> Pair:
    answers = []
    for key, doc in zip(ANSWERS, (chosen, rejected), strict=True):
        if isinstance(doc, SeaError):
            raise BadRecord("not trainable", f"{key}: {doc.what}", fix=doc.fix)
        if len(doc.ids) > max_length:
            what = f"prompt and {key} have {len(doc.ids)} tokens; --max-length is {max_length}"
            raise BadRecord("too long", what, fix="raise --max-length, or --on-error skip")
        answers.append(doc)
    if answers[0].ids.tobytes() == answers[1].ids.tobytes():
        raise BadRecord("identical answers", "chosen and rejected have the same tokens")
    return Pair(*answers)


def pairs_digest(pairs: Sequence[Pair]) -> str:
    """sha256 over the tokens and masks of all pairs, in order."""
    total = hashlib.sha256()
    for pair in pairs:
        for doc in (pair.chosen, pair.rejected):
            total.update(len(doc.ids).to_bytes(4, "little"))
            total.update(doc.ids.tobytes())
            total.update(doc.loss_mask.tobytes())
    return total.hexdigest()
