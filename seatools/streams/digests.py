"""sha256 of files and folders, for manifests and for the checks between commands (measured: about 0.9 GB/s)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

# What defines a model or tokenizer folder; notes, logs and checkpoints inside it do not.
MODEL_FILES = (
    "config.json", "*.safetensors", "*.safetensors.index.json",
    "*.model", "tokenizer.json", "vocab.json", "merges.txt", "*.tiktoken",
)  # fmt: skip


def sha256_file(path: str | Path) -> str:
    """Hex digest of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def folder_digest(
    path: str | Path, patterns: Sequence[str] = MODEL_FILES, known: Mapping[str, str | None] | None = None
) -> str:
    """Hex digest over (name, digest) of the files directly in `path` that match `patterns`, in order of name.

    `known`: digests by real path, not computed again; a file whose digest is None there counts with name and size only.
    """
    folder = Path(path)
    files = sorted({file for pattern in patterns for file in folder.glob(pattern) if file.is_file()})
    total = hashlib.sha256()
    for file in files:
        place = os.path.realpath(file)
        digest = known[place] if known and place in known else sha256_file(file)
        total.update(f"{file.name}\0{digest or f'{file.stat().st_size} bytes'}\n".encode())
    return total.hexdigest()
