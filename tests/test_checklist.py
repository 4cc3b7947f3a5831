"""Lines of the checklist for command-line tools (docs/checklist.md) that concern all commands at once."""

from __future__ import annotations

import errno
import importlib
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from seatools.cli import COMMANDS
from seatools.help.definitions import definitions

REPOSITORY = Path(__file__).resolve().parents[1]
SEA = f'"{sys.executable}" -m seatools'


@pytest.fixture(scope="module")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the processes of these tests keep it, as an installation does."""
    return tmp_path_factory.mktemp("bytecode")


@pytest.fixture
def here(tmp_path: Path, bytecode: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(bytecode))
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    Path("in.jsonl").write_text("".join(json.dumps({"text": f"text {number}"}) + "\n" for number in range(50)))
    return tmp_path / "work"


def shell(script: str) -> tuple[int, str, str]:
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


# Startup


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_of_commands_is_true(name: str) -> None:
    """The module is there, runs by `main`, and says of itself that it is this command."""
    path, line = COMMANDS[name]
    module = importlib.import_module(path)
    assert callable(module.main) and (module.__doc__ or "").startswith(f"`sea {name}`")
    assert line and not line.endswith(".") and len(line) < 70


def processor_time(*arguments: str) -> float:
    """The least of three runs, after one that leaves the bytecode."""
    times = []
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times[1:])


def test_help_costs_little_more_than_python(here: Path) -> None:
    """In processor time, which a busy machine does not stretch; benchmarks/startup.py has the real limits (3, 12)."""
    bare = processor_time("-c", "pass")
    assert processor_time("-m", "seatools", "--help") < 5 * bare
    assert processor_time("-m", "seatools", "mix", "--help") < 20 * bare


def test_a_plan_of_training_needs_no_torch(here: Path, shared: Path) -> None:
    code = "import sys; from seatools import cli; print(cli.main(sys.argv[1:]), 'torch' in sys.modules)"
    argv = ["train", str(shared / "models/stories260K"), "in.jsonl", "-o", "out", "--dry-run", "-q"]
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "0 False", done.stderr


# Streams


def in_terminal(line: str, **environment: str) -> tuple[int, str]:
    """The exit code and the output of a command line with a terminal on all three streams."""
    controller, terminal = os.openpty()
    process = subprocess.Popen(
        ["bash", "-c", line], stdin=terminal, stdout=terminal, stderr=terminal, env=os.environ | environment
    )
    os.close(terminal)
    found = b""
    while True:
        try:
            piece = os.read(controller, 1 << 16)
        except OSError as error:  # how Linux says that the other side is closed
            assert error.errno == errno.EIO
            break
        if not piece:
            break
        found += piece
    os.close(controller)
    return process.wait(timeout=20), found.decode("utf-8", "replace")


def test_nobody_waits_in_silence_for_a_terminal(here: Path) -> None:
    for argv in ("clean", "mix a=- --unit docs", "eval score -"):
        code, text = in_terminal(f"{SEA} {argv}")
        assert code == 2 and "stdin is a terminal" in text, (argv, text)


def test_colours_go_where_they_are_wanted(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    tasks = f"{SEA} eval tasks"
    assert "\x1b[" in in_terminal(tasks, TERM="xterm")[1]
    assert "\x1b[" not in in_terminal(tasks, TERM="dumb")[1]
    assert "\x1b[" not in in_terminal(f"{tasks} --color never", TERM="xterm")[1]
    assert "\x1b[" in in_terminal(f"{tasks} --color always", TERM="dumb", NO_COLOR="1")[1]
    code, out, err = shell(f"{tasks} --color always")  # a pipe gets records, which have no colours
    assert code == 0 and "\x1b" not in out + err and json.loads(out.splitlines()[0])


def test_a_closed_pipe_behind_a_real_command(here: Path) -> None:
    with open("big.jsonl", "w") as stream:
        stream.writelines(json.dumps({"text": f"text {number}"}) + "\n" for number in range(40_000))
    _, out, err = shell(f"{SEA} clean big.jsonl -q | head -1; echo ${{PIPESTATUS[0]}}")
    assert out.splitlines()[1:] == ["141"] and err == ""


def test_text_is_utf8_in_any_locale(here: Path) -> None:
    Path("th.jsonl").write_text('{"text": "ภาษาไทย"}\n', encoding="utf-8")
    _, out, err = shell(f"LC_ALL=C PYTHONUTF8=0 {SEA} clean th.jsonl -q | od -c | head -1")
    assert "340 270 240" in out and err == ""


# Files


def test_an_output_that_is_an_input_is_refused_by_every_kind_of_command(here: Path, sea: Callable) -> None:
    before = Path("in.jsonl").read_bytes()
    for argv in (["clean", "in.jsonl"], ["mix", "a=in.jsonl:1", "--unit", "docs"], ["clean", "./in.jsonl"]):
        done = sea(*argv, "-o", "in.jsonl", "--force")
        assert done.code == 2 and "both input and output" in done.stderr
    assert Path("in.jsonl").read_bytes() == before


def test_what_is_complete_is_skipped(here: Path, sea: Callable) -> None:
    assert sea("clean", "in.jsonl", "-o", "out.jsonl", "--skip-existing").code == 0
    before = os.stat("out.jsonl").st_mtime_ns
    done = sea("clean", "no-such-file", "-o", "out.jsonl", "--skip-existing")  # nothing is looked at
    assert (done.code, done.stderr) == (0, "out.jsonl is complete, and is left as it is\n")
    assert os.stat("out.jsonl").st_mtime_ns == before
    Path("out.jsonl.manifest.json").unlink()  # as a run leaves it that is killed between the two
    assert sea("clean", "in.jsonl", "-o", "out.jsonl", "--skip-existing").code == 2
    assert sea("clean", "in.jsonl", "-o", "out.jsonl", "--skip-existing", "--force").code == 0
    assert sea("clean", "in.jsonl", "--skip-existing").code == 2


# Make


def test_make_knows_what_a_glob_was_and_leaves_no_half_target(here: Path) -> None:
    if shutil.which("make") is None:
        pytest.skip("no make here")
    for name in ("x 1.jsonl", "x$2#.jsonl"):
        Path(name).write_bytes(Path("in.jsonl").read_bytes())
    Path("Makefile").write_text(
        f"out.jsonl: ; {SEA} clean 'x*.jsonl' -o $@ --force --depfile out.d -q\n"
        f"bad.jsonl: ; {SEA} clean Makefile -o $@ -q\n-include out.d\n"
    )
    assert shell("make -s out.jsonl")[0] == 0
    assert "up to date" in shell("make out.jsonl")[1]
    first = os.stat("out.jsonl").st_mtime_ns
    os.utime("x$2#.jsonl", ns=(first + 10**9, first + 10**9))
    assert shell("make -s out.jsonl")[0] == 0 and os.stat("out.jsonl").st_mtime_ns > first
    os.utime("out.jsonl", ns=(first + 2 * 10**9, first + 2 * 10**9))
    Path("x 1.jsonl").unlink()  # a rule of its own says that it may
    assert shell("make -s out.jsonl")[0] == 0 and Path("out.d").read_text().count("\n") == 3
    assert shell("make -s bad.jsonl")[0] == 2 and not Path("bad.jsonl").exists()


def test_no_rule_without_an_output(here: Path, sea: Callable) -> None:
    assert sea("clean", "in.jsonl", "--depfile", "x.d").code == 2
    assert sea("clean", "in.jsonl", "-o", "o.jsonl", "--dry-run", "--depfile", "x.d").code == 0
    Path("back\\slash.jsonl").write_bytes(Path("in.jsonl").read_bytes())
    assert sea("clean", "back\\slash.jsonl", "-o", "o.jsonl", "--depfile", "x.d").code == 1
    assert not Path("x.d").exists()


# Determinism


def test_the_same_bytes_with_any_hash_seed_and_any_order_of_a_folder(here: Path) -> None:
    for folder, names in (("one", ["b", "a", "c"]), ("two", ["c", "b", "a"])):
        Path(folder).mkdir()
        for name in names:
            Path(folder, f"{name}.jsonl").write_text("".join(f'{{"text": "{name} {n}"}}\n' for n in range(9)))
    made = []
    for folder, seed, workers in (("one", "0", 1), ("two", "1", 2)):
        mix = f"mix 'a={folder}:1' b=in.jsonl:2 --unit docs --budget 40 --workers {workers} --no-index"
        code, out, err = shell(f"PYTHONHASHSEED={seed} {SEA} {mix} -q")
        assert code == 0, err
        made.append(out)
    assert made[0] == made[1] and made[0].count("\n") == 40


def test_every_seed_is_zero_unless_it_is_said() -> None:
    seeds = {
        name: [item.default for item in one.options if "--seed" in item.names] for name, one in definitions().items()
    }
    assert {seed for found in seeds.values() for seed in found} == {"0"}


# Interface


def test_no_short_forms_of_names(here: Path, sea: Callable) -> None:
    """`sea voc` and `--norm` would change their meaning with the next release."""
    assert sea("cl", "in.jsonl").code == 2 and sea("clean", "in.jsonl", "--norm", "nfc").code == 2


def test_wrong_options_bring_the_nearest(here: Path, sea: Callable) -> None:
    assert "--normalize" in sea("clean", "in.jsonl", "--normalise", "nfc").stderr
    Path("doc.jsonl").write_text('{"content": "a"}\n')
    assert 'has "content"' in sea("clean", "doc.jsonl").stderr


def test_every_option_has_a_long_name_and_no_secret_is_one() -> None:
    for name, one in definitions().items():
        for option in one.options:
            long = [spelled for spelled in option.names if spelled.startswith("--")]
            assert long, (name, option.names)
            assert not any(re.search(r"password|secret|api-key|credential|(^|-)token$", word) for word in long)


def test_common_options_are_everywhere() -> None:
    for name, one in definitions().items():
        names = {spelled for option in one.options for spelled in option.names}
        assert {"--config", "--print-config", "--color", "--debug", "--help"} <= names, name
        if "--output" in names:
            assert {"-o", "--force", "--skip-existing", "--depfile"} <= names, name


def test_nothing_asks_the_network(here: Path, shared: Path, sea: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    model = shared / "models/stories260K"
    for argv in (
        ["clean", "in.jsonl", "-o", "c.jsonl"],
        ["mix", "a=c.jsonl:1", "--tokenizer", model, "--budget", "200", "-o", "m.jsonl"],
        ["audit", model, "en=c.jsonl"],
        ["verify", "m.jsonl"],
        ["eval", "tasks"],
        ["plugins"],
    ):
        assert sea(*argv).code == 0
