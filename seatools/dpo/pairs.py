"""Preference records as token arrays: each answer with its prompt masked; digests that tie a cache to them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from seatools.streams.errors import SeaError
from seatools.streams.records import BadRecord, Record, RecordReader, Rejects, check_preference
from seatools.text.documents import Documents, TokenizedDoc


@dataclass(frozen=True)
class Pair:
    """One preference: prompt + answer twice, loss masks 1 on the answer's tokens."""

    chosen: TokenizedDoc
    rejected: TokenizedDoc


def read_pairs(
    paths: Sequence[str], documents: Documents, *, max_length: int, rejects: Rejects, limit: int | None
) -> list[Pair]:
    """The usable pairs of preference records; the others go to `rejects` with a reason."""
    pairs = []
    for record in RecordReader(list(paths), check=check_preference, rejects=rejects, limit=limit):
        try:
            pairs.append(_pair(record, documents, max_length))
        except BadRecord as error:
            error.where = error.where or record.where
            rejects.take(error, record.raw, record.path, record.line)
    return pairs


def _pair(record: Record, documents: Documents, max_length: int) -> Pair:
    answers = []
    for key in ("chosen", "rejected"):
        try:
            doc = documents.encode_completion(record.value["prompt"], record.value[key])
        except SeaError as error:
            raise BadRecord("not trainable", f"{key}: {error.what}", fix=error.fix) from error
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
