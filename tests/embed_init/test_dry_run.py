"""`--dry-run`: bytes and memory are told before a tensor is read, and come true."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_folders import byte_level, llama

Sea = Callable[..., Any]
MERGES = [(b"a", b"b"), (b"c", b"d")]


@pytest.mark.parametrize("link", [False, True])
def test_the_bytes_told_are_the_bytes_written(tmp_path: Path, sea: Sea, link: bool) -> None:
    base = llama(byte_level(tmp_path / "base", MERGES[:1]), 259, shard="20KB")
    argv = ("embed-init", base, "--tokenizer", byte_level(tmp_path / "new", MERGES), "-o", tmp_path / "out")
    argv += ("--link",) if link else ()
    told = re.search(r"write ([\d,]+) bytes(?:, link ([\d,]+))?", sea(*argv, "--dry-run").stderr)
    assert told is not None and (told[2] is not None) == link
    assert sea(*argv).code == 0
    # Linked or not, headers, the index, the records and configs written anew are not in the sum.
    files = {path.name: path.stat() for path in (tmp_path / "out").iterdir()}
    shared = sum(stat.st_size for stat in files.values() if stat.st_nlink > 1)
    written = sum(stat.st_size for stat in files.values() if stat.st_nlink == 1)
    assert 0 <= written - int(told[1].replace(",", "")) < 4000
    assert 0 <= shared - int((told[2] or "0").replace(",", "")) < 1000


def test_no_tensor_is_read(tmp_path: Path, sea: Sea, monkeypatch: pytest.MonkeyPatch) -> None:
    base = llama(byte_level(tmp_path / "base", MERGES[:1]), 259)
    donor = llama(byte_level(tmp_path / "donor", MERGES), 260)
    new = byte_level(tmp_path / "new", MERGES)
    monkeypatch.setattr("seatools.embed_init.checkpoint.Tensor.open", lambda self: pytest.fail("a tensor was opened"))
    argv = ("embed-init", base, "--tokenizer", new, "-o", tmp_path / "out", "--dry-run")
    result = sea(*argv, "--method", "omp", "--donor", donor)
    assert result.code == 0 and "donor: " in result.stderr and "1 of 1 to make" in result.stderr
    assert sea(*argv, "--method", "gaussian-full").code == 0
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the peak")
@pytest.mark.parametrize("method", ["subword-mean", "gaussian-full"])
def test_the_memory_told_is_about_what_is_taken(tmp_path: Path, method: str) -> None:
    """A process's peak over that of the dry run, which loads the same tokenizers."""
    pairs = [(bytes([left]), bytes([right])) for left in range(40, 100) for right in range(40, 100)]
    base = llama(
        byte_level(tmp_path / "base", pairs[:2900]), 3158, hidden_size=2048, intermediate_size=8,
        num_attention_heads=32, num_key_value_heads=1,
    )  # fmt: skip
    argv = ["embed-init", base, "--tokenizer", byte_level(tmp_path / "new", pairs), "-o", tmp_path / "out"]
    # Not ru_maxrss: a child begins with its parent's.
    code = (
        "import sys; from seatools.cli import main; code = main(sys.argv[1:]); "
        "print(*(line for line in open('/proc/self/status') if line.startswith('VmHWM')), file=sys.stderr); "
        "sys.exit(code)"
    )

    def peak(*flags: object) -> tuple[int, str]:
        command = [sys.executable, "-c", code, *map(str, [*argv, "--method", method, *flags])]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return int(re.findall(r"VmHWM:\s+(\d+) kB", done.stderr)[-1]) * 1024, done.stderr

    before, text = peak("--dry-run")
    told = int(re.search(r"memory: about ([\d,]+) MB", text)[1].replace(",", "")) * 1e6  # type: ignore[index]
    mapped = (base / "model.safetensors").stat().st_size  # pages of MODEL count as the process's while they are mapped
    taken = peak()[0] - before
    assert told / 4 < taken < 1.2 * told + mapped, (taken, told)
