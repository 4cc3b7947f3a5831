"""The packed-data file: rows of tokens, tokenised once, that training reads from a memory map.

A safetensors file (any safetensors reader opens it) of six flat tensors: `input_ids` u32 [tokens], `loss_mask` u8
[tokens], `doc_lens` u32 [segments], `source_id` u16 [segments], and the offsets `row_tokens` and `row_docs` u64
[rows + 1] into them; 5 bytes a token. Names, counts and the tokenizer's digest are its metadata. The same data
gives the same bytes (`streams.tensors`). Reading maps the file and looks only at the four small tensors, so a run
starts at once.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np

from seatools.streams.digests import sha256_file
from seatools.streams.errors import SeaError
from seatools.streams.outputs import open_output
from seatools.streams.parsed import parse_json
from seatools.streams.tensors import map_tensors, save_tensors
from seatools.text.packing import Rows

if TYPE_CHECKING:
    from seatools.text.documents import TokenizedDoc
    from seatools.text.packing import Segment

FORMAT = "sea-packed"
VERSION = "1"
TENSORS = {
    "row_tokens": "uint64",
    "row_docs": "uint64",
    "input_ids": "uint32",
    "doc_lens": "uint32",
    "source_id": "uint16",
    "loss_mask": "uint8",
}
MAX_SOURCES = 1 << 16


def write_packed(
    destination: str | Path | IO[bytes],
    rows: Sequence[Sequence[Segment]],
    docs: Sequence[TokenizedDoc],
    source_ids: Sequence[int],
    *,
    row_length: int,
    tokenizer_digest: str,
    sources: Sequence[str],
    extra: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Write rows (from `packing.pack`) of documents to an open binary file, or to a path where nothing is yet.

    `source_ids[d]` is the index into `sources` of document `d`. The first token of each segment is never trained:
    its predecessor, if it has one, is in another row. So `num_targets` is the sum of the documents' masks less
    `num_cut_targets`, the trained tokens that begin a further segment of the `num_cut_docs` documents cut into several.
    Returns the metadata, these counts, `num_tokens` and `extra` among them. Memory: the documents and 5 bytes a token.
    Raises SeaError if the path exists or a row is too long.
    """
    segments = list(chain.from_iterable(rows))
    laid = Rows(
        doc=np.array([segment.doc for segment in segments], dtype=np.int64),
        start=np.array([segment.start for segment in segments], dtype=np.int64),
        length=np.array([segment.length for segment in segments], dtype=np.int64),
        offsets=_offsets(np.array([len(row) for row in rows], dtype=np.uint64)).astype(np.int64),
    )
    tensors = packed_tensors(laid, docs, source_ids, row_length=row_length, num_sources=len(sources))
    metadata = packed_metadata(
        row_length=row_length, tokenizer_digest=tokenizer_digest, sources=sources, extra=extra,
        num_tokens=len(tensors["loss_mask"]), num_targets=int(np.count_nonzero(tensors["loss_mask"])),
        cuts=cuts_of(laid, docs),
    )  # fmt: skip

    opened = open_output(destination) if isinstance(destination, str | Path) else contextlib.nullcontext(destination)
    with opened as stream:
        save_tensors(stream, tensors, metadata)
    return metadata


def packed_tensors(
    rows: Rows, docs: Sequence[TokenizedDoc], source_ids: Sequence[int], *, row_length: int, num_sources: int
) -> dict[str, np.ndarray]:
    """The six tensors of TENSORS for rows (from `packing.pack_arrays`) of documents. Errors: as `write_packed`."""
    if len(source_ids) != len(docs):
        raise ValueError(f"{len(source_ids)} source ids for {len(docs)} documents")
    if len(source_ids) and not 0 <= min(source_ids) <= max(source_ids) < num_sources:
        raise ValueError(f"a source id outside the {num_sources} sources")
    doc_lens = rows.length.astype(np.uint32)
    row_docs = rows.offsets.astype(np.uint64)
    starts = _offsets(doc_lens)
    row_tokens = starts[row_docs]
    longest = int(np.diff(row_tokens).max(initial=0))
    if longest > row_length:
        raise SeaError(f"a row of {longest:,} tokens does not fit into a row length of {row_length:,}")
    pieces = list(zip(rows.doc.tolist(), rows.start.tolist(), (rows.start + rows.length).tolist(), strict=True))
    loss_mask = _gather([docs[doc].loss_mask[start:end] for doc, start, end in pieces], np.uint8)
    loss_mask[starts[:-1]] = 0
    return {
        "row_tokens": row_tokens,
        "row_docs": row_docs,
        "input_ids": _gather([docs[doc].ids[start:end] for doc, start, end in pieces], np.uint32),
        "doc_lens": doc_lens,
        "source_id": np.asarray(source_ids, dtype=np.uint16)[rows.doc],
        "loss_mask": loss_mask,
    }


