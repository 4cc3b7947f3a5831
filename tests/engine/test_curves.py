"""The picture of a run's curves: what is read from its metrics, and that a missing matplotlib costs nothing."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from seatools.engine.curves import MAX_POINTS, draw_curves, read_curves, save_curves, thinned
from seatools.streams.errors import SeaError
from seatools.streams.messages import Messages


def step_line(step: int, **more: Any) -> dict[str, Any]:
    return {
        "step": step, "loss": 3.0 / step, "tokens": 100, "lr": 1e-3, "grad_norm": 1.0, "tokens_per_second": 9.0,
        "mfu": None, "th": {"loss": 2.0, "bits_per_byte": 1.0 / step, "tokens": 50}, **more,
    }  # fmt: skip


def eval_line(step: int) -> dict[str, Any]:
    return {"step": step, "kind": "eval", "en": {"bits_per_byte": 0.9, "loss": 1.0, "tokens": 9}, "forgetting": 0.0}


def encoded(*rows: dict[str, Any]) -> list[bytes]:
    return [json.dumps(row).encode() + b"\n" for row in rows]


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"".join(encoded(*rows)))
    return path


def test_each_figure_goes_to_its_panel_and_curve():
    panels = read_curves([*encoded(eval_line(0), step_line(1), step_line(2), eval_line(2)), b'{"step": 3, "lo'])
    assert panels["loss"] == {"all": [(1, 3.0), (2, 1.5)], "th": [(1, 2.0), (2, 2.0)]}
    assert panels["bits_per_byte"] == {"th": [(1, 1.0), (2, 0.5)]}
    assert panels["eval"] == {"en": [(0, 0.9), (2, 0.9)]}
    assert list(panels) == ["loss", "bits_per_byte", "eval", "lr", "grad_norm", "tokens_per_second"]


def test_what_a_run_has_not_measured_has_no_panel():
    line = {"step": 1, "loss": 1.0, "bits_per_byte": None}
    assert read_curves(encoded(line)) == {"loss": {"all": [(1, 1.0)]}}


def test_figures_that_are_none_are_passed_over():
    lines = [b'{"step": 1, "loss": 2, "sources": 3, "by_lang": [1]}', b'{"step": 2, "kind": "eval", "th": {"x": 1}}']
    lines += [b'{"step": 3, "loss": "x", "by_lang": {"th": 1}, "sources": {"th": 1}}', b"[1]"]
    assert read_curves(lines) == {"loss": {"all": [(1, 2.0)]}}


def test_long_curves_are_means_with_their_range():
    points = [(step, float(step % 2)) for step in range(10 * MAX_POINTS)]
    spans = thinned(points)
    assert len(spans) == MAX_POINTS
    assert spans[0] == (4.5, 0.5, 0.0, 1.0)
    assert thinned(points[:3]) == [(0, 0, 0, 0), (1, 1, 1, 1), (2, 0, 0, 0)]


def test_the_picture_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    metrics = write(tmp_path / "run" / "metrics.jsonl", eval_line(0), *map(step_line, range(1, 60)), eval_line(59))
    target = tmp_path / "curves.png"
    target.write_bytes(b"of the last run")
    assert save_curves(metrics, target, Messages())
    first = target.read_bytes()
    assert first.startswith(b"\x89PNG") and len(first) > 10_000
    assert save_curves(metrics, target, Messages()) and target.read_bytes() == first


@pytest.mark.parametrize(("name", "begins"), [("c.svg", b"<?xml"), ("c.pdf", b"%PDF"), ("c.PNG", b"\x89PNG")])
def test_the_ending_says_what_kind_of_picture(tmp_path, name, begins):
    pytest.importorskip("matplotlib")
    metrics = write(tmp_path / "run" / "metrics.jsonl", step_line(1), step_line(2))
    assert save_curves(metrics, tmp_path / name, Messages())
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_each_curve_is_named_and_the_bytes_repeat():
    pytest.importorskip("matplotlib")
    panels = read_curves([*encoded(*map(step_line, range(1, 9))), *encoded(eval_line(8))])
    pictures = []
    for _ in range(2):
        stream = io.BytesIO()
        draw_curves(panels, stream, "a $run_1$", "svg")
        pictures.append(stream.getvalue())
    assert pictures[0] == pictures[1]
    text = pictures[0].decode()
    for name in ("a $run_1$", "loss in training", "bits per byte of held-out text", ">th<", ">en<", ">all<"):
        assert name in text
    assert "mathdefault" not in text
    assert text.count("#d55e00") >= 2  # th, in the colour that it has in every picture


@pytest.mark.parametrize("asked_for", [False, True])
def test_without_matplotlib_it_is_a_note_unless_asked_for(tmp_path, monkeypatch, capsys, asked_for):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    metrics, target = write(tmp_path / "run" / "metrics.jsonl", step_line(1)), tmp_path / "curves.png"
    if asked_for:
        with pytest.raises(SeaError, match="needs matplotlib"):
            save_curves(metrics, target, Messages(), asked_for=True)
    else:
        assert not save_curves(metrics, target, Messages())
        assert capsys.readouterr().err.count("\n") == 1
    assert not target.exists()


def test_nothing_to_draw_is_said(tmp_path, capsys):
    metrics = write(tmp_path / "run" / "metrics.jsonl")
    assert not save_curves(metrics, tmp_path / "curves.png", Messages())
    assert "no metrics to draw" in capsys.readouterr().err
