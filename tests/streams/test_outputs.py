"""Outputs appear whole or not at all, destroy nothing that was there, and repeat byte for byte."""

from __future__ import annotations

import errno
import gzip
import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from seatools.streams import outputs
from seatools.streams.errors import UsageError
from seatools.streams.outputs import check_output, open_output, output_folder, write_atomic

REPOSITORY = str(Path(__file__).resolve().parents[2])


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names() -> list[str]:
    return sorted(os.listdir())


def write(path: str | None, data: bytes = b"new\n", **options: object) -> None:
    with open_output(path, **options) as stream:  # type: ignore[arg-type]
        stream.write(data)


# Files


def test_a_file_appears_when_it_is_whole() -> None:
    with open_output("out") as stream:
        stream.write(b"new")
        assert not Path("out").exists()
    assert Path("out").read_bytes() == b"new"
    assert names() == ["out"]


def test_the_bytes_are_on_the_disk_before_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted(name: str, call: Callable[..., None]) -> Callable[..., None]:
        return lambda *args: events.append(name) or call(*args)  # type: ignore[func-returns-value]

    monkeypatch.setattr(os, "fsync", noted("fsync", fsync))
    monkeypatch.setattr(os, "replace", noted("rename", replace))
    write("out")
    assert events == ["fsync", "rename", "fsync"]  # the file; then its folder


@pytest.mark.parametrize("failure", [ValueError("x"), KeyboardInterrupt(), OSError(errno.EIO, "broken")])
@pytest.mark.parametrize("name", ["out", "out.gz", "out.zst"])
def test_a_failure_inside_keeps_what_was_there_and_leaves_nothing(name: str, failure: BaseException) -> None:
    Path(name).write_bytes(b"old")
    with pytest.raises(type(failure)), open_output(name, force=True) as stream:
        stream.write(b"half")
        raise failure
    assert (Path(name).read_bytes(), names()) == (b"old", [name])


def test_a_full_disk_keeps_what_was_there_and_names_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    Path("out").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="out") as caught:
        write("out", force=True)
    assert (caught.value.filename, Path("out").read_bytes(), names()) == ("out", b"old", ["out"])


def test_a_file_size_limit_reached_while_writing_is_an_error_without_debris() -> None:
    program = """
import resource, signal
from seatools.streams.outputs import open_output
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
with open_output("out") as stream:
    for _ in range(100):
        stream.write(b"x" * 10_000)
"""
    done = run_python(program)
    assert done.returncode == 1 and "File too large: 'out'" in done.stderr
    assert names() == []


