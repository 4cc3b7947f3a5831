"""The one visual language of the pictures: colours, names, refusals, bytes that repeat."""

from __future__ import annotations

import io
import itertools
import re
import subprocess
import sys

import numpy as np
import pytest

from seatools.streams.errors import SeaError, UsageError
from seatools.streams.plot_style import COLOURS, check_plot, fill_of, kind_of, legend_name, looks, save, styled

# Machado et al. 2009, severity 1, on linear RGB.
_SIGHTS = {
    "all colours": np.eye(3),
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}  # fmt: skip


def oklab(colour: str, sight: np.ndarray) -> np.ndarray:
    channels = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    to_lms = [[0.41222, 0.53633, 0.05145], [0.21190, 0.68070, 0.10740], [0.08830, 0.28172, 0.62998]]
    to_lab = [[0.21045, 0.79362, -0.00407], [1.97800, -2.42859, 0.45059], [0.02590, 0.78277, -0.80868]]
    return np.array(to_lab) @ np.cbrt(np.clip(np.array(to_lms) @ np.clip(np.array(sight) @ linear, 0, 1), 0, 1))


@pytest.mark.parametrize("sight", list(_SIGHTS))
def test_colours_stay_apart_for_the_colour_blind(sight):
    for one, other in itertools.combinations(COLOURS, 2):
        assert np.linalg.norm(oklab(one, _SIGHTS[sight]) - oklab(other, _SIGHTS[sight])) > 0.07, (one, other)


def test_a_language_looks_the_same_in_every_picture():
    alone, beside = looks(["th"])["th"], looks(["web", "en", "lo", "th", "shn"])["th"]
    assert alone == beside == looks(["tha_Thai"])["tha_Thai"] == looks(["th-TH"])["th-TH"]
    assert looks(["zzz", "shn"])["shn"] == looks(["shn"])["shn"]


def test_names_of_one_picture_look_different():
    names = ["en", "th", "lo", "km", "my", "vi", "id", "ms", "zh", "tl", "ta", "jv", *(f"s{n}" for n in range(12))]
    found = looks(names)
    assert len({tuple(look.values()) for look in found.values()}) == 24
    assert len({tuple(map(str, fill_of(look).values())) for look in found.values()}) == 24
    assert set(looks([*names, "one more"])) == {*names, "one more"}


def drawn(kind: str, name: str) -> bytes:
    stream = io.BytesIO()
    with styled():
        from matplotlib.figure import Figure

        figure = Figure(layout="constrained")
        axes = figure.add_subplot()
        axes.plot([1, 2], label=legend_name(name))
        axes.legend()
        save(figure, stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_bytes_repeat(kind):
    pytest.importorskip("matplotlib")
    assert drawn(kind, "th") == drawn(kind, "th")


@pytest.mark.parametrize("name", ["$x_1$ ${", "_hidden", "<b>&", "ไทย"])
def test_names_are_drawn_as_they_are(name, recwarn):
    pytest.importorskip("matplotlib")
    from xml.etree import ElementTree

    svg = drawn("svg", name)
    texts = {
        "".join(element.itertext()).strip()
        for element in ElementTree.fromstring(svg).iter()
        if "}text" in str(element.tag)
    }
    assert name in texts and not [str(one.message) for one in recwarn if "Glyph" in str(one.message)]
    assert not re.search(rb"<dc:date>|[0-9]{4}-[0-9]{2}-[0-9]{2}T", svg)


def test_what_cannot_be_drawn_is_refused_before_any_work(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    (tmp_path / "old.svg").write_text("old")
    check_plot(tmp_path / "new.PNG")
    assert kind_of(tmp_path / "new.PNG") == "png"
    with pytest.raises(UsageError, match="unknown kind of picture"):
        check_plot(tmp_path / "n.jpeg")
    with pytest.raises(UsageError, match=r"old.svg exists"):
        check_plot(tmp_path / "old.svg", force=False)
    with pytest.raises(UsageError, match="both input and output"):
        check_plot(tmp_path / "old.svg", force=True, inputs=[tmp_path / "old.svg"])
    with pytest.raises(UsageError, match="no such folder"):
        check_plot(tmp_path / "none" / "n.svg")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SeaError, match="needs matplotlib") as failure:
        check_plot(tmp_path / "new.png")
    assert "sea-adapt[plot]" in str(failure.value.fix)


def test_importing_the_drawers_does_not_import_matplotlib():
    modules = "seatools.streams.plot_style, seatools.mix.plan_plot, seatools.eval.compare_plot, seatools.audit.page"
    modules += ", seatools.lsn_detect.heat_map, seatools.lsn_detect.matrix_plot"
    script = f"import sys, {modules}; sys.exit('matplotlib' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
