"""The common flags: what is typed, what a configuration file gives, and how mistakes are told."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from seatools.streams import flags
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.flags import new_app, prints_jsonl, run_app

seen: dict[str, Any] = {}
app = new_app()


@app.command()
def probe(
    sources: Annotated[list[str] | None, typer.Argument(metavar="FILE...")] = None,
    output: flags.Output = None,
    force: flags.Force = False,
    seed: flags.Seed = 0,
    limit: flags.Limit = None,
    workers: flags.Workers = 0,
    lang: Annotated[list[str] | None, typer.Option("--lang")] = None,
    max_steps: Annotated[int, typer.Option("--max-steps")] = 10,
    on_error: flags.OnError = flags.ErrorPolicy.fail,
    config: flags.Config = None,
    verbose: flags.Verbose = 0,
    fail: Annotated[str, typer.Option("--fail", hidden=True)] = "",
) -> int | None:
    """Keep what was parsed."""
    seen.clear()
    seen.update(locals())
    if fail == "exit":
        raise typer.Exit(3)
    if fail:
        raise {"eof": EOFError, "pipe": BrokenPipeError, "interrupt": KeyboardInterrupt, "abort": typer.Abort}[fail]()
    return None


def parse(*argv: str, config: str | None = None) -> dict[str, Any]:
    if config is not None:
        Path("c.toml").write_text(config)
        argv = (*argv, "--config", "c.toml")
    assert run_app(app, "probe", list(argv)) == 0
    return seen


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_common_flags() -> None:
    got = parse(
        "a", "b", "-o", "x", "--force", "--seed", "3", "--limit", "2", "-vv", "--on-error", "skip", "--lang", "th"
    )
    expected = {"sources": ["a", "b"], "output": "x", "force": True, "seed": 3, "limit": 2, "verbose": 2}
    assert {key: got[key] for key in expected} == expected
    assert (got["on_error"], got["lang"]) == ("skip", ["th"])


def test_what_is_typed_wins_over_the_table_over_the_top_level() -> None:
    config = "seed = 1\nlimit = 1\nmax_steps = 1\n[probe]\nseed = 2\nlimit = 2\nforce = true\n[train]\nseed = 9\n"
    got = parse("--seed", "3", config=config)
    assert (got["seed"], got["limit"], got["max_steps"], got["force"]) == (3, 2, 1, True)


def test_keys_may_be_spelled_as_on_the_command_line_or_with_underscores() -> None:
    assert parse(config="max-steps = 5")["max_steps"] == 5
    assert parse(config="max_steps = 5")["max_steps"] == 5
    assert parse(config="on-error = 'skip'")["on_error"] == "skip"


def test_what_takes_many_takes_a_list_or_one_string_whole() -> None:
    got = parse(config="lang = ['th', 'id']\nsources = 'a.jsonl'")
    assert (got["lang"], got["sources"]) == (["th", "id"], ["a.jsonl"])


def test_the_last_config_file_counts_and_none_after_two_dashes() -> None:
    Path("b.toml").write_text("seed = 8")
    assert parse("--config", "none.toml", "--config=b.toml")["seed"] == 8
    assert parse("--", "--config=none.toml")["sources"] == ["--config=none.toml"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("sed = 1", 'c.toml: no option "sed" in `sea probe`\n  fix: did you mean seed?'),
        ("qqq = 1", "fix: sea probe --help lists the options"),
        ("[probe]\nmax_step = 1", "did you mean max-steps?"),
        ("seed = [1]", 'c.toml: "seed" takes one value'),
        ("[probe.seed]\na = 1", 'c.toml: "seed" takes one value'),
        ("probe = 1", '"probe" is not a table'),
        ("seed = 'many'", "'--seed'"),
        ("on-error = 'ignore'", "c.toml: unknown --on-error 'ignore'"),
        ("a b", "c.toml: not TOML: "),
    ],
)
def test_a_wrong_config_is_a_usage_error(config: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(config=config)
    assert message in caught.value.report()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--config", "none.toml"], "error: none.toml: No such file or directory"),
        (["--config"], "error: option '--config' requires an argument"),
        (["--sed", "1"], "error: no such option: --sed"),
        (["--seed", "x"], "error: invalid value for '--seed': "),
        (["--seed", "-1"], "error: invalid value for '--seed': "),
        (["--seed", str(2**64)], "error: invalid value for '--seed': "),
        (["--limit", "0"], "error: invalid value for '--limit': "),
        (["--on-error", "ignore"], "error: unknown --on-error 'ignore'"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error_of_two_lines(argv: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(*argv)
    first, second = caught.value.report().split("\n")
    assert first.startswith(message) and not first.endswith(".")
    fixes = ("  fix: sea probe --help", "  fix: --config names a TOML file", "  fix: one of fail, skip, quarantine")
    assert second in fixes


def test_a_command_may_leave_with_a_code() -> None:
    assert run_app(app, "probe", ["--fail", "exit"]) == 3


@pytest.mark.parametrize(
    ("fail", "error"),
    [("eof", EOFError), ("pipe", BrokenPipeError), ("interrupt", KeyboardInterrupt), ("abort", KeyboardInterrupt)],
)
def test_other_failures_reach_the_front_door(fail: str, error: type[BaseException]) -> None:
    with pytest.raises(error):
        run_app(app, "probe", ["--fail", fail])


def test_help_goes_to_stdout_plain(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(app, "probe", ["-h"]) == 0
    out, err = capsys.readouterr()
    assert "sea probe [OPTIONS] FILE..." in out.replace("[FILE...]", "FILE...") and "--on-error" in out
    assert err == "" and out.isascii()


def test_every_common_flag_is_defined_once() -> None:
    """No command declares for itself what stands here."""
    common = ["--force", "--seed", "--device", "--dtype", "--limit", "--dry-run", "--quiet", "--json", "--config"]
    common += ["--on-error", "--quarantine", "--debug", "--workers", "--verbose"]
    package = Path(flags.__file__).parents[1]
    found = [
        f"{path.name}: {flag}"
        for path in package.rglob("*.py")
        if path != Path(flags.__file__)
        for flag in common
        if f'typer.Option("{flag}"' in path.read_text().replace("\n", "").replace(" ", "")
    ]
    assert found == []


def test_reports_are_jsonl_unless_a_terminal_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    controller, terminal = os.openpty()
    with open(terminal, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert (prints_jsonl(False), prints_jsonl(True)) == (False, True)
    os.close(controller)
    with open(os.devnull, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert prints_jsonl(False)


@pytest.mark.parametrize(
    ("error", "text", "code"),
    [
        (SeaError("broken"), "error: broken", 1),
        (SeaError("bro\nken", where="a.jsonl:3", fix="mend\nit"), "error: a.jsonl:3: bro ken\n  fix: mend it", 1),
        (UsageError("no"), "error: no", 2),
    ],
)
def test_errors_report_what_where_and_how_to_mend(error: SeaError, text: str, code: int) -> None:
    assert (error.report(), error.exit_code) == (text, code)
