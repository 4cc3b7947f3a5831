"""The front door: its table, its help, its exit codes, and what it does not import."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from seatools import __version__, cli
from seatools.help.definitions import definitions
from seatools.help.topic import overview, topic_text, topics
from seatools.streams.errors import CheckFailed, SeaError, UsageError

REPOSITORY = str(Path(__file__).resolve().parents[1])
HEAVY = {"torch", "transformers", "numpy", "tokenizers", "sentencepiece", "safetensors", "sacrebleu", "jinja2"}


# Help


def test_help_lists_every_command_with_its_line(sea: Callable) -> None:
    for argv in (["--help"], ["-h"], ["help"], ["help", "--help"], ["help", "-h"], ["help", "help"]):
        done = sea(*argv)
        assert (done.code, done.stderr) == (0, "")
        lines = done.stdout.decode().splitlines()
        for name, (_, line) in cli.COMMANDS.items():
            assert [entry for entry in lines if entry.split() == [name, *line.split()]] != []


def test_topics(sea: Callable) -> None:
    """Each has a text that fits a terminal, and what it names as a command or option is one."""
    listed = sea("help").stdout.decode()
    for name, title in topics().items():
        assert [entry for entry in listed.splitlines() if entry.split() == [name, *title.split()]] != []
        assert sea("help", name).stdout.decode() == topic_text(name)
        assert max(map(len, topic_text(name, 100).splitlines())) <= 120
        named = re.findall(r"(?:^| )sea ([a-z][a-z-]+)", topic_text(name), re.MULTILINE)
        assert set(named) - {*cli.COMMANDS, "help", "has", "made"} == set()
    done = sea("help", "mixign")
    assert (done.code, done.stderr) == (
        2,
        'error: no command or topic "mixign"\n  fix: did you mean `sea help mixing`?\n',
    )


@pytest.mark.parametrize("width", [60, 80, 100])
def test_help_fits_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal would break longer lines in the middle of words; no word is lost to it."""
    monkeypatch.setenv("COLUMNS", str(width))
    lines = {name: line for name, (_, line) in cli.COMMANDS.items()}
    for text in (cli.usage(), overview(lines), *map(topic_text, topics())):
        assert [line for line in text.splitlines() if len(line) > width and len(line.split()) > 1] == []
        assert "\t" not in text
    for name in topics():
        assert _words(topic_text(name)) == _words(topic_text(name, 100))
    listed = [*lines, *lines.values(), *topics(), *topics().values()]
    assert _words(overview(lines)) == _words(" ".join([*listed, OVERVIEW]))


OVERVIEW = "sea help COMMAND (the same as sea COMMAND --help) sea help TOPIC"


def _words(text: str) -> list[str]:
    return sorted(word for word in text.split() if word not in ("#", "\\"))


def test_commands_of_topics_run_as_they_are_broken() -> None:
    """Narrow terminals get backslashes and comments, never a command that is cut."""
    text = topic_text("evaluation", 60)
    assert "  # bits per byte\n  sea eval MODEL perplexity --data th=flores_th.txt \\\n      --data en=" in text
    assert subprocess.run(["bash", "-n", "-c", topic_text("pipes", 60).split("\n\n")[2]]).returncode == 0


def test_options_that_topics_name_exist() -> None:
    known = {name for command in definitions().values() for option in command.options for name in option.names}
    for name in topics():
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*[a-z0-9]", topic_text(name))) - known == set(), name


def test_without_a_command_the_help_is_an_error(sea: Callable) -> None:
    done = sea()
    assert (done.code, done.stdout) == (2, b"")
    assert done.stderr == cli.usage()


