"""The flags that mean the same in every command, and how a command line is run.

Each flag is defined here once; `command.py` files use these annotated types. Typer is set up for pipes: no rich
markup in help, no pretty exceptions, no completion installer. What is not typed may come from the environment and
from configuration files (`streams/configuration.py`). `--color`, `--print-config`, `--config` where
it is missing and, for what writes OUT, `--skip-existing` and `--depfile` are in no command's signature: `run_app` adds
them.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from seatools.streams.colour import ColorChoice, colour
from seatools.streams.command_line import Setting, running
from seatools.streams.configuration import Given, configured, read_config
from seatools.streams.errors import UsageError
from seatools.streams.flag_choices import choices_of
from seatools.streams.print_config import Resolved, as_json, as_toml

__all__ = ["read_config"]


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
Color = Annotated[ColorChoice, typer.Option("--color", help="colours: on a terminal, always, never")]
PrintConfig = Annotated[bool, typer.Option("--print-config", help="print all options, and whence each is; do no more")]
SkipExisting = Annotated[bool, typer.Option("--skip-existing", help="do nothing if OUT and its manifest are there")]
Depfile = Annotated[
    Path | None, typer.Option("--depfile", metavar="FILE.d", help="a Make rule of OUT and what it was made from")
]
Debug = Annotated[bool, typer.Option("--debug", help="show the traceback of an error")]
Pattern = Annotated[
    str | None,
    typer.Option(
        "--pattern",
        metavar="gpt2|r50k_base|p50k_base|cl100k_base|o200k_base|REGEX",
        help="pre-tokenizer of tiktoken or bare vocab.json files",
    ),
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

    `presets`: values of `--preset NAME`, by option; they stand beneath configuration. `sections`: arrays of tables
    of the config file that the command reads by itself.
    """
    if argv[:1] in (["-h"], ["--help"]):  # without making typer's objects, which costs more than all the rest
        sys.stdout.write(_help(app, name))
        return 0
    command: Any = typer.main.get_command(app)
    command.name = name
    command.get_help = lambda context: _help(app, name).rstrip("\n")
    own = {item.name for item in command.params}
    place = next((item.name for item in command.params if "--output" in item.opts), None)
    unfit = own if place is not None else own | {"skip_existing", "depfile"}
    added = [item for item in _everywhere() if item.name not in unfit]
    command.params += added
    words = argv[: argv.index("--")] if "--" in argv else argv
    printing = "--print-config" in words
    json = printing and "--json" in words
    if printing:
        argv = _made_optional(command, argv)
    given = configured(name, command.params, _typed(argv, "--config"), sections=sections, parts=_parts(app))
    if presets:
        given = _preset(argv, given, presets, command.params) | given
    defaults = {key: one.value for key, one in given.items()}
    try:
        # Not `command.main`: it turns a closed pipe into exit code 1 and an EOFError into an interrupt.
        with command.make_context(f"sea {name}", list(argv), default_map=defaults, obj=tuple(argv)) as context:
            _check_choices(command.params, context, given)
            if printing:
                options = [
                    _resolved(item, context, given)
                    for item in command.params
                    if item.name not in ("help", "print_config")
                ]
                sys.stdout.write(as_json(name, options) if json else as_toml(name, options))
                return 0
            settings = _settings(command.params, context, given)
            more = {item.name: context.params.pop(item.name) for item in added}
            output = None if place is None else context.params[place]
            if more.get("skip_existing") and _complete(output):
                return 0
            if more.get("depfile") is not None and _is_stdout(output):
                raise UsageError("--depfile is of a file or folder", fix="-o OUT")
            with running([*name.split(), *argv], settings), colour(getattr(more["color"], "value", more["color"])):
                result = command.invoke(context)
            if more.get("depfile") is not None and not result and not context.params.get("dry_run"):
                _write_depfile(more["depfile"], output)
    except typer.Exit as error:
        return int(error.exit_code)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except _CLICK_EXCEPTION as error:
        message = error.format_message().rstrip(".")
        where = _origin(getattr(error, "param", None), getattr(error, "ctx", None), given)
        if wrong := _NOT_ONE_OF.fullmatch(message):
            raise _unknown(wrong[1], wrong[2], wrong[3].replace("'", "").split(", "), where) from None
        raise UsageError(message[:1].lower() + message[1:], where=where, fix=f"sea {name} --help") from None
    return int(result) if isinstance(result, int) else 0


def _everywhere() -> list[Any]:
    """The options that every command has without declaring them, made as typer of any version makes them."""
    app = new_app()

    @app.command()
    def shared(
        color: Color = ColorChoice.auto,
        print_config: PrintConfig = False,
        config: Config = None,
        skip_existing: SkipExisting = False,
        depfile: Depfile = None,
    ) -> None: ...

    return [item for item in typer.main.get_command(app).params if item.name != "help"]  # type: ignore[attr-defined]


def _is_stdout(output: Any) -> bool:
    return output is None or str(output) == "-"


