"""Where options come from when they are not typed, which of the places wins, and what is refused in them."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from seatools.streams import flags
from seatools.streams.command_line import current
from seatools.streams.configuration import user_file
from seatools.streams.errors import UsageError
from seatools.streams.flags import new_app, run_app

seen: dict[str, Any] = {}
app = new_app()
SUBCOMMANDS = {"part": "not.imported"}


@app.command()
def train(
    model: Annotated[str, typer.Argument()],
    data: Annotated[list[str] | None, typer.Argument()] = None,
    lr: Annotated[float, typer.Option("--lr")] = 1.0,
    chat: Annotated[bool, typer.Option("--chat/--no-chat")] = True,
    lang: Annotated[list[str] | None, typer.Option("--lang")] = None,
    preset: Annotated[str | None, typer.Option("--preset")] = None,
    seed: flags.Seed = 0,
    force: flags.Force = False,
    on_error: flags.OnError = flags.ErrorPolicy.fail,
    verbose: flags.Verbose = 0,
    config: flags.Config = None,
) -> None:
    """Keep what was parsed."""
    seen.clear()
    seen.update(locals(), line=current(), colours={key: os.environ.get(key) for key in ("NO_COLOR", "FORCE_COLOR")})


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    for name in [name for name in os.environ if name.startswith("SEA_")]:
        monkeypatch.delenv(name)
    (tmp_path / "user" / "sea").mkdir(parents=True)
    return tmp_path


def parse(*argv: str, name: str = "train") -> dict[str, Any]:
    presets = {"paper": {"lr": 0.5, "seed": 9}}
    assert run_app(app, name, list(argv), presets=presets, sections=("stage",)) == 0
    return seen


def write(user: str = "", project: str = "", config: str = "") -> None:
    Path("user/sea/config.toml").write_text(user)
    Path("sea.toml").write_text(project)
    Path("c.toml").write_text(config)


def test_the_order_of_the_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each place alone over those beneath it: typed, environment, --config, sea.toml, the user's, --preset, default."""
    assert parse("m")["seed"] == 0
    assert parse("m", "--preset", "paper")["seed"] == 9
    write(user="seed = 1")
    assert parse("m", "--preset", "paper")["seed"] == 1
    write(user="seed = 1", project="seed = 2")
    assert parse("m")["seed"] == 2
    write(user="[train]\nseed = 1", project="seed = 2")  # the nearer file, whatever table it says it in
    assert parse("m")["seed"] == 2
    write(user="seed = 1", project="seed = 2\n[train]\nseed = 3")
    assert parse("m")["seed"] == 3
    write(user="seed = 1", project="[train]\nseed = 3", config="seed = 4")
    assert parse("m", "--config", "c.toml")["seed"] == 4
    monkeypatch.setenv("SEA_SEED", "5")
    assert parse("m", "--config", "c.toml")["seed"] == 5
    monkeypatch.setenv("SEA_TRAIN_SEED", "6")
    assert parse("m", "--config", "c.toml")["seed"] == 6
    assert parse("m", "--config", "c.toml", "--seed", "7")["seed"] == 7


def test_variables_hold_switches_lists_and_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"FORCE": "yes", "CHAT": "0", "LANG": "th, lo", "ON_ERROR": "skip", "VERBOSE": "2", "LR": ""}
    for name, text in values.items():
        monkeypatch.setenv(f"SEA_TRAIN_{name}", text)
    got = parse("m")
    assert (got["force"], got["chat"], got["lang"], got["on_error"]) == (True, False, ["th", "lo"], "skip")
    assert (got["verbose"], got["lr"]) == (2, 1.0)  # an empty variable is none
    monkeypatch.setenv("SEA_TRAIN_LANG", '["a,b", "c"]')
    assert parse("m")["lang"] == ["a,b", "c"]


def test_variables_of_others_are_no_concern_and_unknown_ones_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("SEA_SHARED", "SEA_MIX_BUDGET", "SEA_LOAD_PLUGINS", "SEA_TRAIN_PART_SCALE", "SEA_DEVICE"):
        monkeypatch.setenv(name, "x")
    parse("m")
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("SEA_TRAIN_LANGS", "th")
    parse("m")
    assert capsys.readouterr().err == (
        "warning: SEA_TRAIN_LANGS is set, but sea train has no such option (did you mean SEA_TRAIN_LANG?)\n"
    )


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("SEED", "many", "error: SEA_TRAIN_SEED: invalid value for '--seed'"),
        ("FORCE", "perhaps", "error: SEA_TRAIN_FORCE: invalid value for '--force'"),
        ("ON_ERROR", "ignore", "error: SEA_TRAIN_ON_ERROR: unknown --on-error 'ignore'"),
        ("LANG", "[th", "error: SEA_TRAIN_LANG: not a list"),
        ("LANG", "[" * 100_000, "error: SEA_TRAIN_LANG: not a list: nested too deeply"),
        ("LANG", r'["\u0000"]', "error: SEA_TRAIN_LANG: 'lang' holds a NUL character"),
        ("LANG", "[[1]]", "error: SEA_TRAIN_LANG: not a list of plain values"),
        ("PRESET", "none", "error: SEA_TRAIN_PRESET: unknown --preset 'none'"),
    ],
)
def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str, text: str, message: str) -> None:
    monkeypatch.setenv(f"SEA_TRAIN_{name}", text)
    with pytest.raises(UsageError) as caught:
        parse("m")
    assert caught.value.report().startswith(message)


