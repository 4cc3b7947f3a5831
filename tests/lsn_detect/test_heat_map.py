"""The picture of where the neurons are (the `plot` extra)."""

from __future__ import annotations

import io

import pytest

pytest.importorskip("matplotlib")

from seatools.lsn_detect.heat_map import check_plot, draw_heat_map
from seatools.streams.errors import UsageError

ROWS = [
    {"lang": "th", "method": "lape", "per_layer": [3, 0, 5]},
    {"lang": "lo", "method": "lape", "per_layer": [0, 0, 9]},
]


def drawn(kind: str) -> bytes:
    stream = io.BytesIO()
    draw_heat_map(ROWS, stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize(("kind", "head"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_same_rows_give_the_same_picture(kind, head):
    first = drawn(kind)
    assert first.startswith(head)
    assert drawn(kind) == first


def test_an_unknown_kind_of_picture_is_refused(tmp_path):
    with pytest.raises(UsageError, match="unknown kind"):
        check_plot(tmp_path / "n.jpeg2000")