def _complete(output: Any) -> bool:
    """Whether --skip-existing has nothing left to do; it says so."""
    from seatools.streams.depfile import is_complete

    if _is_stdout(output):
        raise UsageError("--skip-existing is of a file or folder", fix="-o OUT")
    if is_complete(output):
        sys.stderr.write(f"{output} is complete, and is left as it is\n")
        return True
    return False


def _write_depfile(path: Path, output: Any) -> None:
    """By one process of several."""
    from seatools.streams.depfile import write_depfile

    if os.environ.get("RANK", "0") == "0":
        write_depfile(path, output)


def _made_optional(command: Any, argv: list[str]) -> list[str]:
    """For --print-config: nothing is required, and --json is taken by commands that have none; returns the words."""
    for item in command.params:
        item.required = False
    if any("--json" in item.opts for item in command.params):
        return argv
    return [word for word in argv if word != "--json"]


def _parts(app: typer.Typer) -> Collection[str]:
    """The names of the command's subcommands: SUBCOMMANDS of its module, by convention."""
    callback = app.registered_commands[0].callback
    return getattr(sys.modules.get(getattr(callback, "__module__", "")), "SUBCOMMANDS", ())


def _preset(
    argv: list[str], given: Mapping[str, Given], presets: Mapping[str, Mapping[str, Any]], params: list[Any]
) -> dict[str, Given]:
    chosen = _typed(argv, "--preset") or (given["preset"].value if "preset" in given else None)
    if chosen is None:
        return {}
    if chosen not in presets:
        typed = _typed(argv, "--preset") is not None
        raise _unknown("--preset", chosen, tuple(presets), None if typed else given["preset"].source)
    by_option = {option.lstrip("-"): item.name for item in params for option in item.opts}
    return {by_option[key]: Given(value, f"--preset {chosen}") for key, value in presets[chosen].items()}


def _is_default(item: Any, context: Any) -> bool:
    return str(context.get_parameter_source(item.name)).endswith("DEFAULT_MAP")


def _resolved(item: Any, context: Any, given: Mapping[str, Given]) -> Resolved:
    """What an option is, and whence."""
    value = context.params.get(item.name)
    source = "default"
    if str(context.get_parameter_source(item.name)).endswith("COMMANDLINE"):
        source = "command line"
    elif item.name in given and _is_default(item, context):
        source = given[item.name].source
    return Resolved(_key(item), value, source)


def _key(item: Any) -> str:
    """The name of an option in a configuration file."""
    return str(max(item.opts, key=len)).lstrip("-")


def _settings(params: list[Any], context: Any, given: Mapping[str, Given]) -> list[Setting]:
    """What configuration gave, as the words that would have said it; presets are found again by their name."""
    found = []
    for item in params:
        one = given.get(item.name)
        if one is None or not _is_default(item, context) or one.source.startswith("--preset "):
            continue
        name = max(item.opts, key=len)
        values = one.value if isinstance(one.value, list) else [one.value]
        if not name.startswith("-"):
            words = [str(value) for value in values]
        elif getattr(item, "count", False):
            words = [name] * int(context.params[item.name])
        elif getattr(item, "is_flag", False):
            spelled = item.opts if context.params.get(item.name) else item.secondary_opts
            words = [max(spelled, key=len)] if spelled else []
        else:
            words = [word for value in values for word in (name, str(value))]
        found.append(Setting(name, one.source, tuple(words)))
    return found


# Of typer's choices; what is before "is not" differs from version to version.
_NOT_ONE_OF = re.compile(r"Invalid value for '?([^':]+?)'?: (?:Value error, )?'(.*)' is not one of (.*)", re.DOTALL)


def _check_choices(params: list[Any], context: Any, given: Mapping[str, Given]) -> None:
    """Raises UsageError for a value that its option's metavar (`fp32|bf16`) does not allow."""
    for item in params:
        value = context.params.get(item.name)
        if not item.metavar or not isinstance(value, str | list | tuple) or isinstance(value, StrEnum):
            continue
        choices = choices_of(item.metavar)
        for one in [value] if isinstance(value, str) else value:
            if isinstance(one, str) and (wrong := choices.refused(one)) is not None:
                name = max(item.opts, key=len)
                raise _unknown(name, wrong, choices.alternatives, _origin(item, context, given), choices.several)


def _unknown(name: str, value: str, known: Sequence[str], where: str | None, several: bool = False) -> UsageError:
    fix = f"{'some' if several else 'one'} of {', '.join(known)}" if len(known) > 1 else known[0]
    return UsageError(f"unknown {name} {value!r}", where=where, fix=fix)


def _origin(item: Any, context: Any, given: Mapping[str, Given]) -> str | None:
    """The file or variable that a refused value came from; None if it was typed."""
    if item is None or context is None or item.name not in given or not _is_default(item, context):
        return None
    return given[item.name].source


def _help(app: typer.Typer, name: str) -> str:
    """The text of `sea NAME --help`."""
    from seatools.streams.flag_definitions import define
    from seatools.streams.flag_help import help_text

    callback = app.registered_commands[0].callback
    assert callback is not None
    return help_text(define(name, callback))


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


def prints_jsonl(json_flag: bool) -> bool:
    """Whether reports go out as JSONL: asked for, or stdout is not a terminal."""
    return json_flag or not sys.stdout.isatty()
