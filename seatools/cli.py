"""The front door of `sea`: a static table of commands; each is imported only when it is called.

Standard library only, so that `sea --help` costs what a bare Python costs (measured: 12 ms beside 10 ms; typer
alone adds 50). Here also stands the one place where a failure becomes an exit code: 0 done, 1 failed, 2 usage,
3 a check did not pass, 75 stopped by a signal and saved, 130 interrupted, 141 closed pipe.
"""

from __future__ import annotations

import os
import sys

# name -> (module with `main(argv)`, one line of help)
COMMANDS: dict[str, tuple[str, str]] = {
    "audit": ("seatools.audit.command", "how well a tokenizer serves a language"),
    "vocab-extend": ("seatools.vocab_extend.command", "new tokens for an existing tokenizer"),
    "embed-init": ("seatools.embed_init.command", "rows for the new tokens in an existing checkpoint"),
    "clean": ("seatools.clean.command", "repair, filter and deduplicate documents"),
    "mix": ("seatools.mix.command", "weighted, packed training data from many sources"),
    "train": ("seatools.train.command", "continued pretraining, hybrid, SFT, neuron-only training"),
    "lsn-detect": ("seatools.lsn_detect.command", "find language-specific neurons"),
    "sample": ("seatools.sample.command", "responses from a model"),
    "judge": ("seatools.judge.command", "preferences from a model, asked in both orders"),
    "dpo": ("seatools.dpo.command", "direct preference optimisation"),
    "eval": ("seatools.eval.command", "how good the adapted model is"),
    "verify": ("seatools.verify.command", "whether files are still what their manifests say"),
    "replay": ("seatools.replay.command", "the commands that made a file"),
    "plugins": ("seatools.plugins.command", "what installed packages add to sea"),
}


def usage(width: int | None = None) -> str:
    """The text of `sea --help` for a terminal `width` columns wide (default: this terminal's)."""
    width = max(50, min(width or _columns(), 100))
    named = max(len(name) for name in COMMANDS) + 4
    rows = "\n".join(_filled(f"  {name}".ljust(named), line, width) for name, (_, line) in COMMANDS.items())
    told = "Records are JSONL, tensors are safetensors; `-` is stdin or stdout."
    codes = (
        "Exit codes: 0 done, 1 failed, 2 usage, 3 a check did not pass, 75 stopped by a signal (--resume continues), "
        "130 interrupted, 141 closed pipe."
    )
    return f"""\
{_filled("", "Adapt a pretrained language model to new languages, one small command per step.", width)}

usage: sea COMMAND [ARGUMENTS]
       sea COMMAND --help
       sea help TOPIC          (sea help lists them)

  sea audit BASE th=thai.txt en=english.txt
  sea mix en=en.jsonl:1 th=th.jsonl:3 --tokenizer TOK \\
      --budget 2M | sea train MODEL - -o OUT

commands:
{rows}

{_filled("", f"{told} {codes}", width)}
"""


def _columns() -> int:
    """Of this terminal; `shutil` would cost as much as all of `sea --help`."""
    try:
        return int(os.environ.get("COLUMNS") or os.get_terminal_size().columns)
    except (OSError, ValueError):
        return 80


