"""Write docs/man/sea.1, sea-CMD.1 and sea-CMD-PART.1 from the commands' own definitions of their flags.

make man            (a test checks that the committed files are what this writes, and that man renders them silently)

Plain man(7) macros, without a date or a version, so that a page changes only when its command does.
"""

from __future__ import annotations

import sys
from pathlib import Path

from seatools.cli import COMMANDS
from seatools.help.definitions import definitions, parts_of
from seatools.help.topic import topics
from seatools.streams.flag_definitions import Definition, Parameter
from seatools.streams.flag_help import spelled

HERE = Path(__file__).resolve().parent / "man"
EXIT_CODES = {
    "0": "Done.",
    "1": "Failed; the message says what, where and how to fix it.",
    "2": "Usage: the command line is wrong.",
    "3": "A check did not pass (--fail-under, --verify, a proof of the result).",
    "75": "Stopped by a signal and saved; --resume continues.",
    "130": "Interrupted.",
    "141": "The reader of the output has closed the pipe.",
}


def page(command: Definition, table: dict[str, Definition]) -> str:
    """The page of one command or part, in man(7) macros."""
    root = command.name.split()[0]
    lines = [_title(command.name), ".SH NAME", rf"sea\-{_dashed(command.name)} \- {_roff(command.summary.rstrip('.'))}"]
    words = command.usage.removeprefix(f"sea {command.name}")
    lines += [".SH SYNOPSIS", rf".B sea {_roff(command.name)}", _roff(words.strip())]
    if command.examples:
        lines += [".SH EXAMPLES", ".nf", *(_roff(example) for example in command.examples), ".fi"]
    if command.details:
        lines.append(".SH DESCRIPTION")
        for number, detail in enumerate(command.details):
            kept = "\n" in detail
            lines += [
                *([".PP"] if number else []),
                *([".nf"] if kept else []),
                *map(_roff, detail.split("\n")),
                *([".fi"] if kept else []),
            ]
    if command.arguments:
        lines += [".SH ARGUMENTS", *(line for item in command.arguments for line in _entry(item.metavar, item.told))]
    lines.append(".SH OPTIONS")
    for heading, options in command.groups().items():
        lines += [f".SS {heading}", *(line for option in options for line in _option(option))]
    lines += [".SH EXIT STATUS", *(line for code, text in EXIT_CODES.items() for line in _entry(code, text))]
    others = [f"{root} {part}" for part in parts_of(root, table)]
    others = ["", *([root] if command.name != root else []), *(name for name in others if name != command.name)]
    lines += [".SH SEE ALSO", ",\n".join(rf".BR {_page_name(name)} (1)" for name in others)]
    return "\n".join(lines) + "\n"


def front_page() -> str:
    """sea.1: the commands and the topics of `sea help`."""
    lines = [
        _title(""), ".SH NAME", r"sea \- adapt a pretrained language model to new languages, a small command per step",
        ".SH SYNOPSIS", ".B sea", r"COMMAND [ARGUMENTS]", ".br", ".B sea help", "COMMAND | TOPIC",
        ".SH DESCRIPTION",
        r"Records are JSONL, tensors are safetensors; \- is stdin or stdout. Data goes to stdout, messages to stderr.",
        "Outputs appear whole or not at all, never replace anything without",
        r".BR \-\-force ,", "and get a OUT.manifest.json.", ".SH COMMANDS",
    ]  # fmt: skip
    for name, (_, text) in COMMANDS.items():
        lines += [".TP", rf".BR {_page_name(name)} (1)", _roff(text)]
    lines.append(".SH TOPICS")
    lines += [line for name, title in topics().items() for line in _entry(f"sea help {name}", title)]
    lines += [".SH EXIT STATUS", *(line for code, text in EXIT_CODES.items() for line in _entry(code, text))]
    return "\n".join(lines) + "\n"


def _option(option: Parameter) -> list[str]:
    return _entry(spelled(option), option.told)


def _entry(left: str, text: str) -> list[str]:
    return [".TP", rf'.B "{_roff(left, quoted=True)}"', _roff(text)]


def _title(name: str) -> str:
    return rf'.TH {_page_name(name).upper()} 1 "" sea "sea manual"'


def _page_name(name: str) -> str:
    return rf"sea\-{_dashed(name)}" if name else "sea"


def _dashed(name: str) -> str:
    return name.replace(" ", "-").replace("-", r"\-")


def _roff(text: str, quoted: bool = False) -> str:
    """Text as roff reads it: a hyphen is a minus, so that options can be copied; no line begins a request."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("^", r"\(ha").replace("~", r"\(ti")
    text = text.replace("`", r"\(ga").replace('"', r"\(dq") if quoted else text.replace("`", r"\(ga")
    return rf"\&{text}" if text.startswith((".", "'")) else text


def generated() -> dict[str, str]:
    """File name -> what it must hold."""
    table = definitions()
    pages = {f"sea-{name.replace(' ', '-')}.1": page(command, table) for name, command in table.items()}
    return {"sea.1": front_page()} | pages


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    written = generated()
    for old in set(HERE.glob("*.1")) - {HERE / name for name in written}:
        old.unlink()
    for name, text in written.items():
        (HERE / name).write_text(text, encoding="utf-8")
        sys.stderr.write(f"{HERE / name}\n")
