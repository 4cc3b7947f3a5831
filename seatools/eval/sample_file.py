"""Appending to `samples.jsonl`, so that what is in it survives kill -9 at any point (streams/appended_lines.py)."""

from __future__ import annotations

from pathlib import Path

from seatools.eval.samples import Sample, parse_sample
from seatools.streams.appended_lines import AppendedLines
from seatools.streams.errors import UsageError
from seatools.streams.inputs import bare_suffix


class SampleFile(AppendedLines):
    """An open samples file: `with SampleFile(path) as samples: if key not in samples: samples.append(sample)`.

    Raises UsageError where another process writes to it, and BadRecord, naming the line, for damage that no crash of
    ours makes; the file is left as it is then.
    """

    def __init__(self, path: str | Path) -> None:
        if bare_suffix(str(path)) != Path(path).suffix.lower():
            raise UsageError(f"{path}: samples are appended, which compressed files do not take", fix="name a .jsonl")
        super().__init__(path, lambda line: parse_sample(line).key)

    def append(self, sample: Sample) -> bool:
        """Write a sample; False, and nothing written, where its key is there."""
        return sample.key not in self and self.put(sample.key, sample.line())

    def __enter__(self) -> SampleFile:
        return self
