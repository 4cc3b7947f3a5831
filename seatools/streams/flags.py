"""The flags that mean the same in every command, and how a command line is run.

Each flag is defined here once; `command.py` files use these annotated types. Typer is set up for pipes: no rich
markup in help, no pretty exceptions, no completion installer. `--config FILE.toml` gives defaults: its top level,
and above that its table named after the command; what is typed wins.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Collection, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from seatools.streams.errors import UsageError


class ErrorPolicy(StrEnum):
    """What to do with a bad line of input."""

    fail = "fail"
    skip = "skip"
    quarantine = "quarantine"


Output = Annotated[str | None, typer.Option("--output", "-o", metavar="OUT", help="where to write; - or none: stdout")]
OutputPath = Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="the folder or file to write")]
Force = Annotated[bool, typer.Option("--force", help="replace an existing output")]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="seed of everything random")]
Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda[:i]", help="where the model runs")]
DType = Annotated[str, typer.Option("--dtype", metavar="auto|fp32|bf16|fp16", help="auto: fp32 on CPU, bf16 on CUDA")]
Workers = Annotated[int, typer.Option("--workers", min=0, help="threads; 0: all cores. Never changes the result")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="read at most N records (per source)")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="say what would be done, write nothing")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="warnings and errors only")]
Verbose = Annotated[int, typer.Option("--verbose", "-v", count=True, help="more detail")]
Json = Annotated[bool, typer.Option("--json", help="JSONL on stdout, on a terminal too")]
Config = Annotated[Path | None, typer.Option("--config", metavar="FILE.toml", help="defaults for these options")]
OnError = Annotated[ErrorPolicy, typer.Option("--on-error", help="bad input lines: stop, drop, or drop and keep")]
Quarantine = Annotated[
    str | None,
    typer.Option("--quarantine", metavar="FILE", help="where quarantined lines go [default: OUT.quarantine.jsonl]"),
]
Debug = Annotated[bool, typer.Option("--debug", help="show the traceback of an error")]
Pattern = Annotated[
    str | None,
    typer.Option("--pattern", metavar="NAME|REGEX", help="pre-tokenizer of tiktoken or bare vocab.json files"),
]


def new_app() -> typer.Typer:
    """A typer application set up for pipes."""
    return typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )


def run_app(
    app: typer.Typer,
    name: str,
    argv: list[str],
    *,
    presets: Mapping[str, Mapping[str, Any]] | None = None,
    sections: Collection[str] = (),
) -> int:
    """Run one command's application; returns its exit code. Usage errors print the usage line and give 2.

    `presets`: values of `--preset NAME`, by option; they stand beneath the config file's. `sections`: arrays of tables
    of the config file that the command reads by itself.
    """
    command: Any = typer.main.get_command(app)
    command.name = name
    defaults = _config_defaults(name, argv, command, sections)
    if presets:
        chosen = _typed(argv, "--preset") or defaults.get("preset")
        if chosen is not None and chosen not in presets:
            raise UsageError(f"no preset {chosen!r}", fix=f"one of {', '.join(presets)}")
        by_option = {option.lstrip("-"): item.name for item in command.params for option in item.opts}
        values = presets[chosen] if chosen is not None else {}
        defaults = {by_option[key]: value for key, value in values.items()} | defaults
    try:
        # Not `command.main`: it turns a closed pipe into exit code 1 and an EOFError into an interrupt.
        with command.make_context(f"sea {name}", list(argv), default_map=defaults, obj=tuple(argv)) as context:
            result = command.invoke(context)
    except typer.Exit as error:
        return int(error.exit_code)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except _CLICK_EXCEPTION as error:
        message = error.format_message().rstrip(".")
        raise UsageError(message[:1].lower() + message[1:], fix=f"sea {name} --help") from None
    return int(result) if isinstance(result, int) else 0


# Of whichever click this typer carries (0.26 vendored its own).
_CLICK_EXCEPTION: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def _typed(argv: list[str], option: str) -> str | None:
    """The value that the command line gives to `option`, the last one."""
    found = None
    for position, word in enumerate(argv):
        if word == "--":
            break
        if word == option and position + 1 < len(argv):
            found = argv[position + 1]
        elif word.startswith(f"{option}="):
            found = word.partition("=")[2]
    return found


def read_config(path: str | Path, name: str, keep: Collection[str] = ()) -> dict[str, Any]:
    """The values for command `name` in a config file: its top level, above that its table `[name]`.

    Other tables are other commands', but for those to `keep`.
    """
    try:
        table: dict[str, Any] = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", fix="--config names a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML: {error}", fix="--config names a TOML file") from error
    own = table.pop(name, {})
    if not isinstance(own, dict):
        raise UsageError(f'{path}: "{name}" is not a table', fix=f"[{name}]")
    return {key: value for key, value in table.items() if not isinstance(value, dict) or key in keep} | own


def _config_defaults(name: str, argv: list[str], command: Any, sections: Collection[str]) -> dict[str, Any]:
    """The `--config` file's values by parameter name; unknown keys are refused."""
    path = _typed(argv, "--config")
    if path is None:
        return {}
    table = {key: value for key, value in read_config(path, name).items() if key not in sections}
    known = {option.lstrip("-"): item for item in command.params for option in item.opts}
    defaults: dict[str, Any] = {}
    for key, value in table.items():
        option = known.get(key) or known.get(key.replace("_", "-"))
        if option is None:
            import difflib

            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"sea {name} --help lists the options"
            raise UsageError(f'{path}: no option "{key}" in `sea {name}`', fix=hint)
        takes_many = option.multiple or option.nargs != 1
        if isinstance(value, dict) or (isinstance(value, list) and not takes_many):
            raise UsageError(f'{path}: "{key}" takes one value')
        defaults[option.name] = [value] if takes_many and not isinstance(value, list) else value
    return defaults


def prints_jsonl(json_flag: bool) -> bool:
    """Whether reports go out as JSONL: asked for, or stdout is not a terminal."""
    return json_flag or not sys.stdout.isatty()
