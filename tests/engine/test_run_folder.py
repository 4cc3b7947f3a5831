"""The folder of a run: begun, continued, replaced, and never at the cost of what was there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from seatools.engine.run_folder import RunFolder
from seatools.streams.errors import Preempted, SeaError, UsageError


def open_run(out: Path, *, resume: bool = False, force: bool = False, inputs: tuple[Path | str, ...] = ()) -> RunFolder:
    return RunFolder(out, resume=resume, force=force, inputs=inputs, begun_by=["packed.safetensors"])


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """A finished run."""
    out = tmp_path / "out"
    (out / "checkpoints").mkdir(parents=True)
    (out / "config.json").write_text("old")
    (tmp_path / "out.manifest.json").write_text("old")
    return out


def test_a_new_folder_is_made_and_written_to_as_it_is(tmp_path: Path) -> None:
    with open_run(tmp_path / "out") as folder:
        assert folder.path == tmp_path / "out"
        (folder.path / "packed.safetensors").write_text("x")
        folder.start()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["packed.safetensors"]


def test_making_the_object_writes_nothing(tmp_path: Path) -> None:
    open_run(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_takes_its_empty_folder_away_but_not_a_spool(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), open_run(tmp_path / "out"):
        raise ZeroDivisionError
    assert not (tmp_path / "out").exists()
    with pytest.raises(ZeroDivisionError), open_run(tmp_path / "out") as folder:
        (folder.path / "packed.safetensors").write_text("x")
        raise ZeroDivisionError
    assert (tmp_path / "out" / "packed.safetensors").exists()


def test_an_error_takes_away_what_is_made_again_and_nothing_else(tmp_path: Path) -> None:
    """A signal leaves it to --resume, and files that the run has not made stay."""

    def failed(error: Exception, *others: str) -> list[str]:
        with (
            pytest.raises(type(error)),
            RunFolder(tmp_path / "out", resume=False, force=False, inputs=(), begun_by=["a"], cleared=["a"]) as folder,
        ):
            for name in ("a", *others):
                (folder.path / name).write_text("x")
            raise error
        left = sorted(path.name for path in (tmp_path / "out").iterdir()) if (tmp_path / "out").exists() else []
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        return left

    assert failed(SeaError("no")) == []
    assert failed(SeaError("no"), "metrics.jsonl") == ["a", "metrics.jsonl"]
    assert failed(Preempted("SIGTERM")) == ["a"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("somebody's")
    with pytest.raises(UsageError):
        RunFolder(tmp_path / "out", resume=False, force=False, inputs=(), begun_by=["a"], cleared=["a"])
    with (
        pytest.raises(SeaError),
        RunFolder(tmp_path / "out", resume=True, force=False, inputs=(), begun_by=["a"], cleared=["a"]),
    ):
        raise SeaError("no")
    assert (tmp_path / "out" / "a").read_text() == "somebody's"


def test_something_there_is_refused_without_force_or_resume(full: Path) -> None:
    with pytest.raises(UsageError, match="exists and is not empty"):
        open_run(full)


def test_leftovers_of_a_killed_run_do_not_count_as_something(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".packed.safetensors.ab.tmp").write_text("x")
    with open_run(tmp_path / "out"):
        pass


def test_force_replaces_only_when_the_run_starts(full: Path) -> None:
    with open_run(full, force=True) as folder:
        (folder.path / "packed.safetensors").write_text("new")
        assert (full / "config.json").read_text() == "old"
        folder.start()
        assert folder.path == full
    assert [path.name for path in full.iterdir()] == ["packed.safetensors"]
    assert not (full.parent / "out.manifest.json").exists()


def test_force_leaves_the_old_run_when_the_new_one_never_starts(full: Path) -> None:
    with pytest.raises(ZeroDivisionError), open_run(full, force=True) as folder:
        (folder.path / "packed.safetensors").write_text("new")
        raise ZeroDivisionError
    assert sorted(path.name for path in full.iterdir()) == ["checkpoints", "config.json"]
    assert (full.parent / "out.manifest.json").exists()


def test_resume_keeps_everything(full: Path) -> None:
    with open_run(full, resume=True) as folder:
        folder.start()
    assert sorted(path.name for path in full.iterdir()) == ["checkpoints", "config.json"]
    assert (full.parent / "out.manifest.json").exists()


def test_resume_in_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("somebody's")
    with pytest.raises(UsageError, match="holds no run to resume"):
        open_run(tmp_path / "model", resume=True)


@pytest.mark.parametrize("resume", [False, True])
def test_a_file_or_a_missing_parent_is_refused(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="is a file"):
        open_run(tmp_path / "file", resume=resume)
    with pytest.raises(UsageError, match="no such folder"):
        open_run(tmp_path / "no" / "out", resume=resume)


def test_inputs_in_the_folder_or_the_folder_itself_are_refused_through_links(full: Path) -> None:
    link = full.parent / "link"
    link.symlink_to(full)
    with pytest.raises(UsageError, match="both input and output"):
        open_run(link, force=True, inputs=("-", full))
    with pytest.raises(UsageError, match="lies inside"):
        open_run(full, force=True, inputs=(link / "config.json",))
    assert (full / "config.json").exists()


def test_force_does_not_clear_the_folder_one_stands_in(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(full.iterdir())
    monkeypatch.chdir(full)
    with pytest.raises(UsageError, match="working folder"):
        open_run(Path("."), force=True)
    assert sorted(full.iterdir()) == before


def test_two_runs_do_not_write_into_one_folder(full: Path) -> None:
    with open_run(full, resume=True):
        for second in (open_run(full, resume=True), open_run(full, force=True)):
            with pytest.raises(UsageError, match="another run is writing"), second:
                pass
    assert (full / "config.json").read_text() == "old"
    with open_run(full, force=True):
        pass
