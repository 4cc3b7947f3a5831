"""`.NAME.<key>.sea-index`: what one reading of a data file found, kept beside it for the next mix.

A safetensors file with a row a document (34 bytes): where its line lies, what it counts, the line's hash, its `lang`;
and the lines that were refused, so that their counts and the quarantine file come out again. The key in the name is
that of the tokenizer, the chat template, --pattern and this format. A file whose size, time and inode are those of its
index is trusted, and every line is checked against its hash when it is mixed; otherwise its sha256 decides, which the
manifest needs anyway. A damaged index is told of and made again; a folder that cannot be written is told of once.
Written by an atomic rename, so that mixes may run at once. Hidden, so that globs and folders never read it as data.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seatools.mix.document_store import Identity, identity_of
from seatools.streams.digests import sha256_file
from seatools.streams.errors import SeaError
from seatools.streams.inputs import shown
from seatools.streams.outputs import open_output
from seatools.streams.parsed import parse_json
from seatools.streams.tensors import map_tensors, save_tensors

if TYPE_CHECKING:
    from seatools.text.documents import Documents

FORMAT, VERSION = "sea-index", "1"
SUFFIX = ".sea-index"
MAX_REJECTED_BYTES = 16 << 20
"""A file with more of refused lines than this gets no index."""
COLUMNS = {
    "offsets": "uint64",
    "lengths": "uint32",
    "num_bytes": "uint32",
    "num_tokens": "uint32",
    "num_targets": "uint32",
    "hashes": "uint64",
    "lang_ids": "uint16",
}
WITHOUT_TOKENIZER = COLUMNS.keys() - {"num_tokens", "num_targets"}


@dataclass(frozen=True)
class RejectedLine:
    """A line that was refused, with all that its error said."""

    line: int
    reason: str
    what: str
    where: str | None
    """None for the line itself."""
    fix: str | None
    raw: bytes


@dataclass(frozen=True)
class FileIndex:
    """The documents of one file: one array [docs] for each of COLUMNS (without a tokenizer no tokens and targets)."""

    columns: Mapping[str, np.ndarray]
    langs: Sequence[str]
    """The names that `lang_ids` counts; the first is "", for none."""
    num_unk: int
    num_sampled: int
    """Documents that were looked at for their Unicode form."""
    num_not_nfc: int
    rejected: Sequence[RejectedLine]

    def __len__(self) -> int:
        return len(self.columns["offsets"])


class Sidecars:
    """Where the indexes of one tokenizer are, or (in `folder`) go; `warn` is told of damaged ones and read-only places.

    `documents`: the tokenizer and template that count, or None; `pattern`: the one that the tokenizer was loaded with.
    """

    def __init__(
        self,
        documents: Documents | None,
        *,
        pattern: str | None = None,
        folder: str | Path | None = None,
        read_only: bool = False,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        parts: list[object] = [FORMAT, VERSION, pattern]
        if documents is not None:
            template = documents.template
            variables = None if template is None else [template.source, sorted(template.variables.items())]
            parts += [documents.tokenizer.digest(), documents.add_eos, variables]
        self.key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        self.folder = None if folder is None else Path(folder)
        self.warn = warn
        self._has_tokenizer = documents is not None
        self._read_only = read_only
        self._closed: set[Path] = set()  # folders in which no index can be kept

    def path_of(self, data: str | Path) -> Path:
        """Where the index of a data file is."""
        place = Path(os.path.abspath(data))
        ending = f"{self.key[:12]}{SUFFIX}"
        if self.folder is None:
            return place.with_name(f".{place.name}.{ending}")
        return self.folder / f"{place.name}.{hashlib.sha256(os.fsencode(place)).hexdigest()[:16]}.{ending}"

    def load(self, data: str) -> tuple[FileIndex, str] | None:
        """The index of a data file and the file's sha256, or None if there is no index that is true of it."""
        path, identity = self.path_of(data), identity_of(data)
        if identity is None or not path.is_file():
            return None
        try:
            index, stored, sha256 = self._read(path)
        except (SeaError, LookupError, ValueError, TypeError, OSError, AttributeError, RecursionError) as error:
            what = error.what if isinstance(error, SeaError) else f"{path}: {error}"
            self.warn(f"a damaged index is left aside and made again: {what}")
            return None
        if stored == identity:
            return index, sha256
        if stored[0] != identity[0] or sha256_file(data) != sha256:
            return None
        self.save(data, identity, index, sha256)
        return index, sha256

    def save(self, data: str, identity: Identity, index: FileIndex, sha256: str | None = None) -> str | None:
        """Write the index of a data file that was `identity` when its reading began; returns the file's sha256.

        None, and no index, if the file has changed since or no index is kept.
        """
        path = self.path_of(data)
        if self._read_only or path.parent in self._closed:
            return sha256
        sha256 = sha256 or sha256_file(data)
        if identity_of(data) != identity:
            return None
        counts = {"unk": index.num_unk, "sampled": index.num_sampled, "not_nfc": index.num_not_nfc}
        metadata = {
            "format": FORMAT, "key": self.key, "sha256": sha256, "identity": json.dumps(identity),
            "langs": json.dumps(list(index.langs), ensure_ascii=False), "counts": json.dumps(counts),
        }  # fmt: skip
        tensors = {**index.columns, "rejected": np.frombuffer(_as_json(index.rejected), dtype=np.uint8)}
        metadata["xxh3"] = _checksum(tensors, metadata)
        try:
            if self.folder is not None:
                self.folder.mkdir(parents=True, exist_ok=True)
            if not path.parent.stat().st_mode & 0o222:  # nothing keeps root out of a folder that is to stay as it is
                raise SeaError("read-only")
            with open_output(path, force=True) as stream:
                save_tensors(stream, tensors, metadata)
        except (OSError, SeaError) as error:
            self._closed.add(path.parent)
            what = error.what if isinstance(error, SeaError) else error.strerror
            self.warn(
                f"no index is kept in {shown(str(path.parent))} ({what}): the next mix counts again; --index-dir DIR"
            )
        return sha256

    def _read(self, path: Path) -> tuple[FileIndex, Identity, str]:
        tensors, metadata = map_tensors(path)
        if metadata["format"] != FORMAT or metadata["key"] != self.key:
            raise SeaError(f"{path} is no index of this tokenizer")
        checksum = metadata.pop("xxh3")
        if _checksum(tensors, metadata) != checksum:
            raise SeaError(f"{path}: its checksum is another")
        rejected = _from_json(tensors.pop("rejected").tobytes())
        if tensors.keys() != (COLUMNS.keys() if self._has_tokenizer else WITHOUT_TOKENIZER):
            raise SeaError(f"{path}: it has other columns")
        _check_columns(tensors)
        size, modified, changed, inode = parse_json(metadata["identity"])
        counts, langs = parse_json(metadata["counts"]), parse_json(metadata["langs"])
        if not all(isinstance(lang, str) for lang in langs) or tensors["lang_ids"].max(initial=0) >= max(len(langs), 1):
            raise ValueError("a language without a name")
        if not all(type(counts[name]) is int and counts[name] >= 0 for name in ("unk", "sampled", "not_nfc")):
            raise ValueError("a count that is none")
        index = FileIndex(tensors, langs, counts["unk"], counts["sampled"], counts["not_nfc"], rejected)
        return index, (size, modified, changed, inode), metadata["sha256"]


