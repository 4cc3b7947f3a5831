"""kill -9 at any moment: under the output's name stands what was there, or all that is new; the next run goes through.

The moments are drawn anew each time. SEA_KILLS sets how many a command gets (docs/fuzzing.md tells of the longest run).
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from faults.conftest import Server
from faults.jobs import BY_NAME, RUNS, content, hidden, visible
from faults.test_full_disk import KEPT, put_old

KILLS = int(os.environ.get("SEA_KILLS", "2"))
NAMES = ["mix", "mix-shards", "clean", "audit", "vocab-extend", "embed-init", "sample", "lsn-detect"]


@pytest.mark.parametrize("name", NAMES)
def test_old_or_new_but_never_a_part(name: str, server: Server, inputs: Path, tmp_path: Path) -> None:
    job, out = BY_NAME[name], tmp_path / BY_NAME[name].out
    server.run(*job.argv(inputs, out))
    began = time.monotonic()
    assert server.run(*job.argv(inputs, out), "--force").code == 0
    whole, seconds = content(out), time.monotonic() - began
    for _ in range(KILLS):
        for path in (*visible(tmp_path), *hidden(tmp_path)):
            _remove(tmp_path / path)
        put_old(job, out)
        old = content(out)
        moment = seconds * random.uniform(0.3, 1.1)
        ended = server.run(*job.argv(inputs, out), "--force", kill_after=moment)
        assert ended.code in (-9, 0), ended
        # A folder is replaced by two renames; between them the old one stands under a hidden name.
        kept = [
            path for path in tmp_path.iterdir() if path.name.startswith(f".{job.out}.") and path.name.endswith(".old")
        ]
        found = content(out) or (content(kept[0]) if job.folder and kept else {})
        assert found in (old, whole), f"killed after {moment:.3f} s"
        assert all(
            entry.startswith(f".{job.out}") or entry.endswith((".sea-index", ".tmp")) for entry in hidden(tmp_path)
        )
        assert visible(tmp_path) <= {job.out, *(job.out + ending for ending in (".manifest.json", *KEPT))}
    assert server.run(*job.argv(inputs, out), "--force").code == 0
    assert content(out) == whole


@pytest.mark.parametrize("name", RUNS)
def test_a_killed_training_run_resumes_to_the_same_model(
    name: str, server: Server, inputs: Path, tmp_path: Path
) -> None:
    job, straight, out = BY_NAME[name], tmp_path / "straight", tmp_path / "run"
    began = time.monotonic()
    assert server.run(*job.argv(inputs, straight)).code == 0
    seconds = time.monotonic() - began
    for _ in range(KILLS):
        server.run(
            *job.argv(inputs, out), *(["--resume"] if out.exists() else []), kill_after=seconds * random.random()
        )
        assert not (out / "config.json").exists() or content(out / "model.safetensors") == content(
            straight / "model.safetensors"
        )
    ended = server.run(*job.argv(inputs, out), *(["--resume"] if out.exists() else []))
    assert ended.code == 0, ended
    assert content(out / "model.safetensors") == content(straight / "model.safetensors")
    assert not [name for name in hidden(out) if name.startswith(".final")]


def test_a_killed_evaluation_keeps_what_it_scored(server: Server, inputs: Path, tmp_path: Path) -> None:
    job, out = BY_NAME["eval"], tmp_path / "e.jsonl"
    assert server.run(*job.argv(inputs, tmp_path / "straight.jsonl")).code == 0
    for _ in range(KILLS):
        server.run(*job.argv(inputs, out), "--force", kill_after=random.uniform(0.2, 2))
    assert server.run(*job.argv(inputs, out), "--force").code == 0
    assert content(out) == content(tmp_path / "straight.jsonl")


def _remove(path: Path) -> None:
    import shutil

    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