def _filled(first: str, text: str, width: int) -> str:
    """`text` after `first`, in lines of at most `width`, the others as far in."""
    lines = [first]
    for word in text.split():
        if len(lines[-1]) + 1 + len(word) > width:
            lines.append(" " * len(first))
        lines[-1] += f" {word}" if lines[-1].strip() and lines[-1] != first else word
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Run one command line (without the program's name) and return its exit code; every failure ends here."""
    debug = "--debug" in argv
    try:
        code = _dispatch(argv)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        if debug:
            raise
        sys.stderr.write("interrupted\n")
        return 130
    except BrokenPipeError:
        return 141
    except Exception as error:
        return _report(error, debug)


def _dispatch(argv: list[str]) -> int:
    if argv[:1] == ["help"]:
        return _help(argv[1:])
    if not argv or argv[0] in ("-h", "--help"):
        (sys.stdout if argv else sys.stderr).write(usage())
        return 0 if argv else 2
    if argv[0] in ("-V", "--version"):
        from seatools import __version__

        sys.stdout.write(f"sea {__version__}\n")
        return 0
    if argv[0] not in COMMANDS:
        return _plugin(argv)

    import importlib

    return int(importlib.import_module(COMMANDS[argv[0]][0]).main(argv[1:]) or 0)


def _plugin(argv: list[str]) -> int:
    """A command of an installed package. Metadata is read only here, where nothing of ours has the name."""
    from seatools.streams.plugins import find_plugin

    found = None if argv[0].startswith("-") else find_plugin("sea.commands", argv[0])
    if found is None:
        return _unknown(argv[0])
    plugin, command = found
    run = getattr(command, "main", command)
    if not callable(run):
        raise plugin.failed("cannot be used", f"{plugin.value} is neither a function nor a module with `main`")
    return int(run(argv[1:]) or 0)


def _help(words: list[str]) -> int:
    """`sea help`, `sea help TOPIC`, `sea help COMMAND [PART]`."""
    from seatools.help.topic import overview, topic_text, topics

    if words[:1] in (["-h"], ["--help"], ["help"]):
        words = []
    if words and words[0] in COMMANDS:
        return _dispatch([*words, "--help"])
    if words and words[0] not in topics():
        return _unknown(words[0], list(topics()))
    lines = {name: line for name, (_, line) in COMMANDS.items()}
    sys.stdout.write(topic_text(words[0]) if words else overview(lines))
    return 0


def _unknown(name: str, topics: list[str] | None = None) -> int:
    """No command of that name, or among `topics` too: say so, and which is nearest."""
    import difflib

    known = [*COMMANDS, *(["--version"] if topics is None else topics)]
    if name.startswith("-"):
        known = ["--help", "--version"]
    begun = [other for other in known if other.lstrip("-").startswith(name.lower().replace("_", "-"))]
    close = begun[:1] or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    listed = "`sea --help` lists the commands" if topics is None else "`sea help` lists commands and topics"
    guess = f"did you mean `sea {'' if topics is None else 'help '}{close[0]}`?" if close else listed
    kind = "option" if name.startswith("-") else "command" if topics is None else "command or topic"
    sys.stderr.write(f'error: no {kind} "{name}"\n  fix: {guess}\n')
    return 2


def _report(error: Exception, debug: bool) -> int:
    from seatools.streams.errors import SeaError

    if debug:
        import traceback

        traceback.print_exc()
    if isinstance(error, SeaError):
        sys.stderr.write(error.report() + "\n")
        return error.exit_code
    if isinstance(error, MemoryError):
        sys.stderr.write("error: out of memory\n  fix: smaller batches, fewer --workers, or a larger machine\n")
        return 1
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"error: {place}{error.strerror}\n")
        return 1
    text = str(error).strip().split("\n")[0]
    sys.stderr.write(
        f"error: unexpected {type(error).__name__}: {text[:300]}\n"
        "  fix: this is a defect of sea; please report it with the output of the same command and --debug\n"
    )
    return 1


def _silence_stdout() -> None:
    """Python flushes stdout once more at exit and would complain again; point it at the null device."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    except (OSError, ValueError):
        pass  # a test's stand-in for stdout has no file descriptor, so nothing will be flushed at exit


def run() -> None:
    """The console script: run `sys.argv` and leave the process with the exit code."""
    if sys.stderr is None:  # closed by the shell (2>&-): messages go nowhere
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if sys.stdout is None:
        sys.stderr.write("error: stdout is closed\n  fix: redirect it to /dev/null, or name a file with -o\n")
        sys.exit(1)
    if sys.argv[1:2] and sys.argv[1] in COMMANDS:
        from seatools.streams.interrupts import handle_interrupts

        handle_interrupts()
    code = main(sys.argv[1:])
    if code == 130:
        import signal

        signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to interrupt but Python's own end
    try:
        sys.stdout.flush()
    except OSError:  # what a failed command had left to say, or a closed pipe; the code stands
        _silence_stdout()
    sys.exit(code)
