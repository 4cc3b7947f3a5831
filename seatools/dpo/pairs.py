"""Preference records as token arrays: each answer with its prompt masked; digests that tie a cache to them.

Memory: 5 bytes a token of both answers with their prompts, for as long as the run lasts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from seatools.dpo.preference_record import Sides, check_system_kept, sides_of
from seatools.dpo.sources import Source
from seatools.streams.batches import record_batches
from seatools.streams.errors import SeaError
from seatools.streams.inputs import shown_together
from seatools.streams.records import BadRecord, Record, RecordReader, Rejects, check_preference
from seatools.streams.tensors import load_tensors, save_tensors
from seatools.text.documents import Documents, TokenizedDoc

ANSWERS = ("chosen", "rejected")
UNKNOWN = "und"


@dataclass(frozen=True)
class Pair:
    """One preference: prompt + answer twice, loss masks 1 on the answer's tokens."""

    chosen: TokenizedDoc
    rejected: TokenizedDoc
    lang: str = UNKNOWN

    @cached_property
    def shared(self) -> int:
        """How many leading tokens are the same in both and trained in neither: the common prompt."""
        one, other = self.chosen, self.rejected
        length = min(len(one.ids), len(other.ids))
        ends = (one.ids[:length] != other.ids[:length]) | (one.loss_mask[:length] + other.loss_mask[:length] > 0)
        return int(ends.argmax()) if ends.any() else length


def read_sources(
    sources: Sequence[Source],
    documents: Documents,
    *,
    max_length: int,
    rejects: Rejects,
    limit: int | None,
    workers: int = 0,
) -> list[list[Pair]]:
    """The usable pairs of each source; the others go to `rejects` with a reason. SeaError for a source without one."""
    found = []
    for source in sources:
        pairs = read_pairs(
            source.paths, documents, max_length=max_length, rejects=rejects, limit=limit, workers=workers,
            lang=source.name or UNKNOWN,
        )  # fmt: skip
        if not pairs:
            fix = rejects.summary() if rejects.total else "is the input empty?"
            raise SeaError("no preference pair to learn from", where=shown_together(source.paths), fix=fix)
        found.append(pairs)
    return found


def read_pairs(
    paths: Sequence[str],
    documents: Documents,
    *,
    max_length: int,
    rejects: Rejects,
    limit: int | None,
    workers: int = 0,
    lang: str = UNKNOWN,
) -> list[Pair]:
    """The usable pairs of preference records; the others go to `rejects` with a reason.

    A pair of more than `max_length` tokens is one of them. `lang`: of records that do not name their own.
    """
    pairs = []
    for batch in record_batches(RecordReader(list(paths), check=check_preference, rejects=rejects, limit=limit)):
        usable: list[tuple[Record, Sides]] = []
        for record in batch:
            try:
                sides = sides_of(record.value)
                check_system_kept(documents.template, sides.prompt)
                usable.append((record, sides))
            except SeaError as error:
                rejects.refuse(record, error, reason="not trainable")
        asked = [
            {"prompt": sides.prompt, "completion": answer} for _, sides in usable for answer in sides[1:]
        ]  # fmt: skip
        encoded = documents.encode(asked, workers=workers)
        for (record, _), chosen, rejected in zip(usable, encoded[0::2], encoded[1::2], strict=True):
            named = record.value.get("lang")
            try:
                pairs.append(_pair(chosen, rejected, max_length, named if isinstance(named, str) and named else lang))
            except BadRecord as error:
                rejects.refuse(record, error)
    return pairs


def _pair(chosen: TokenizedDoc | SeaError, rejected: TokenizedDoc | SeaError, max_length: int, lang: str) -> Pair:
    answers = []
    for key, doc in zip(ANSWERS, (chosen, rejected), strict=True):
        if isinstance(doc, SeaError):
            raise BadRecord("not trainable", f"{key}: {doc.what}", fix=doc.fix)
        prompt = int(doc.loss_mask.argmax())
        if prompt >= max_length:
            what = f"the prompt has {prompt} tokens; --max-length is {max_length}, with the answer"
            raise BadRecord("prompt too long", what, fix="raise --max-length, or --on-error skip")
        if len(doc.ids) > max_length:
            what = f"prompt and {key} have {len(doc.ids)} tokens; --max-length is {max_length}"
            raise BadRecord("too long", what, fix="raise --max-length, or --on-error skip")
        answers.append(doc)
    if answers[0].ids.tobytes() == answers[1].ids.tobytes():
        raise BadRecord("identical answers", "chosen and rejected have the same tokens")
    return Pair(answers[0], answers[1], lang)


def pairs_digest(pairs: Sequence[Pair]) -> str:
    """sha256 over the tokens and masks of all pairs, in order."""
    total = hashlib.sha256()
    for pair in pairs:
        for doc in (pair.chosen, pair.rejected):
            total.update(len(doc.ids).to_bytes(4, "little"))
            total.update(doc.ids.tobytes())
            total.update(doc.loss_mask.tobytes())
    return total.hexdigest()


def save_pairs(path: Path, pairs: Sequence[Pair]) -> None:
    """Pairs as a file, for the other processes of a run."""
    docs = [doc for pair in pairs for doc in (pair.chosen, pair.rejected)]
    langs = sorted({pair.lang for pair in pairs})
    tensors = {
        "lengths": np.array([len(doc.ids) for doc in docs], dtype=np.int64),
        "ids": np.concatenate([doc.ids for doc in docs]),
        "loss_mask": np.concatenate([doc.loss_mask for doc in docs]),
        "lang": np.array([langs.index(pair.lang) for pair in pairs], dtype=np.int64),
    }
    save_tensors(path, tensors, {"langs": json.dumps(langs)})


def load_pairs(path: Path) -> list[Pair]:
    """What `save_pairs` wrote."""
    tensors, metadata = load_tensors(path)
    ends = np.cumsum(tensors["lengths"])[:-1]
    parts = zip(np.split(tensors["ids"], ends), np.split(tensors["loss_mask"], ends), strict=True)
    docs = [TokenizedDoc(ids, mask) for ids, mask in parts]
    langs = json.loads(metadata["langs"])
    return [
        Pair(chosen, rejected, langs[int(lang)])
        for chosen, rejected, lang in zip(docs[0::2], docs[1::2], tensors["lang"], strict=True)
    ]