def test_version(sea: Callable) -> None:
    for flag in ("--version", "-V"):
        assert sea(flag).stdout == f"sea {__version__}\n".encode()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("trian", 'error: no command "trian"\n  fix: did you mean `sea train`?\n'),
        ("vocab", 'error: no command "vocab"\n  fix: did you mean `sea vocab-extend`?\n'),
        ("xyzzy", 'error: no command "xyzzy"\n  fix: `sea --help` lists the commands\n'),
        ("--verison", 'error: no option "--verison"\n  fix: did you mean `sea --version`?\n'),
        ("--xyz", 'error: no option "--xyz"\n  fix: `sea --help` lists the commands\n'),
        ("version", 'error: no command "version"\n  fix: did you mean `sea --version`?\n'),
        ("lsn", 'error: no command "lsn"\n  fix: did you mean `sea lsn-detect`?\n'),
        ("embed_init", 'error: no command "embed_init"\n  fix: did you mean `sea embed-init`?\n'),
    ],
)
def test_a_wrong_command_brings_the_nearest(sea: Callable, word: str, message: str) -> None:
    done = sea(word, "--help")
    assert (done.code, done.stdout, done.stderr) == (2, b"", message)


# Failures become exit codes


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a command `fake` into the table whose main raises or returns what is given."""

    def put(outcome: object) -> None:
        def main(argv: list[str]) -> object:
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome(argv) if callable(outcome) else outcome

        module = types.ModuleType("fake_command")
        module.main = main  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "fake_command", module)
        monkeypatch.setitem(cli.COMMANDS, "fake", ("fake_command", "for tests"))

    return put


UNEXPECTED = (
    "error: unexpected ValueError: two\n"
    "  fix: this is a defect of sea; please report it with the output of the same command and --debug\n"
)


@pytest.mark.parametrize(
    ("outcome", "code", "stderr"),
    [
        (0, 0, ""),
        (None, 0, ""),
        (3, 3, ""),
        (SeaError("cut", where="a.jsonl:2", fix="mend it"), 1, "error: a.jsonl:2: cut\n  fix: mend it\n"),
        (UsageError("wrong"), 2, "error: wrong\n"),
        (CheckFailed("too many"), 3, "error: too many\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (BrokenPipeError(), 141, ""),
        (PermissionError(13, "Permission denied", "out"), 1, "error: out: Permission denied\n"),
        (OSError(28, "No space left on device"), 1, "error: No space left on device\n"),
        (MemoryError(), 1, "error: out of memory\n  fix: smaller batches, fewer --workers, or a larger machine\n"),
        (ValueError("two\nlines"), 1, UNEXPECTED),
    ],
)
def test_exit_codes_and_messages(sea: Callable, fake: Callable, outcome: object, code: int, stderr: str) -> None:
    fake(outcome)
    done = sea("fake")
    assert (done.code, done.stdout, done.stderr) == (code, b"", stderr)


def test_debug_shows_the_traceback(sea: Callable, fake: Callable) -> None:
    fake(ValueError("two"))
    done = sea("fake", "--debug")
    assert done.code == 1
    assert done.stderr.startswith("Traceback (most recent call last):")
    assert done.stderr.endswith(UNEXPECTED)


def test_a_command_gets_its_arguments(sea: Callable, fake: Callable) -> None:
    fake(lambda argv: sys.stdout.write(json.dumps(argv)) and 0)
    assert sea("fake", "a", "-o", "b").stdout == b'["a", "-o", "b"]'
    assert sea("help", "fake").stdout == b'["--help"]'


# As a process

FAKE = """
import itertools, os, sys, time
from seatools import cli
from seatools.streams.flags import new_app, run_app
from seatools.streams.outputs import open_output
app = new_app()

@app.command()
def fake(what: str) -> None:
    if what == "endless":
        with open_output(None) as stream:
            for number in itertools.count():
                stream.write(b'{"n":%d}\\n' % number)
    elif what == "print":
        for number in itertools.count():
            print(number)
    elif what == "one":
        print("zero")
        with open_output(None) as stream:
            stream.write(b"one\\n")
    elif what == "sleep":
        with open_output("out") as stream:
            stream.write(b"half" * 100_000)
            stream.flush()
            print("ready", flush=True)
            time.sleep(20)

