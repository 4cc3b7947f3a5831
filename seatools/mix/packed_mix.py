"""The documents of a plan as packed rows of tokens.

Each window of documents, in the order of the schedule, is packed by itself and its rows shuffled inside it, so the
ratio of the sources holds along the file as it does along the schedule. A document is tokenised once however often
it is emitted. Memory: the whole result, about 15 bytes a token, until it is written; for more than that allows, mix
in parts with different seeds.
"""

from __future__ import annotations

import hashlib
from itertools import islice
from typing import IO, TYPE_CHECKING, BinaryIO, cast

import orjson

from seatools.mix.plan import Plan
from seatools.mix.source_index import BATCH_DOCS
from seatools.streams.errors import SeaError
from seatools.streams.progress import Progress

if TYPE_CHECKING:
    from seatools.text.documents import Documents, TokenizedDoc


def write_packed_mix(
    plan: Plan, documents: Documents, stream: IO[bytes], *, workers: int = 0, quiet: bool = False
) -> dict[str, float]:
    """Tokenise, pack and write the plan; returns rows, row_length, tokens, loss_tokens, and fill (of the rows)."""
    from seatools.text.packed import write_packed
    from seatools.text.packing import Segment, pack

    options = plan.options
    assert options.pack is not None
    known: dict[tuple[int, int], TokenizedDoc] = {}
    docs: list[TokenizedDoc] = []
    source_ids: list[int] = []
    rows: list[list[Segment]] = []
    emissions = plan.documents()
    with Progress("packing", total=len(plan.schedule.order), quiet=quiet) as progress:
        while window := list(islice(emissions, options.pack_window)):
            first = len(docs)
            _tokenise(plan, documents, [place for place in dict.fromkeys(window) if place not in known], known, workers)
            docs.extend(known[place] for place in window)
            source_ids.extend(source for source, _ in window)
            lengths = [len(doc.ids) for doc in docs[first:]]
            packed = pack(lengths, options.pack, window=options.pack_window, seed=_row_seed(options.seed, first))
            rows.extend([Segment(first + doc, start, length) for doc, start, length in row] for row in packed)
            progress.advance(len(window))
    metadata = write_packed(
        cast(BinaryIO, stream),
        rows,
        docs,
        source_ids,
        row_length=options.pack,
        tokenizer_digest=documents.tokenizer.digest(),
        sources=[index.spec.name for index in plan.indexes],
    )
    return {
        "rows": len(rows),
        "row_length": options.pack,
        "tokens": int(metadata["num_tokens"]),
        "loss_tokens": int(metadata["num_targets"]),
        "fill": round(int(metadata["num_tokens"]) / (len(rows) * options.pack), 6),
    }


def _tokenise(
    plan: Plan,
    documents: Documents,
    places: list[tuple[int, int]],
    known: dict[tuple[int, int], TokenizedDoc],
    workers: int,
) -> None:
    for start in range(0, len(places), BATCH_DOCS):
        batch = places[start : start + BATCH_DOCS]
        records = [orjson.loads(plan.indexes[source].line(doc)) for source, doc in batch]
        for (source, doc), tokenized in zip(batch, documents.encode(records, workers=workers), strict=True):
            index = plan.indexes[source]
            if isinstance(tokenized, SeaError) or len(tokenized.ids) != index.num_tokens[doc]:
                path = index.store.files[index.files[doc]].path
                raise SeaError(f"{path}: a document no longer has the tokens that were counted", fix="run again")
            known[source, doc] = tokenized


def _row_seed(seed: int, first: int) -> int:
    """The seed of the row order of the window that begins at emission `first`."""
    return int.from_bytes(hashlib.sha256(f"sea mix rows\0{seed}\0{first}".encode()).digest()[:8], "little")
