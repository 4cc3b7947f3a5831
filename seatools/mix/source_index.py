"""The index of a source: where each document stands and how many units it counts, made in one reading.

Tokens are counted as `sea train` will see them: BOS, EOS and chat template included. A document is read and tokenised
once for all its epochs; 28 bytes of it stay in memory. Cost: the tokenizer's (1-8 MB/s a core), which is 100 times
that of mixing; without a tokenizer, parsing JSON (measured: 0.2 GB/s).
"""

from __future__ import annotations

import unicodedata
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from seatools.mix.document_store import DocumentStore, Place, StoredFile
from seatools.mix.source_specs import SourceSpec
from seatools.streams.batches import batches
from seatools.streams.errors import SeaError
from seatools.streams.progress import Progress
from seatools.streams.records import Record, Rejects, check_training

if TYPE_CHECKING:
    import numpy as np

    from seatools.text.documents import Documents

Unit = Literal["tokens", "loss-tokens", "bytes", "docs"]
BATCH_DOCS, BATCH_BYTES = 512, 1 << 20
NFC_SAMPLE_DOCS, NFC_SAMPLE_CHARACTERS = 1000, 4096
UNK_LIMIT = 0.01
NFC_LIMIT = 0.01

Placed = tuple[Record, Place]


@dataclass
class SourceIndex:
    """One source after its first reading. Document numbers run from 0 in the order of the sorted files."""

    spec: SourceSpec
    store: DocumentStore
    files: array[int] = field(default_factory=lambda: array("I"))  # [docs] file number in the store
    offsets: array[int] = field(default_factory=lambda: array("Q"))  # [docs]
    lengths: array[int] = field(default_factory=lambda: array("I"))  # [docs] bytes of the line
    num_bytes: array[int] = field(default_factory=lambda: array("I"))  # [docs] UTF-8 bytes of the text
    num_tokens: array[int] = field(default_factory=lambda: array("I"))  # [docs], or empty without a tokenizer
    num_targets: array[int] = field(default_factory=lambda: array("I"))  # [docs], or empty without a tokenizer
    num_unk: int = 0
    num_sampled: int = 0
    """Documents that were looked at for their Unicode form."""
    num_not_nfc: int = 0
    num_rejected: int = 0
    stored_files: list[StoredFile] = field(default_factory=list)
    """The files of the source, those without a document too."""

    def __len__(self) -> int:
        return len(self.files)

    def line(self, doc: int) -> bytes:
        """Document `doc` as a line of JSONL without its end."""
        return self.store.line(Place(self.files[doc], self.offsets[doc], self.lengths[doc]))

    def units(self, unit: Unit) -> np.ndarray:
        """[docs] int64: what each document counts in the unit."""
        import numpy as np

        if unit == "docs":
            return np.ones(len(self), dtype=np.int64)
        column = {"tokens": self.num_tokens, "loss-tokens": self.num_targets, "bytes": self.num_bytes}[unit]
        return np.frombuffer(column, dtype=np.uint32).astype(np.int64)

    def warnings(self) -> list[str]:
        """What a user should know about the source before training on it."""
        found = []
        if self.num_not_nfc > NFC_LIMIT * self.num_sampled:
            share = self.num_not_nfc / self.num_sampled
            found.append(
                f"source {self.spec.name}: {share:.0%} of {self.num_sampled:,} sampled documents are not in Unicode "
                "form NFC, which can triple their tokens; they are mixed as they are"
            )
        if self.num_unk > UNK_LIMIT * sum(self.num_tokens):
            share = self.num_unk / sum(self.num_tokens)
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
) -> SourceIndex:
    """Read a source from end to end. Raises SeaError when it holds no document that can be used."""
    index, rejected_before, files_before = SourceIndex(spec, store), rejects.total, len(store.files)
    with Progress(f"indexing {spec.name}", quiet=quiet) as progress:
        placed = store.records([spec.glob], check=check_training, rejects=rejects, limit=limit)
        for batch in batches(placed, lambda item: len(item[0].raw), max_items=BATCH_DOCS, max_size=BATCH_BYTES):
            _add_batch(index, batch, rejects, documents, workers)
            progress.advance(len(batch))
    index.num_rejected = rejects.total - rejected_before
    index.stored_files = store.files[files_before:]
    if not len(index):
        raise SeaError(
            f"source {spec.name}: {spec.glob}: no document"
            + (f", only {index.num_rejected:,} rejected lines; first: {rejects.first}" if index.num_rejected else ""),
            fix="a source must hold at least one document",
        )
    return index


def _add_batch(
    index: SourceIndex, batch: list[Placed], rejects: Rejects, documents: Documents | None, workers: int
) -> None:
    encoded: list[Any] = [None] * len(batch)
    if documents is not None:
        if documents.template is None:
            for record, _ in batch:
                _require_no_template(record, documents)
        encoded = documents.encode([record.value for record, _ in batch], workers=workers)
    for (record, place), doc in zip(batch, encoded, strict=True):
        if isinstance(doc, SeaError):
            rejects.refuse(record, doc, reason=doc.what.partition(":")[0])
            continue
        text = _text(record.value)
        index.files.append(place.file)
        index.offsets.append(place.offset)
        index.lengths.append(place.length)
        index.num_bytes.append(len(text.encode("utf-8")))
        if index.num_sampled < NFC_SAMPLE_DOCS:
            index.num_sampled += 1
            index.num_not_nfc += not unicodedata.is_normalized("NFC", text[:NFC_SAMPLE_CHARACTERS])
        if documents is not None and doc is not None:
            index.num_tokens.append(len(doc.ids))
            index.num_targets.append(doc.num_targets)
            tokenizer = documents.tokenizer
            # GPT-2's family calls its end of text the unknown token too, and never needs one.
            if tokenizer.unk_id not in (None, tokenizer.bos_id, tokenizer.eos_id):
                index.num_unk += int((doc.ids == tokenizer.unk_id).sum())


def _require_no_template(record: Record, documents: Documents) -> None:
    """A missing template is a mistake on the command line, not a bad record to be skipped."""
    value = record.value
    if "messages" in value or ("completion" in value and isinstance(value.get("prompt"), list)):
        raise SeaError(
            f"a chat record needs a chat template, and {documents.tokenizer.path} has none",
            where=record.where,
            fix="--chat-template FILE",
        )


def _text(value: dict[str, Any]) -> str:
    """What a record says: its text, or the contents of its turns."""
    if "messages" in value:
        return "".join(message["content"] for message in value["messages"])
    if "prompt" in value and "completion" in value:
        turns = (value["prompt"], value["completion"])
        return "".join(turn if isinstance(turn, str) else _text({"messages": turn}) for turn in turns)
    return str(value["text"])