def _check_columns(tensors: Mapping[str, np.ndarray]) -> None:
    """ValueError unless each column has its dtype and all have a row a document."""
    for name, column in tensors.items():
        if column.dtype != COLUMNS[name] or column.ndim != 1 or len(column) != len(tensors["offsets"]):
            raise ValueError(f"{name} is {column.dtype} {list(column.shape)}")


def _checksum(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    from xxhash import xxh3_128

    total = xxh3_128(json.dumps(dict(sorted(metadata.items()))).encode())
    for name in sorted(tensors):
        total.update(f"{name} {tensors[name].dtype.name} {len(tensors[name])}".encode())
        total.update(np.ascontiguousarray(tensors[name]).view(np.uint8).data)
    return total.hexdigest()


def _as_json(rejected: Sequence[RejectedLine]) -> bytes:
    """Raw bytes as latin-1 text, in which every byte is one character."""
    rows = [[row.line, row.reason, row.what, row.where, row.fix, row.raw.decode("latin-1")] for row in rejected]
    return json.dumps(rows, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _from_json(data: bytes) -> list[RejectedLine]:
    return [
        RejectedLine(line, reason, what, where, fix, raw.encode("latin-1"))
        for line, reason, what, where, fix, raw in json.loads(data.decode("utf-8", "surrogatepass"))
    ]
