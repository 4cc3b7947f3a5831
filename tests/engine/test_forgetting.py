"""The forgetting gauge: the rise over step 0, warned of once or stopped at, also after a resume."""

from __future__ import annotations

import json
from typing import Any

import pytest

from seatools.engine.forgetting import ForgettingGauge, ForgettingOptions, Forgotten, read_baseline, relative_rise
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.messages import Messages


def figures(en: float, th: float = 2.0) -> dict[str, Any]:
    return {"en": {"bits_per_byte": en}, "th": {"bits_per_byte": th}}


def gauge(policy: Any = "warn", limit: float = 0.05, baseline: float | None = None) -> ForgettingGauge:
    return ForgettingGauge(ForgettingOptions(lang="en", limit=limit, policy=policy), Messages(), baseline)


def test_the_rise_is_over_the_first_evaluation():
    watched = gauge()
    rises = [watched.see(step, figures(value))["forgetting"] for step, value in ((0, 1.0), (5, 1.03), (10, 0.9))]
    assert rises == pytest.approx([0.0, 0.03, -0.1])
    assert relative_rise(1.2, 1.0) == pytest.approx(0.2)


def test_the_figures_stay_as_they_were(capsys):
    given = figures(1.0)
    seen = gauge().see(0, given)
    assert "forgetting" not in given and {k: seen[k] for k in given} == given
    assert capsys.readouterr().err == ""


def test_it_warns_each_time_the_limit_is_crossed(capsys):
    watched = gauge(baseline=1.0)
    for step, value in enumerate((1.049, 1.06, 1.07, 1.0, 1.08)):
        watched.see(step, figures(value))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("warning: step 1: en is being forgotten") and "+6.0 %, limit 5 %" in lines[0]
    assert lines[1].startswith("warning: step 4")


def test_it_stops_with_exit_code_3_and_hands_over_the_figures():
    watched = gauge("stop", limit=0.1)
    watched.see(0, figures(1.0))
    watched.see(5, figures(1.09))
    with pytest.raises(Forgotten, match=r"step 10: en is being forgotten: 1.1100 bits per byte, 1.0000") as error:
        watched.see(10, figures(1.11))
    assert error.value.exit_code == 3 and error.value.fix
    assert error.value.figures["forgetting"] == pytest.approx(0.11) and error.value.figures["th"] == figures(1)["th"]


def test_the_baseline_survives_in_the_metrics(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [
        json.dumps({"step": 0, "kind": "eval", **figures(1.5)}), json.dumps({"step": 1, "loss": 3.0}),
        json.dumps({"step": 5, "kind": "eval", **figures(1.9)}), '{"step": 6, "lo',
    ]  # fmt: skip
    path.write_text("\n".join(lines))
    assert read_baseline(path, "en") == 1.5
    assert read_baseline(path, "lo") is None
    assert read_baseline(tmp_path / "none.jsonl", "en") is None
    with pytest.raises(Forgotten):
        gauge("stop", baseline=read_baseline(path, "en")).see(10, figures(1.6))


def test_bad_options_and_a_language_that_is_not_evaluated():
    with pytest.raises(UsageError, match="limit of forgetting is 0"):
        gauge(limit=0)
    with pytest.raises(UsageError, match="policy"):
        gauge("shout")
    with pytest.raises(SeaError, match="no en.*forgetting") as error:
        gauge().see(0, {"th": {"bits_per_byte": 1.0}})
    assert "--eval-data en=FILE" in error.value.fix
