"""A run that was killed goes on: the output is equal to the byte, nothing is made twice, nothing looks finished."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_llama import write_jsonl

from seatools.engine.generator import OwnLoop

HERE = Path(__file__).parent
RUN = ["-n", "2", "--best-of", "3", "--max-new-tokens", "6"]


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "p.jsonl", [{"prompt": f"{'ab' * n} {n}", "n": n} for n in range(14)])


@pytest.fixture
def breaks(monkeypatch):
    """`breaks(k)`: generation fails as on a lost machine after k units; returns how many units were run so far."""
    monkeypatch.setattr("seatools.engine.prompts.GROUP", 6)  # units of two prompts
    run = OwnLoop.run

    def after(units: int) -> list[int]:
        done = [0]

        def counted(self, group, *more):
            if done[0] == units:
                raise RuntimeError("lost")
            done[0] += 1
            return run(self, group, *more)

        monkeypatch.setattr(OwnLoop, "run", counted)
        return done

    return after


@pytest.mark.slow
def test_killed_at_random_points_and_resumed_the_output_is_equal_to_the_byte(byte_model, prompts, tmp_path):
    argv = ["sample", str(byte_model), str(prompts), *RUN]
    found = subprocess.run(
        [sys.executable, str(HERE / "kill_samples.py"), "3", "3", str(tmp_path / "runs"), *argv],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert int(found.stdout.split()[0]) >= 2, found.stdout


def test_what_was_made_is_kept_and_not_made_again(sea, byte_model, prompts, tmp_path, breaks):
    command = ["sample", byte_model, prompts, *RUN]
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    all_units = breaks(99)
    assert sea(*command, "-o", whole).code == 0
    assert all_units == [7]

    breaks(3)
    failed = sea(*command, "-o", out)
    assert failed.code == 1 and "the answers to 6 prompts are in" in failed.stderr and "--resume" in failed.stderr
    assert sorted(os.listdir(tmp_path)) == ["out.jsonl.partial", "p.jsonl", "whole.jsonl", "whole.jsonl.manifest.json"]
    partial = tmp_path / "out.jsonl.partial"
    partial.write_bytes(partial.read_bytes() + b'{"key": "torn')
    other = tmp_path / "out.jsonl.partial.rank1"  # as of a second process: its last answer is in its own file
    lines = partial.read_bytes().splitlines(keepends=True)
    partial.write_bytes(b"".join(lines[:-2]))
    other.write_bytes(lines[-2])

    again = sea(*command, "-o", out)
    assert again.code == 2 and "--resume" in again.stderr and "--force" in again.stderr
    units = breaks(99)
    resumed = sea(*command, "-o", out, "--resume")
    assert resumed.code == 0, resumed.stderr
    assert "holds the answers to 6 prompts already" in resumed.stderr
    assert units == [4]
    assert out.read_bytes() == whole.read_bytes()
    assert not partial.exists() and not other.exists()

    finished = sea(*command, "-o", out, "--resume")
    assert finished.code == 0 and "is finished" in finished.stderr
    assert units == [4]


def test_a_run_that_was_killed_before_its_manifest_writes_it(sea, byte_model, prompts, tmp_path, monkeypatch):
    from seatools.streams.manifest import Manifest

    out = tmp_path / "out.jsonl"
    command = ["sample", byte_model, prompts, *RUN, "-o", out, "--resume"]
    with monkeypatch.context() as patch:
        patch.setattr(Manifest, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        assert sea(*command).code == 1
    content = out.read_bytes()
    monkeypatch.setattr("seatools.engine.load.load_model", lambda *_, **__: pytest.fail("loaded"))
    assert sea(*command).code == 0
    assert out.read_bytes() == content
    assert sorted(os.listdir(tmp_path)) == ["out.jsonl", "out.jsonl.manifest.json", "p.jsonl"]


@pytest.mark.parametrize(
    ("change", "named"),
    [(["--temperature", "0.5"], "temperature: 1.0, now 0.5"), (["--seed", "1"], "seed: 0, now 1"),
     (["--limit", "9"], "prompts: 14, now 9"), (["--shard", "0/2"], "shard")],
)  # fmt: skip
def test_answers_of_another_run_are_not_gone_on_from(sea, byte_model, prompts, tmp_path, breaks, change, named):
    out = tmp_path / "out.jsonl"
    command = ["sample", byte_model, prompts, *RUN, "-o", out]
    breaks(1)
    assert sea(*command).code == 1
    partial = Path(f"{out}.partial")
    before = partial.read_bytes()
    breaks(99)
    refused = sea(*command, *change, "--resume")
    assert refused.code == 2 and named in refused.stderr, refused.stderr
    assert partial.read_bytes() == before
    assert sea(*command, *change, "--force").code == 0
    assert not partial.exists()
    refused = sea(*command, "--resume")
    assert refused.code == 2 and "is of another run" in refused.stderr


def test_changed_data_are_another_run_though_as_many(sea, byte_model, prompts, tmp_path, breaks):
    out = tmp_path / "out.jsonl"
    breaks(1)
    assert sea("sample", byte_model, prompts, *RUN, "-o", out).code == 1
    prompts.write_bytes(prompts.read_bytes().replace(b"abab 2", b"baba 2"))
    refused = sea("sample", byte_model, prompts, *RUN, "-o", out, "--resume")
    assert refused.code == 2 and "another prompts_digest" in refused.stderr


def test_a_finished_output_of_other_records_is_not_taken_for_theirs(sea, byte_model, prompts, tmp_path):
    out = tmp_path / "out.jsonl"
    run = ["sample", byte_model, prompts, *RUN, "-o", out, "--resume"]
    assert sea(*run).code == 0
    before = out.read_bytes()
    first = prompts.read_bytes().splitlines(keepends=True)[0]
    for changed in (prompts.read_bytes() + first, prompts.read_bytes().replace(b'"n":', b'"m":')):
        prompts.write_bytes(changed)  # the same questions
        refused = sea(*run)
        assert refused.code == 2 and "is of another run, with another records" in refused.stderr, refused.stderr
    refused = sea(*run, "--seed", 1)
    assert refused.code == 2 and "another seed: 0, now 1" in refused.stderr
    Path(f"{out}.manifest.json").unlink()
    refused = sea(*run)
    assert refused.code == 2 and "no manifest" in refused.stderr
    assert out.read_bytes() == before


def test_a_file_that_is_not_ours_is_left_alone(sea, byte_model, prompts, tmp_path):
    out, partial = tmp_path / "out.jsonl", tmp_path / "out.jsonl.partial"
    for content in (b"precious\nwords\n", b'{"key": "a"}\n', b'{"key": "run", "run": 3}\n'):
        partial.write_bytes(content)
        refused = sea("sample", byte_model, prompts, *RUN, "-o", out, "--resume")
        assert refused.code in (1, 2) and "move" in refused.stderr, refused.stderr
        assert partial.read_bytes() == content


def test_kept_answers_that_are_damaged_are_refused_and_left(sea, byte_model, prompts, tmp_path, breaks):
    out, partial = tmp_path / "out.jsonl", tmp_path / "out.jsonl.partial"
    breaks(1)
    assert sea("sample", byte_model, prompts, *RUN, "-o", out).code == 1
    head, first, *others = partial.read_bytes().splitlines(keepends=True)
    row = json.loads(first)
    breaks(99)
    for change in ({"responses": "ab"}, {"finish": []}, {"scores": ["x", None]}, {"more": 1}, {"reject": ["one"]}):
        content = b"".join([head, json.dumps(row | change).encode() + b"\n", *others])
        partial.write_bytes(content)
        refused = sea("sample", byte_model, prompts, *RUN, "-o", out, "--resume")
        assert refused.code == 1 and "are damaged" in refused.stderr, refused.stderr
        assert partial.read_bytes().startswith(content) and not out.exists()


def test_resume_wants_a_file_and_no_force(sea, byte_model, prompts, tmp_path):
    assert sea("sample", byte_model, prompts, "--resume").code == 2
    assert sea("sample", byte_model, prompts, "--resume", "--force", "-o", tmp_path / "o").code == 2


def test_a_run_to_stdout_leaves_nothing_behind(sea, byte_model, prompts, tmp_path, monkeypatch, breaks):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    breaks(3)
    assert sea("sample", byte_model, prompts, *RUN).code == 1
    breaks(99)
    result = sea("sample", byte_model, prompts, *RUN)
    assert len([json.loads(line) for line in result.stdout.splitlines()]) == 14
    assert list((tmp_path / "tmp").iterdir()) == []
