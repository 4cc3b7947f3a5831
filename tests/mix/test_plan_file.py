"""`--plan FILE.toml`: what it may say, and that what is typed wins."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest

from seatools.mix.phases import Phase
from seatools.mix.plan_file import read_plan_file
from seatools.mix.requests import mix_options
from seatools.streams.errors import UsageError
from seatools.streams.source_specs import SourceSpec

WHOLE = """
unit = "bytes"
budget = "1.5K"
max_epochs = 3
on_exhaust = "renormalize"
shuffle = "none"
seed = 7

[[source]]
name = "th"
files = "th/*.jsonl"
weight = 0.1
max_epochs = 2
lang = "th"

[[source]]
name = "en"
files = "@list.txt"

[[phase]]
name = "main"
share = 0.9
[[phase]]
share = 0.1
weights = { th = 2, en = 0 }
max_epochs = { th = 8 }
"""
FLAGS = {
    "unit": "tokens", "temperature": None, "unimax": False, "budget": None, "max_epochs": None,
    "on_exhaust": "stop", "shuffle": "global", "seed": 0,
}  # fmt: skip


@pytest.fixture
def plan(tmp_path):
    def write(text):
        (tmp_path / "mix.toml").write_text(text)
        return str(tmp_path / "mix.toml")

    return write


def test_all_that_a_file_may_say(plan):
    found = read_plan_file(plan(WHOLE))
    assert found.sources == [
        SourceSpec(name="th", glob="th/*.jsonl", weight=Fraction(1, 10), max_epochs=2, lang="th"),
        SourceSpec(name="en", glob="@list.txt"),
    ]
    assert found.phases == [
        Phase(name="main", share=Fraction(9, 10)),
        Phase(
            name="2", share=Fraction(1, 10), weights={"th": Fraction(2), "en": Fraction(0)}, max_epochs={"th": 8}
        ),
    ]  # fmt: skip
    assert found.settings == {
        "unit": "bytes", "budget": 1500, "max_epochs": 3, "on_exhaust": "renormalize", "shuffle": "none", "seed": 7,
    }  # fmt: skip


def test_what_is_typed_wins(plan):
    typed = {"seed": 1, "unit": "docs", "budget": "2K"}
    options = mix_options(["th=other.jsonl:5", "vi=vi.jsonl"], plan(WHOLE), FLAGS | typed, set(typed))
    assert (options.seed, options.unit, options.budget) == (1, "docs", 2000)
    assert (options.max_epochs, options.on_exhaust, options.shuffle) == (3, "renormalize", "none")
    th, en, vi = options.sources
    assert (th.glob, th.weight, th.max_epochs, th.lang) == ("other.jsonl", 5, 2, "th")
    assert (en.glob, vi.name) == ("@list.txt", "vi")


def test_typed_unimax_goes_before_the_temperature_of_the_file(plan):
    path = plan('temperature = 2.5\nbudget = 9\n[[source]]\nname = "a"\nfiles = "a"')
    assert mix_options([], path, FLAGS, set()).temperature == 2.5
    options = mix_options([], path, FLAGS | {"unimax": True}, {"unimax"})
    assert (options.temperature, options.unimax) == (None, True)


SOURCE = '[[source]]\nname = "a"\nfiles = "a.jsonl"\n'


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        ("unit = ", "not TOML", "--plan names"),
        ("units = 3", 'no key "units"', "did you mean unit?"),
        ("sources = 3", 'no key "sources"', "did you mean source?"),
        ("zzz = 3", 'no key "zzz"', "known: unit, budget"),
        ('unit = "lines"', "`unit` is not one of tokens, loss-tokens, bytes, docs", None),
        ("source = 3", "`source` is not a list of tables", "[[source]]"),
        ("max_epochs = 0", "`max_epochs` is not a whole number of at least 1", None),
        ("max_epochs = true", "`max_epochs` is not a whole number", None),
        ('budget = "lots"', '`budget`: "lots" is not a size', "1500"),
        ("unimax = 1", "`unimax` is not true or false", None),
        ('[[source]]\nfiles = "a"', "source 1 has no `name`", "name ="),
        ('[[source]]\nname = "a"', "source 1 has no `files`", "files ="),
        (SOURCE + "wieght = 3", 'source 1: no key "wieght"', "did you mean weight?"),
        (SOURCE + "weight = nan", "`weight` is not a number of at least 0", None),
        (SOURCE + "weight = inf", "`weight` is not a number of at least 0", None),
        (SOURCE + "weight = -1", "`weight` is not a number of at least 0", None),
        (SOURCE + 'weight = "3"', "`weight` is not a number of at least 0", None),
        (SOURCE + "[[phase]]\nshare = 1\nweights = 3", "phase 1: `weights` is not a table of weights", None),
        (SOURCE + "[[phase]]\nshare = 1\nweight = {a = 3}", 'phase 1: no key "weight"', "did you mean weights?"),
        (SOURCE + "[[phase]]\nweights = {a = 3}", "phase 1 needs a share of the budget or a budget", "share ="),
        (SOURCE + "[[phase]]\nbudget = 9\nweights = {b = 3}", "phase 1 names source b, which the mix does not", "a"),
        (SOURCE + "[[phase]]\nbudget = 9\nmax_epochs = {b = 3}", "phase 1 names source b", "a"),
        (SOURCE + "[[phase]]\nbudget = 9\nweights = {a = 0}", "phase 1: all weights are 0", "greater than 0"),
        (SOURCE + "weight = 0", "all weights are 0", "greater than 0"),
        (SOURCE + SOURCE, "two sources are named a", "another name"),
        ("seed = 3", "no source to mix", "NAME=GLOB"),
        (SOURCE + "weight = 2", "--temperature makes the weights, and source a has one", "leave out the weights"),
    ],
)
def test_what_a_file_may_not_say(plan, text, message, fix):
    flags = FLAGS | ({"temperature": 2.0} if message.startswith("--temperature") else {})
    with pytest.raises(UsageError) as error:
        mix_options([], plan(text), flags, set())
    assert message in error.value.what and (fix is None or fix in str(error.value.fix))


def test_a_source_with_no_weight_in_any_phase_is_told_of(plan):
    other = '[[source]]\nname = "b"\nfiles = "b"\nweight = 0\n[[phase]]\nbudget = 9\n'
    with pytest.raises(UsageError, match="source b has weight 0 all along"):
        mix_options([], plan(SOURCE + other), FLAGS, set())
    assert mix_options([], plan(SOURCE + other + "weights = {b = 1}"), FLAGS, set()).phases


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"temperature": 2.0, "unimax": True}, "--temperature and --unimax both make the weights"),
        ({"temperature": float("nan")}, "--temperature must be between 0.1 and"),
        ({"temperature": -1.0}, "--temperature must be between 0.1 and"),
        ({"temperature": 0.0}, "--temperature must be between 0.1 and"),
        ({"temperature": float("inf")}, "--temperature must be between 0.1 and"),
        ({"unimax": True}, "--unimax needs a budget"),
        ({"per_group_cap": 3}, "--per-group-cap needs groups"),
    ],
)
def test_options_that_do_not_go_together(flags, message):
    with pytest.raises(UsageError, match=message):
        mix_options(["a=a.jsonl"], None, FLAGS | flags, set())


def test_a_plan_file_runs(sea, tmp_path, monkeypatch, plan):
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_text("".join(f'{{"text": "{name}{i}xxxxxxxx"}}\n' for i in range(10)))
    path = plan(
        'unit = "bytes"\nbudget = 160\nseed = 3\n'
        + "".join(f'[[source]]\nname = "{name}"\nfiles = "{name}.jsonl"\n' for name in "ab")
        + "[[phase]]\nshare = 0.75\n[[phase]]\nshare = 0.25\nweights = { a = 0, b = 1 }\n"
    )
    result = sea("mix", "--plan", path)
    assert result.code == 0, result.stderr
    kinds = "".join(json.loads(line)["text"][0] for line in result.stdout.splitlines())
    assert kinds == "ab" * 6 + "bbbb" and "phase 2: 40 of 40 bytes" in result.stderr
    assert sea("mix", "--plan", path, "--seed", 4, "-q").stdout != result.stdout
    assert sea("mix", "--plan", path, "--seed", 3, "-q").stdout == result.stdout
    config = tmp_path / "config.toml"
    config.write_text(f'plan = "{path}"\nseed = 9\n')
    assert sea("mix", "--config", config, "-q").stdout == result.stdout  # a plan goes before mere defaults
    rows = [json.loads(line) for line in sea("mix", "--plan", path, "--dry-run", "--json").stdout.splitlines()]
    assert [[phase["emitted"] for phase in row["phases"]] for row in rows] == [[60, 0], [60, 40]]
    sea("mix", "--plan", path, "-o", "out.jsonl")
    manifest = json.loads((tmp_path / "out.jsonl.manifest.json").read_text())
    assert [row["path"] for row in manifest["inputs"]][-1] == path and manifest["seed"] == 3


@pytest.mark.parametrize("table", ["source", "phase"])
def test_names_that_could_not_be_typed_or_would_move_the_terminal_are_refused(plan, table):
    text = WHOLE.replace('"th"\nfiles' if table == "source" else '"main"\n', '"x\\u001b[31m"\nfiles' if table == "source" else '"x\\n"\n')  # fmt: skip # noqa: E501
    assert text != WHOLE
    with pytest.raises(UsageError, match="cannot name a " + table):
        read_plan_file(plan(text))