@pytest.mark.parametrize("old", [b"old", None])
def test_a_killed_writer_leaves_the_old_file_or_none(old: bytes | None) -> None:
    if old:
        Path("out").write_bytes(old)
    program = """
import os, signal
from seatools.streams.outputs import open_output
with open_output("out", force=True) as stream:
    stream.write(b"half" * 100_000)
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert run_python(program).returncode == -signal.SIGKILL
    assert (Path("out").read_bytes() if Path("out").exists() else None) == old
    write("out", force=True)  # and its debris is in nobody's way
    assert Path("out").read_bytes() == b"new\n"


def run_python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": REPOSITORY}
    )


def test_an_existing_file_needs_force() -> None:
    Path("out").write_bytes(b"old")
    with pytest.raises(UsageError, match=r"out exists \(--force replaces it\)"):
        write("out")
    assert Path("out").read_bytes() == b"old"
    write("out", force=True)
    assert Path("out").read_bytes() == b"new\n"


def test_an_input_is_never_written_onto_under_any_name() -> None:
    Path("in.jsonl").write_bytes(b"old")
    os.symlink("in.jsonl", "symbolic")
    os.link("in.jsonl", "hard")
    for name in ("in.jsonl", "./in.jsonl", "symbolic", "hard"):
        with pytest.raises(UsageError, match="is both input and output"):
            write(name, force=True, inputs=["-", "in.jsonl"])
    assert Path("in.jsonl").read_bytes() == b"old"


def test_a_file_of_an_input_model_is_never_written_onto() -> None:
    Path("model").mkdir()
    Path("model/model.safetensors").write_bytes(b"weights")
    with pytest.raises(UsageError, match="both input and output"):
        check_output("model/model.safetensors", force=True, inputs=["model"])
    check_output("model/scores.jsonl", inputs=["model"])


def test_a_missing_folder_is_named() -> None:
    with pytest.raises(UsageError, match="none: no such folder"):
        write("none/out")
    assert names() == []


def test_a_folder_is_no_file() -> None:
    Path("d").mkdir()
    with pytest.raises(UsageError, match="d is a folder"):
        write("d", force=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_reported_under_the_name_of_the_output() -> None:
    Path("d").mkdir(mode=0o500)
    with pytest.raises(PermissionError) as caught:
        write("d/out")
    assert caught.value.filename == "d/out"


def test_a_link_stays_a_link_and_what_it_names_is_replaced() -> None:
    Path("d").mkdir()
    Path("d/real").write_bytes(b"old")
    os.symlink("d/real", "link")
    write("link", force=True)
    assert Path("link").is_symlink() and Path("d/real").read_bytes() == b"new\n"
    assert os.listdir("d") == ["real"]


def test_the_null_device_is_written_to_not_replaced() -> None:
    write(os.devnull)
    assert not Path(os.devnull).is_file()


def test_a_named_pipe_is_written_to_compressed_by_its_name() -> None:
    os.mkfifo("pipe.gz")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(Path("pipe.gz").read_bytes()))
    reader.start()
    write("pipe.gz")
    reader.join(5)
    assert gzip.decompress(got[0]) == b"new\n" and Path("pipe.gz").is_fifo()


def _unzstd(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


@pytest.mark.parametrize(
    ("name", "unpack"), [("a.gz", gzip.decompress), ("A.GZ", gzip.decompress), ("a.jsonl.zst", _unzstd), ("a", bytes)]
)
def test_compression_by_extension_repeats_byte_for_byte(
    name: str, unpack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(1000) + b"text " * 10_000
    write(name, content)
    first = Path(name).read_bytes()
    os.makedirs("elsewhere")
    monkeypatch.setattr("time.time", lambda: 1e9)
    write(f"elsewhere/{name}", content)
    assert unpack(first) == content
    assert Path(f"elsewhere/{name}").read_bytes() == first
    assert (len(first) < len(content)) == (name != "a")


def test_the_name_that_was_given_decides_the_compression() -> None:
    Path("run.jsonl").write_bytes(b"")
    os.symlink("run.jsonl", "latest.jsonl.gz")
    write("latest.jsonl.gz", force=True)
    assert gzip.decompress(Path("run.jsonl").read_bytes()) == b"new\n"


def test_a_small_file_of_ours_is_replaced_as_a_whole() -> None:
    write_atomic(Path("state.json"), b"1")
    write_atomic(Path("state.json"), b"2")
    assert (Path("state.json").read_bytes(), names()) == (b"2", ["state.json"])


# Standard output


@pytest.mark.parametrize("path", [None, "-"])
def test_stdout_gets_the_bytes(path: str | None, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    sys.stdout.write("before ")
    write(path, b"data\0\xff")
    assert capfdbinary.readouterr().out == b"before data\0\xff"
    assert names() == []


def test_a_stand_in_for_stdout_gets_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
    write(None)
    assert sys.stdout.buffer.getvalue() == b"new\n"  # type: ignore


def test_binary_data_is_not_sent_to_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    controller, terminal = os.openpty()
    with open(terminal, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        with pytest.raises(UsageError, match="binary data to a terminal"):
            write(None, binary=True)
        with pytest.raises(UsageError, match="binary data to a terminal"):
            write(os.ttyname(terminal), binary=True)
        write(None, b"text\n")
    assert os.read(controller, 100) == b"text\r\n"
    os.close(controller)


# Folders


def fill(path: str, *, fail: BaseException | None = None, force: bool = True, inputs: tuple[str, ...] = ()) -> None:
    with output_folder(path, force=force, inputs=inputs) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "new").write_bytes(b"new")
        if fail:
            raise fail


def test_a_folder_appears_when_it_is_whole() -> None:
    with output_folder("out") as folder:
        (folder / "a").write_bytes(b"1")
        assert not Path("out").exists()
    assert (names(), os.listdir("out")) == (["out"], ["a"])


def test_a_folder_gets_the_usual_rights() -> None:
    fill("out")
    os.mkdir("usual")
    assert os.stat("out").st_mode == os.stat("usual").st_mode


def test_an_old_folder_needs_force_and_goes_as_a_whole() -> None:
    Path("out").mkdir()
    Path("out/old").write_bytes(b"old")
    with pytest.raises(UsageError, match="out exists"):
        fill("out", force=False)
    assert os.listdir("out") == ["old"]
    fill("out/")
    assert (names(), os.listdir("out")) == (["out"], ["sub"])


@pytest.mark.parametrize("failure", [ValueError("x"), KeyboardInterrupt()])
def test_a_failure_inside_keeps_the_old_folder_and_leaves_nothing(failure: BaseException) -> None:
    Path("out").mkdir()
    Path("out/old").write_bytes(b"old")
    with pytest.raises(type(failure)):
        fill("out", fail=failure)
    assert (names(), os.listdir("out")) == (["out"], ["old"])


@pytest.mark.parametrize("failure", [OSError(errno.EIO, "broken"), KeyboardInterrupt()])
def test_a_failure_between_the_two_renames_brings_the_old_folder_back(
    failure: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("out").mkdir()
    Path("out/old").write_bytes(b"old")
    replace, calls = os.replace, []

    def second_fails(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == 2:
            raise failure
        replace(source, target)

    monkeypatch.setattr(outputs.os, "replace", second_fails)
    with pytest.raises(type(failure)):
        fill("out")
    assert (names(), os.listdir("out")) == (["out"], ["old"])


def test_a_linked_folder_stays_linked() -> None:
    Path("real").mkdir()
    os.symlink("real", "link")
    fill("link")
    assert Path("link").is_symlink() and os.listdir("real") == ["sub"]


def test_a_folder_that_holds_an_input_is_never_replaced() -> None:
    Path("out/model").mkdir(parents=True)
    Path("out/a.jsonl").write_bytes(b"old")
    for source in ("out/a.jsonl", "out/model", "out"):
        with pytest.raises(UsageError, match="lies inside out|both input and output"):
            fill("out", inputs=(source, "-"))
    assert sorted(os.listdir("out")) == ["a.jsonl", "model"]


def test_the_folder_one_stands_in_or_lives_in_is_never_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("home/sub").mkdir(parents=True)
    monkeypatch.setenv("HOME", os.path.abspath("home/sub"))
    for path, name in [(".", "working"), (os.pardir, "working"), ("home", "home"), ("home/sub", "home")]:
        with pytest.raises(UsageError, match=f"the {name} folder"):
            fill(path)
    assert names() == ["home"]


def test_a_folder_output_refuses_files_stdout_and_missing_parents() -> None:
    Path("file").write_bytes(b"old")
    for path, message in [("file", "file is a file"), ("-", "stdout"), ("none/out", "none: no such folder")]:
        with pytest.raises(UsageError, match=message):
            fill(path)
    assert names() == ["file"]


def test_debris_of_a_killed_run_is_in_nobodys_way() -> None:
    for _ in range(2):
        done = run_python(
            "import os, signal\nfrom seatools.streams.outputs import output_folder\n"
            "os.getpid = lambda: 1\n"  # as in a container, where every run has the same process id
            "with output_folder('out') as folder:\n    os.abort()"
        )
        assert done.returncode == -signal.SIGABRT
    fill("out")
    assert os.listdir("out") == ["sub"]


def test_an_output_can_be_checked_before_any_work() -> None:
    Path("old").write_bytes(b"old")
    for path in (None, "-", "new", os.devnull):
        check_output(path, inputs=["old"])
    with pytest.raises(UsageError):
        check_output("old")
    assert names() == ["old"]


def test_a_folder_in_the_place_of_the_manifest_is_found_before_any_work() -> None:
    Path("out.jsonl.manifest.json").mkdir()
    with pytest.raises(UsageError, match="out.jsonl.manifest.json is a folder"):
        check_output("out.jsonl")