@pytest.mark.parametrize(
    ("project", "message"),
    [
        ("sed = 1", 'sea.toml: no option "sed" for all commands\n  fix: did you mean seed?'),
        ("lr = 1", "options of one command go into its table, as [train] lr = ..."),
        ("[trian]\nlr = 1", 'sea.toml: no command "trian"\n  fix: did you mean train?'),
        ("[train]\nlang_ = 1", 'sea.toml: no option "lang_" in `sea train`\n  fix: did you mean lang?'),
        ("[train]\nseed = 'x'", "sea.toml: invalid value for '--seed'"),
        ("[train]\nconfig = 'c.toml'", 'no option "config"'),
        ("[train]\nstage = []", '"stage" is read from a --config file only'),
        ("train = 1", 'no option "train" for all commands'),
        ("[[train]]\nlr = 1", 'no option "train" for all commands'),
        ("a b", "sea.toml: not TOML: "),
        ('[train]\nlang = "a\\u0000"', "sea.toml: 'lang' holds a NUL character"),
    ],
)
def test_a_wrong_project_file_is_a_usage_error(project: str, message: str) -> None:
    write(project=project)
    with pytest.raises(UsageError) as caught:
        parse("m")
    assert message in caught.value.report() and caught.value.report().count("\n") <= 1


def test_tables_of_other_commands_and_of_parts_are_theirs() -> None:
    write(project="[mix]\nbudget = '1k'\n[train]\nlr = 2.0\n[train.part]\nscale = 1\n")
    assert parse("m")["lr"] == 2.0
    write(project="[train.part]\nlr = 3.0\n")
    assert (parse("m")["lr"], parse("m", name="train part")["lr"]) == (1.0, 3.0)
    write(project="['train part']\nlr = 4.0\n")
    assert parse("m", name="train part")["lr"] == 4.0


def test_only_the_working_folder_is_looked_at(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project="seed = 2")
    (here / "below").mkdir()
    monkeypatch.chdir(here / "below")
    assert parse("m")["seed"] == 0


def test_print_config_says_whence_and_does_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(user="[train]\non-error = 'skip'", project="seed = 2")
    monkeypatch.setenv("SEA_TRAIN_LANG", "th,lo")
    seen.clear()
    argv = ["--print-config", "--preset", "paper", "--chat"]
    assert run_app(app, "train", argv, presets={"paper": {"lr": 0.5}}) == 0  # MODEL is required, and not here
    text = capsys.readouterr().out
    lines = {line.split(" = ")[0]: line.rpartition("# ")[2] for line in text.splitlines()[1:]}
    assert (lines["seed"], lines["lr"], lines["lang"]) == ("sea.toml", "--preset paper", "SEA_TRAIN_LANG")
    assert (lines["chat"], lines["force"]) == ("command line", "default")
    assert any(line.startswith("# model =") and line.endswith("# default") for line in text.splitlines())
    assert lines["on-error"] == user_file()[1]
    assert tomllib.loads(text)["train"]["lang"] == ["th", "lo"] and seen == {}
    assert run_app(app, "train", [*argv, "--json"], presets={"paper": {"lr": 0.5}}) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["command"] == "train" and table["options"]["seed"] == {"value": 2, "source": "sea.toml"}


def test_what_print_config_prints_is_read_by_config(capsys: pytest.CaptureFixture[str]) -> None:
    write(project="[train]\nlr = 1e-5\nlang = ['a\"b', \"ไทย\\n\"]\nforce = true\nmodel = 'm \\ x'\n")
    run_app(app, "train", ["--print-config"])
    first = capsys.readouterr().out
    write(config=first)
    run_app(app, "train", ["--config", "c.toml", "--print-config"])
    second = capsys.readouterr().out
    one, two = tomllib.loads(first)["train"], tomllib.loads(second)["train"]
    assert one == two and one["lr"] == 1e-5 and one["lang"] == ['a"b', "ไทย\n"] and one["model"] == "m \\ x"


def test_settings_are_the_words_that_would_have_been_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    write(project="[train]\nchat = false\nlang = ['th', 'lo']\nverbose = 2\nlr = 3.0\ndata = ['x', 'y']")
    monkeypatch.setenv("SEA_TRAIN_FORCE", "1")
    monkeypatch.setenv("SEA_SEED", "3")
    line = parse("m", "--lr", "2.0", "--preset", "paper")["line"]
    assert line.argv == ("train", "m", "--lr", "2.0", "--preset", "paper")
    words = {setting.option: (setting.source, setting.words) for setting in line.settings}
    assert words == {
        "data": ("sea.toml", ("x", "y")),
        "--chat": ("sea.toml", ("--no-chat",)),
        "--lang": ("sea.toml", ("--lang", "th", "--lang", "lo")),
        "--verbose": ("sea.toml", ("--verbose", "--verbose")),
        "--force": ("SEA_TRAIN_FORCE", ("--force",)),
        "--seed": ("SEA_SEED", ("--seed", "3")),
    }


def test_colour_is_for_the_time_of_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert parse("m", "--color", "always")["colours"] == {"NO_COLOR": None, "FORCE_COLOR": "1"}
    assert parse("m")["colours"] == {"NO_COLOR": "1", "FORCE_COLOR": None}
    assert os.environ["NO_COLOR"] == "1" and "FORCE_COLOR" not in os.environ
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("SEA_COLOR", "never")
    assert parse("m")["colours"] == {"NO_COLOR": "1", "FORCE_COLOR": None}
    with pytest.raises(UsageError, match="--color"):
        parse("m", "--color", "blue")