def main(argv):
    return run_app(app, "fake", argv)

if __name__ == "__main__":
    cli.COMMANDS["fake"] = ("fake_command", "for tests")
    cli.run()
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A shell command that is `sea` with a command `fake` added; the folder is empty but for it."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "fake_command.py").write_text(FAKE)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("PYTHONPATH", REPOSITORY)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    return f"{sys.executable} {tmp_path}/bin/fake_command.py"


def shell(script: str) -> tuple[str, str]:
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=20)
    return done.stdout, done.stderr


@pytest.mark.parametrize("unbuffered", ["", "PYTHONUNBUFFERED=1"])
def test_a_closed_pipe_ends_quietly(program: str, unbuffered: str) -> None:
    out, err = shell(
        f"{unbuffered} {program} fake endless | head -1; echo ${{PIPESTATUS[0]}}\n"
        f"{unbuffered} {program} fake print | head -1; echo ${{PIPESTATUS[0]}}\n"
        f"(sleep 0.3; {unbuffered} {program} fake one; echo $? >&2) | true\n"
        f"(sleep 0.3; {unbuffered} {program} --help; echo $? >&2) | true\n"
    )
    assert out == '{"n":0}\n141\n0\n141\n'
    assert err == "141\n141\n"


def test_a_full_disk_under_stdout_is_one_message(program: str) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    for argv in ("fake one", "--help"):
        assert shell(f"{program} {argv} > /dev/full; echo $?") == ("1\n", "error: No space left on device\n")


def test_closed_standard_streams(program: str) -> None:
    out, err = shell(f"{program} fake one >&-; echo $?; {program} nonsense 2>&-; echo $?; {program} fake one 2>&- <&-")
    assert out == "1\n2\nzero\none\n"
    assert err.startswith("error: stdout is closed\n") and "Traceback" not in err


def test_ctrl_c_leaves_no_partial_file(program: str) -> None:
    process = subprocess.Popen(
        [*program.split(), "fake", "sleep"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # Tests that run in the background of a script inherit SIGINT as ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    assert os.listdir() != []  # the temporary sibling
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert (process.returncode, err, os.listdir()) == (130, "interrupted\n", [])


def test_python_m_seatools_is_sea(program: str) -> None:
    assert shell(f"{sys.executable} -m seatools --version; echo $?") == (f"sea {__version__}\n0\n", "")


# What is imported

LOADED = """
import sys
before = set(sys.modules)
from seatools import cli
code = cli.main(sys.argv[1:])
print(code, *sorted({name.partition(".")[0] for name in set(sys.modules) - before}), file=sys.stderr)
"""


def loaded(*argv: str) -> tuple[str, str, set[str]]:
    """(stdout, exit code, top-level packages imported) of one command line."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *argv],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": REPOSITORY},
    )
    code, *packages = done.stderr.splitlines()[-1].split()
    return done.stdout, code, set(packages)


def test_the_front_door_imports_the_standard_library_only() -> None:
    for argv in (["--help"], ["--version"], ["trian"], ["help"], ["help", "formats"], ["help", "xyzzy"]):
        packages = loaded(*argv)[2]
        assert packages - set(sys.stdlib_module_names) == {"seatools"}


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_help_of_every_command(name: str) -> None:
    """It exits 0, shows examples of its own, takes the flags that all take, and imports nothing heavy."""
    out, code, packages = loaded(name, "--help")
    assert code == "0"
    assert f"sea {name} " in out and "examples:" in out.lower()
    assert [flag for flag in ("--quiet", "--debug", "--config", "--help") if flag not in out] == []
    assert packages & HEAVY == set()


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_wrong_option_of_every_command_is_told_in_at_most_three_lines(sea: Callable, name: str) -> None:
    done = sea(name, "--no-such-option")
    assert (done.code, done.stdout) == (2, b"")
    assert done.stderr.startswith("error: no such option: --no-such-option") and done.stderr.count("\n") <= 3
