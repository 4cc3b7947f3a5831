"""The picture of where the neurons are (the `plot` extra)."""

from __future__ import annotations

import io

import pytest

pytest.importorskip("matplotlib")

from seatools.lsn_detect.heat_map import draw_heat_map
from seatools.streams.errors import UsageError
from seatools.streams.plot_style import check_plot


def rows(langs: str, num_layers: int, **parts: int):
    """Of each part so many neurons in the last layer."""
    return [
        {
            "lang": lang, "method": "lape", "per_layer": [0] * (num_layers - 1) + [sum(parts.values())],
            "per_layer_by_matrix": {part: [0] * (num_layers - 1) + [number] for part, number in parts.items()},
            "overlap": {other: 0.25 for other in langs.split() if other != lang},
        }
        for lang in langs.split()
    ]  # fmt: skip


def drawn(kind: str, made=None) -> bytes:
    stream = io.BytesIO()
    draw_heat_map(made or rows("th lo", 3, ffn=4, q=1), stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize(("kind", "head"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_same_rows_give_the_same_picture(kind, head):
    first = drawn(kind)
    assert first.startswith(head)
    assert drawn(kind) == first


@pytest.mark.parametrize("made", [rows("th", 1, ffn=3), rows("th lo", 3), rows(" ".join("abcdefghijklmnopqr"), 2, k=1)],
                         ids=["one", "none", "many"])  # fmt: skip
def test_one_language_no_neurons_and_many_languages_are_drawn(made):
    assert drawn("png", made).startswith(b"\x89PNG")


def test_every_language_part_and_overlap_is_in_the_picture(monkeypatch):
    from matplotlib.figure import Figure

    figures = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k)))
    langs = "en zh th vi id ms tl km lo my ta jv"
    drawn("png", rows(langs, 32, ffn=900, q=10, k=3))
    (figure,) = figures
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [title for title in titles if title] == ["FFN", "Q", "K", "overlap (Jaccard)"]
    for axes in figure.axes:
        if axes.get_title(loc="left"):
            assert [label.get_text() for label in axes.get_yticklabels()] == langs.split()
    overlap = figure.axes[titles.index("overlap (Jaccard)")]
    assert len(overlap.texts) == 12 * 11
    canvas = figure.get_window_extent()
    for axes in figure.axes:  # nothing is cut off
        box = axes.get_tightbbox()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= canvas.width and box.y1 <= canvas.height
    for axes in figure.axes:  # no label on another
        boxes = [label.get_window_extent() for label in axes.get_yticklabels() if label.get_text()]
        assert not any(boxes[i].overlaps(boxes[i + 1]) for i in range(len(boxes) - 1))


def test_an_unknown_kind_of_picture_is_refused(tmp_path):
    with pytest.raises(UsageError, match="unknown kind"):
        check_plot(tmp_path / "n.jpeg2000")