class Cuts(NamedTuple):
    """What became of documents longer than a row."""

    docs: int
    """Documents in several rows."""
    targets: int
    """Trained tokens of theirs that are not trained any more, each the first of a further row."""


def cuts_of(rows: Rows, docs: Sequence[TokenizedDoc]) -> Cuts:
    """The cuts in these rows of documents."""
    further = np.flatnonzero(rows.start)
    cut, starts = rows.doc[further], rows.start[further]
    lost = sum(int(docs[doc].loss_mask[start]) for doc, start in zip(cut.tolist(), starts.tolist(), strict=True))
    return Cuts(len(np.unique(cut)), lost)


def packed_metadata(
    *,
    row_length: int,
    tokenizer_digest: str,
    sources: Sequence[str],
    num_tokens: int,
    num_targets: int,
    cuts: Cuts,
    extra: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The metadata of a packed-data file. Errors: SeaError for too many sources."""
    if len(sources) > MAX_SOURCES:
        raise SeaError(f"packed data holds at most {MAX_SOURCES:,} sources, not {len(sources):,}")
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "tokenizer_digest": tokenizer_digest,
        "row_length": str(row_length),
        "sources": json.dumps(list(sources), ensure_ascii=False),
        "num_tokens": str(num_tokens),
        "num_targets": str(num_targets),
        "num_cut_docs": str(cuts.docs),
        "num_cut_targets": str(cuts.targets),
    }
    if extra and (taken := metadata.keys() & extra.keys()):
        raise ValueError(f"metadata keys that the format itself uses: {sorted(taken)}")
    return metadata | dict(extra or {})


@dataclass(frozen=True)
class PackedData:
    """A packed-data file, memory-mapped. Rows are counted from 0; the arrays are read-only."""

    path: str
    metadata: Mapping[str, str]
    input_ids: np.ndarray  # [tokens] uint32
    loss_mask: np.ndarray  # [tokens] uint8
    doc_lens: np.ndarray  # [segments] uint32
    source_id: np.ndarray  # [segments] uint16
    row_tokens: np.ndarray  # [rows + 1] uint64, offsets into input_ids and loss_mask
    row_docs: np.ndarray  # [rows + 1] uint64, offsets into doc_lens and source_id

    @property
    def num_rows(self) -> int:
        return len(self.row_tokens) - 1

    @property
    def num_tokens(self) -> int:
        return len(self.input_ids)

    @property
    def num_targets(self) -> int:
        """Tokens that are trained."""
        return int(self.metadata["num_targets"])

    @property
    def row_length(self) -> int:
        """The most tokens that a row may hold."""
        return int(self.metadata["row_length"])

    @property
    def shards(self) -> Sequence[PackedData]:
        """The files that this is made of: itself."""
        return (self,)

    def digest(self) -> str:
        """sha256 of the file."""
        return sha256_file(self.path)

    @property
    def sources(self) -> list[str]:
        """The names that `source_id` counts."""
        return parse_json(self.metadata["sources"])

    def row(self, i: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """(ids uint32 [n], loss_mask uint8 [n]) of each document in row i, as views into the file."""
        if not 0 <= i < self.num_rows:
            raise IndexError(f"row {i} of {self.num_rows}")
        bounds = int(self.row_tokens[i]) + _offsets(self.row_lens(i)).astype(np.int64)
        return [
            (self.input_ids[start:stop], self.loss_mask[start:stop])
            for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
        ]

    def row_lens(self, i: int) -> np.ndarray:
        """The lengths of the documents in row i, uint32 [documents]."""
        return self.doc_lens[int(self.row_docs[i]) : int(self.row_docs[i + 1])]

    def row_sources(self, i: int) -> np.ndarray:
        """The source of each document in row i, uint16 [documents]."""
        return self.source_id[int(self.row_docs[i]) : int(self.row_docs[i + 1])]

    def check_tokenizer(self, digest: str) -> None:
        """Raise SeaError, with both digests, unless the data was made with the tokenizer of this digest."""
        made_with = self.metadata["tokenizer_digest"]
        if made_with != digest:
            raise SeaError(
                f"packed with the tokenizer {made_with}, but this one is {digest}",
                where=self.path,
                fix="give the tokenizer that the data was made with, or pack the data again with this one",
            )


def read_packed(path: str | Path) -> PackedData:
    """Map a packed-data file. Raises SeaError, naming it, if it is truncated, of another kind, or inconsistent."""
    path = str(path)
    tensors, metadata = map_tensors(path)
    if metadata.get("format") != FORMAT or tensors.keys() != TENSORS.keys():
        raise SeaError("not packed data", where=path, fix="make it with: sea mix --pack LENGTH -o FILE")
    if metadata.get("version") != VERSION:
        raise SeaError(f"packed data of version {metadata.get('version')}; this sea reads {VERSION}", where=path)
    for name, dtype in TENSORS.items():
        if tensors[name].dtype != dtype or tensors[name].ndim != 1:
            raise _damaged(path, f"{name} is {tensors[name].dtype} {list(tensors[name].shape)}, not a list of {dtype}")
    data = PackedData(path=path, metadata=metadata, **tensors)
    try:
        counts = data.row_length, data.num_targets, int(metadata["num_tokens"]), len(_names(data.sources))
        digest_given = bool(metadata["tokenizer_digest"])
    except (KeyError, ValueError, TypeError) as error:
        raise _damaged(path, f"its metadata: {error}") from None
    row_length, num_targets, num_tokens, num_sources = counts

    token_offsets = _offsets(data.doc_lens)
    for sound, what in (
        (digest_given, "no tokenizer digest"),
        (len(data.input_ids) == len(data.loss_mask) == num_tokens, "another number of tokens than masks"),
        (0 <= num_targets <= num_tokens, "more targets than tokens"),
        (len(data.doc_lens) == len(data.source_id), "another number of documents than sources"),
        (not (data.doc_lens == 0).any(), "an empty document"),
        (_are_offsets(data.row_docs, len(data.doc_lens)), "row offsets that do not count its documents"),
        (token_offsets[-1] == num_tokens, "documents that do not add up to its tokens"),
        (int(data.source_id.max(initial=0)) < max(num_sources, 1), "a source without a name"),
    ):
        if not sound:
            raise _damaged(path, what)
    if not np.array_equal(token_offsets[data.row_docs], data.row_tokens):
        raise _damaged(path, "rows that do not begin where a document begins")
    if int(np.diff(data.row_tokens).max(initial=0)) > row_length:
        raise _damaged(path, f"a row longer than {row_length}")
    return data


def _names(sources: object) -> list[str]:
    """ValueError for what is no list of names."""
    if not isinstance(sources, list) or not all(isinstance(name, str) for name in sources):
        raise ValueError("its sources are no list of names")
    return sources


def _damaged(path: str, what: str) -> SeaError:
    return SeaError(f"damaged packed data: {what}", where=path, fix="make it again with sea mix --pack")


def _offsets(lengths: np.ndarray) -> np.ndarray:
    """Where each of consecutive runs begins, and where the last ends: uint64 [len(lengths) + 1]."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.uint64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _are_offsets(offsets: np.ndarray, total: int) -> bool:
    """Whether `offsets` begin at 0, never fall, and end at `total`."""
    return bool(len(offsets) and offsets[0] == 0 and offsets[-1] == total and (offsets[1:] >= offsets[:-1]).all())


def _gather(parts: Sequence[np.ndarray], dtype: type[np.generic]) -> np.ndarray:
    return np.concatenate([np.empty(0, dtype), *parts]).astype(dtype, copy=False)
