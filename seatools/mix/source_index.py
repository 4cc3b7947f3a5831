"""The index of a source: where each document stands and how many units it counts, made in one reading or taken from
the sidecars of its files.

Tokens are counted as `sea train` will see them: BOS, EOS and chat template included. A document is read and tokenised
once for all its epochs and all later mixes (`index_sidecar.py`). Parsing and hashing of one batch go on while the
tokenizer counts the one before. Memory: 38 bytes a document (30 without a tokenizer); those of a source of one file
with a sidecar are a memory map. Cost: the tokenizer's, which is much more than that of mixing; without one, that of
parsing JSON; with a sidecar, reading it and its checksum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from seatools.mix.document_store import DocumentStore, Place, StoredFile
from seatools.mix.index_sidecar import FileIndex, Sidecars
from seatools.mix.source_reading import Stage, read_source
from seatools.streams.errors import SeaError
from seatools.streams.progress import Progress
from seatools.streams.records import Rejects
from seatools.streams.source_specs import SourceSpec

if TYPE_CHECKING:
    from seatools.text.documents import Documents

Unit = Literal["tokens", "loss-tokens", "bytes", "docs"]
UNK_LIMIT = 0.01
NFC_LIMIT = 0.01

_U32, _U64, _U16 = (np.empty(0, dtype=dtype) for dtype in (np.uint32, np.uint64, np.uint16))


@dataclass
class SourceIndex:
    """One source after its first reading. Document numbers run from 0 in the order of the sorted files."""

    spec: SourceSpec
    store: DocumentStore
    files: np.ndarray = field(default_factory=_U32.copy)  # [docs] uint32, file number in the store
    offsets: np.ndarray = field(default_factory=_U64.copy)  # [docs] uint64
    lengths: np.ndarray = field(default_factory=_U32.copy)  # [docs] uint32, bytes of the line
    hashes: np.ndarray = field(default_factory=_U64.copy)  # [docs] uint64, xxh3 of the line
    num_bytes: np.ndarray = field(default_factory=_U32.copy)  # [docs] uint32, UTF-8 bytes of the text
    num_tokens: np.ndarray = field(default_factory=_U32.copy)  # [docs] uint32, or empty without a tokenizer
    num_targets: np.ndarray = field(default_factory=_U32.copy)  # [docs] uint32, or empty without a tokenizer
    lang_ids: np.ndarray = field(default_factory=_U16.copy)  # [docs] uint16, numbers of `langs`
    langs: Sequence[str] = ("",)
    """The values of the records' own `lang`; "" for none."""
    num_unk: int = 0
    num_sampled: int = 0
    """Documents that were looked at for their Unicode form."""
    num_not_nfc: int = 0
    num_rejected: int = 0
    stored_files: list[StoredFile] = field(default_factory=list)
    """The files of the source, those without a document too."""

    def __len__(self) -> int:
        return len(self.files)

    def place(self, doc: int) -> Place:
        """Where document `doc` stands."""
        return Place(int(self.files[doc]), int(self.offsets[doc]), int(self.lengths[doc]), int(self.hashes[doc]))

    def line(self, doc: int) -> bytes:
        """Document `doc` as a line of JSONL without its end. Raises SeaError if it is no longer what was counted."""
        return self.store.line(self.place(doc))

    def units(self, unit: Unit) -> np.ndarray:
        """[docs] int64: what each document counts in the unit."""
        if unit == "docs":
            return np.ones(len(self), dtype=np.int64)
        column = {"tokens": self.num_tokens, "loss-tokens": self.num_targets, "bytes": self.num_bytes}[unit]
        return np.asarray(column, dtype=np.int64)

    def subset(self, name: str | SourceSpec, numbers: np.ndarray) -> SourceIndex:
        """Some of the documents, by number [n], as a source of another name or spec; what it warns of stays here."""
        spec = name if isinstance(name, SourceSpec) else replace(self.spec, name=name)
        files = np.unique(self.files[numbers])
        columns = ("files", "offsets", "lengths", "hashes", "num_bytes", "num_tokens", "num_targets", "lang_ids")
        chosen = {column: getattr(self, column) for column in columns}
        return SourceIndex(
            spec,
            self.store,
            **{column: values[numbers] if len(values) else values for column, values in chosen.items()},
            langs=self.langs,
            stored_files=[self.store.files[file] for file in files.tolist() if self.store.files[file].is_input],
        )

    def warnings(self) -> list[str]:
        """What a user should know about the source before training on it."""
        found = []
        if self.num_not_nfc > NFC_LIMIT * self.num_sampled:
            share = self.num_not_nfc / self.num_sampled
            found.append(
                f"source {self.spec.name}: {share:.0%} of {self.num_sampled:,} sampled documents are not in Unicode "
                "form NFC, which can triple their tokens; they are mixed as they are"
            )
        num_tokens = int(self.num_tokens.sum(dtype=np.int64)) if self.num_unk else 0
        if self.num_unk > UNK_LIMIT * num_tokens:
            share = self.num_unk / num_tokens
            found.append(f"source {self.spec.name}: the tokenizer turns {share:.1%} of its tokens into <unk>")
        return found


