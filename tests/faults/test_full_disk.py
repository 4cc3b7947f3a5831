"""A disk that is full: one error line, the old output as it was, nothing half-written and nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults.conftest import Disk, Server
from faults.jobs import BY_NAME, JOBS, RUNS, Job, content, hidden, visible

OLD = b"what was there before\n"
KEPT = (".samples.jsonl", ".partial")  # what a run goes on from, named so that nobody takes it for the output
# Bytes that are free: none, or enough to begin and not to end.
FREE = {
    "mix": 8192,
    "clean": 4096,
    "mix-pack": 40_000,
    "mix-shards": 24_000,
    "embed-init": 60_000,
    "vocab-extend": 4096,
}


def put_old(job: Job, out: Path) -> None:
    """An earlier output of the user's."""
    if job.folder:
        out.mkdir()
        (out / "old.txt").write_bytes(OLD)
    else:
        out.write_bytes(OLD)


@pytest.mark.parametrize("job", [job for job in JOBS if job.name not in RUNS], ids=lambda job: job.name)
def test_the_old_output_survives_a_full_disk(job: Job, server: Server, inputs: Path, disk: Disk) -> None:
    out = disk.path / job.out
    put_old(job, out)
    before = content(out)
    disk.fill(leave=FREE.get(job.name, 0))
    ended = server.run(*job.argv(inputs, out), "--force")
    assert ended.code == 1 and ended.is_told(), ended
    assert "space" in ended.stderr or "free on its disk" in ended.stderr
    assert content(out) == before
    assert visible(disk.path) <= {job.out, *(job.out + ending for ending in KEPT)}
    assert hidden(disk.path) == {".filler"}


@pytest.mark.parametrize("leave", [0, 100_000, 600_000])
@pytest.mark.parametrize("name", RUNS)
def test_a_training_run_on_a_full_disk_leaves_no_half_model(
    name: str, server: Server, inputs: Path, disk: Disk, leave: int
) -> None:
    out = disk.path / "run"
    disk.fill(leave=leave)
    ended = server.run(*BY_NAME[name].argv(inputs, out))
    assert ended.code == 1 and ended.is_told(), ended
    assert not (out / "config.json").exists() or (out / "model.safetensors").exists()
    for step in out.glob("checkpoints/step-*[0-9]"):
        assert (step / "state.json").exists()
    assert "run.manifest.json" not in visible(disk.path)


@pytest.mark.parametrize("job", [job for job in JOBS if job.stdout], ids=lambda job: job.name)
def test_a_stdout_that_takes_nothing_is_told(job: Job, server: Server, inputs: Path) -> None:
    *words, flag, _ = job.argv(inputs, Path("-"))
    assert flag == "-o"
    ended = server.run(*words, stdout="/dev/full")
    assert ended.code == 1 and ended.is_told() and "space" in ended.stderr, ended
    ended = server.run(*words, "-o", "/dev/full")
    assert ended.code == 1 and ended.is_told() and "space" in ended.stderr, ended


def test_a_full_folder_for_temporary_files_is_told(server: Server, inputs: Path, disk: Disk, tmp_path: Path) -> None:
    """What is spooled of stdin goes to TMPDIR; here it is the output's disk that is full before anything is read."""
    disk.fill(leave=0)
    index = disk.path / "index"
    ended = server.run(
        "mix", f"th={inputs}/th.jsonl", "--unit", "bytes", "--index-dir", index, "-o", tmp_path / "m.jsonl"
    )
    assert ended.code == 0 and "no index is kept" in ended.stderr  # the next mix counts again; this one is right
    assert content(tmp_path / "m.jsonl")
