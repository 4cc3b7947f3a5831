"""Where the samples of a run go and come from: the samples file, or memory where none was asked for.

Of several processes the main one appends to FILE and the others to FILE.rank1, FILE.rank2 ...; at the end, and at the
beginning of a run after one that was killed, the main one moves what is there into FILE. Which process computed a
sample does not show.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from seatools.eval.sample_file import SampleFile
from seatools.eval.samples import Sample, SampleReader
from seatools.streams.appended_lines import rank_file, rank_files
from seatools.streams.errors import UsageError
from seatools.streams.messages import Messages


class SampleStore:
    """`with SampleStore(path, rank, messages) as store: if key not in store: store.add(sample)`."""

    def __init__(self, path: Path | None, rank: int, messages: Messages) -> None:
        self.path, self.rank, self.messages = path, rank, messages
        self._kept: dict[str, Sample] = {}
        self._keys: set[str] = set()
        self._file: SampleFile | None = None

    def open(self) -> None:
        """Open the file, after what killed processes left has been put into it. On the main process first."""
        if self.path is None:
            return
        if self.rank == 0:
            self._file = SampleFile(self.path)
            self.gather()
            if self._file.cut_off:
                self.messages.warn(f"{self.path}: a last line that was cut off is taken away (was the run killed?)")
            return
        self._keys = {sample.key for sample in SampleReader([str(self.path)])}
        self._file = SampleFile(rank_file(self.path, self.rank))

    def gather(self) -> None:
        """Move the samples of the other processes into the main one's file."""
        if self.path is None or self._file is None or self.rank:
            return
        for other in rank_files(self.path):
            with SampleFile(other):  # refused while another run writes to it; a cut-off line goes
                for sample in SampleReader([str(other)]):
                    self._file.append(sample)
            other.unlink()

    def __contains__(self, key: str) -> bool:
        return key in self._kept or key in self._keys or (self._file is not None and key in self._file)

    def add(self, sample: Sample) -> None:
        """Keep a sample; nothing happens where its key is there."""
        if self._file is None:
            sample.line()  # refuses what no score can be made of
            self._kept.setdefault(sample.key, sample)
        else:
            self._file.append(sample)

    def read(self, keys: Sequence[str]) -> list[Sample]:
        """The samples under these keys, in their order. The file is read through once."""
        if self.path is None:
            return [self._kept[key] for key in keys]
        wanted = set(keys)
        reader = SampleReader([str(self.path)])
        found = {sample.key: sample for sample in reader if sample.key in wanted}
        for warning in reader.warnings():
            self.messages.warn(warning)
        return [found[key] for key in keys]

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> SampleStore:
        return self

    def __exit__(self, *ended: object) -> None:
        self.close()


def check_samples_path(samples: str | None, inputs: Iterable[str], output: str | None) -> None:
    """Raises UsageError for a samples file that is an input, the output or cannot be one."""
    if samples is None:
        return
    path = Path(samples)
    others = [*inputs, *([output] if output not in (None, "-") else [])]
    if samples == "-" or path.is_dir() or not path.absolute().parent.is_dir():
        fix = "name a .jsonl in a folder that is there"
        raise UsageError(f"--samples {samples}: samples are appended to a file", fix=fix)
    if any(Path(other).exists() and path.exists() and path.samefile(other) for other in others) or samples in others:
        raise UsageError(f"--samples {samples} is read or written otherwise too", fix="another name")