def build_index(
    spec: SourceSpec,
    store: DocumentStore,
    rejects: Rejects,
    *,
    documents: Documents | None,
    workers: int = 0,
    limit: int | None = None,
    quiet: bool = False,
    sidecars: Sidecars | None = None,
    stages: Sequence[Stage] = (),
) -> SourceIndex:
    """Read a source from end to end, or take what `sidecars` know of its files and write what they do not.

    `stages` change the stream of records before it is counted (cleaning, joined turns); with them, and with `limit`,
    sidecars are neither read nor written. Raises SeaError when the source holds no document that can be used.
    """
    rejected_before, files_before = rejects.total, len(store.files)
    with Progress(f"indexing {spec.name}", quiet=quiet) as progress:
        parts = read_source(
            spec, store, rejects, documents=documents, workers=workers, limit=limit, stages=stages,
            sidecars=None if stages or limit is not None else sidecars, advance=progress.advance,
        )  # fmt: skip
    index = _joined(spec, store, parts)
    index.num_rejected = rejects.total - rejected_before
    index.stored_files = [file for file in store.files[files_before:] if file.is_input]
    if not len(index):
        raise SeaError(
            f"source {spec.name}: {spec.glob}: no document"
            + (f", only {index.num_rejected:,} rejected lines; first: {rejects.first}" if index.num_rejected else ""),
            fix="a source must hold at least one document",
        )
    return index


def _joined(spec: SourceSpec, store: DocumentStore, parts: Sequence[tuple[int | np.ndarray, FileIndex]]) -> SourceIndex:
    """The indexes of files end to end; of one file alone its own arrays, which may be memory maps."""
    names = {"": 0}
    columns: dict[str, list[np.ndarray]] = {}
    for files, part in parts:
        if not len(part):
            continue
        ids = np.array([names.setdefault(lang, len(names)) for lang in part.langs], dtype=np.int64)
        if len(names) > 1 << 16:
            raise SeaError(f"source {spec.name} has more than 65,535 different `lang`", fix="is it a language?")
        lang_ids = part.columns["lang_ids"]
        same = bool((ids == np.arange(len(ids))).all())
        mapped = lang_ids if same else ids.astype(np.uint16)[lang_ids]
        numbers = np.broadcast_to(np.asarray(files, dtype=np.uint32), len(part))
        for name, values in {**part.columns, "lang_ids": mapped, "files": numbers}.items():
            columns.setdefault(name, []).append(values)
    joined: dict[str, Any] = {
        name: values[0] if len(values) == 1 else np.concatenate(values) for name, values in columns.items()
    }
    return SourceIndex(
        spec,
        store,
        **joined,
        langs=tuple(names),
        num_unk=sum(part.num_unk for _, part in parts),
        num_sampled=sum(part.num_sampled for _, part in parts),
        num_not_nfc=sum(part.num_not_nfc for _, part in parts),
    )
