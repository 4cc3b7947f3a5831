"""The picture of a plan: what it draws is what will be emitted."""

from __future__ import annotations

import io
import sys
from fractions import Fraction
from xml.etree import ElementTree

import numpy as np
import pytest
from mix_sources import emitted, sized_plan

from seatools.mix.phases import Phase
from seatools.mix.plan_plot import draw_plan, given_along

SIZES = {"en": [3, 9, 4, 40] * 9, "th": [10, 1] * 20, "web": [7] * 30}


def phased():
    phases = [
        Phase(name="1", share=Fraction(3, 4), weights={"en": Fraction(1), "th": Fraction(2), "web": Fraction(1)}),
        Phase(name="late", share=Fraction(1, 4), weights={"en": Fraction(1), "th": Fraction(0), "web": Fraction(1)}),
    ]
    return sized_plan(SIZES, phases, budget=900)


def picture(plan) -> bytes:
    stream = io.BytesIO()
    draw_plan(plan, stream, "svg")
    return stream.getvalue()


@pytest.mark.parametrize("steps", [1, 7, 200, 10_000])
def test_the_stream_is_that_of_emission(steps):
    plan = phased()
    given = given_along(plan, steps)
    stream = emitted(plan)
    sizes = list(SIZES.values())
    assert given[0].tolist() == [0, 0, 0] and given[-1].tolist() == plan.schedule.emitted
    every = -(-len(stream) // steps)
    for row in range(1, len(given)):
        wanted = [0, 0, 0]
        for source, doc in stream[: row * every]:
            wanted[source] += sizes[source][doc]
        assert given[row].tolist() == wanted
    assert len(given) <= steps + 1 and (np.diff(given, axis=0) >= 0).all()


def test_sources_phases_epochs_and_shares_are_told():
    pytest.importorskip("matplotlib")
    plan = phased()
    svg = picture(plan)
    texts = {"".join(e.itertext()).strip() for e in ElementTree.fromstring(svg).iter() if str(e.tag).endswith("}text")}
    assert {"en", "th", "web", "1", "late", "epochs", "shares of the bytes by phase"} <= texts
    assert f"mix of {plan.schedule.total} bytes" in texts
    for row in plan.rows:
        assert f"{row.epochs:.2f} of {row.max_epochs}" in {text.removesuffix(", used up") for text in texts}
        assert {f"{share.share:.0%}" for share in row.phases if share.share >= 0.06} <= texts
    assert picture(phased()) == svg


def test_a_mix_without_phases_and_with_many_sources():
    pytest.importorskip("matplotlib")
    plan = sized_plan({f"s{number}": [5] * 9 for number in range(30)}, [])
    svg = picture(plan).decode()
    assert "s29" in svg and "by phase" not in svg and "used up" in svg


def test_a_dry_run_draws_and_a_mix_too(sea, tmp_path, two):
    pytest.importorskip("matplotlib")
    dry, wet = tmp_path / "dry.svg", tmp_path / "wet.svg"
    plain = sea("mix", *two, "--unit", "bytes")
    told = sea("mix", *two, "--unit", "bytes", "--dry-run", "--plot", dry)
    assert told.code == 0 and told.stdout == sea("mix", *two, "--unit", "bytes", "--dry-run").stdout
    assert sea("mix", *two, "--unit", "bytes", "--plot", wet).stdout == plain.stdout
    assert dry.read_bytes() == wet.read_bytes() and dry.read_bytes().startswith(b"<?xml")
    assert sea("mix", *two, "--unit", "bytes", "--dry-run", "--plot", tmp_path / "p.png").code == 0
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plot", "{folder}/p.gif"], "unknown kind of picture"),
        (["--plot", "{folder}/old.svg"], "old.svg exists"),
        (["--plot", "{folder}/out.svg", "-o", "{folder}/out.svg"], "are the same file"),
        (["--plot", "{folder}/parts/p.svg", "-o", "{folder}/parts", "--shard-size", "1MB"], "lies inside"),
        (["--plot", "{folder}/none/p.svg"], "no such folder"),
    ],
)
def test_refused(sea, tmp_path, two, arguments, message):
    pytest.importorskip("matplotlib")
    (tmp_path / "old.svg").write_text("old")
    result = sea("mix", *two, "--unit", "bytes", *(one.format(folder=tmp_path) for one in arguments))
    assert result.code == 2 and message in result.stderr and result.stdout == b""
    assert (tmp_path / "old.svg").read_text() == "old" and not (tmp_path / "out.svg").exists()


def test_without_matplotlib_one_line_names_the_extra(sea, tmp_path, two, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = sea("mix", *two, "--unit", "bytes", "--plot", tmp_path / "p.svg")
    assert result.code == 1 and result.stdout == b"" and "sea-adapt[plot]" in result.stderr
