"""The picture of a comparison: every difference with its verdict, the same bytes each time, and what is refused."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from made_samples import choice, nats

from seatools.eval.compare import compare
from seatools.eval.compare_plot import draw_comparison
from seatools.eval.samples import Sample

B = {"model": "b", "model_digest": "w2", "tokenizer_digest": "t2"}


def made() -> tuple[list[Sample], list[Sample]]:
    a, b = [], []
    for lang, gain in (("th", 14), ("km", 0)):
        a += [choice(n, right=n >= 14, lang=lang) for n in range(20)]
        b += [choice(n, right=n >= 14 - gain, lang=lang, **B) for n in range(20)]
    a += [nats(n, 20.0 + n % 7, 30, lang="en") for n in range(40)]
    b += [nats(n, 21.0 + n % 7 + n % 3, 30, lang="en", **B) for n in range(40)]
    return a, b


def drawn(rows: list[dict[str, Any]], kind: str = "svg") -> bytes:
    pytest.importorskip("matplotlib")
    stream = io.BytesIO()
    draw_comparison(rows, stream, kind)
    return stream.getvalue()


def texts(svg: bytes) -> list[str]:
    return ["".join(e.itertext()).strip() for e in ElementTree.fromstring(svg).iter() if str(e.tag).endswith("}text")]


def test_every_difference_has_its_verdict() -> None:
    found = texts(drawn(compare(*made()).rows))
    assert {"quiz  th", "quiz  km", "perplexity  en", "acc", "bits_per_byte"} <= set(found)
    assert "+0.700  B is better" in found and "+0.000  no difference seen" in found
    assert "+0.700  second metric, not tested" in found
    assert any(one.startswith("+0.0") and one.endswith("A is better") for one in found)  # more bits are worse
    assert "B - A with its 95 % interval; to the left, B is better" in found
    assert "B - A with its 95 % interval; to the right, B is better" in found


@pytest.mark.parametrize(("kind", "head"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_same_rows_give_the_same_picture(kind: str, head: bytes) -> None:
    rows = compare(*made()).rows
    first = drawn(rows, kind)
    assert first.startswith(head) and drawn(rows, kind) == first


def test_one_item_without_an_interval_and_long_names_are_drawn() -> None:
    a, b = [choice(1, right=True, model="m" * 300)], [choice(1, right=False, **B)]
    found = texts(drawn(compare(a, b).rows))
    assert any("..." + "m" * 60 in one for one in found)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Samples of two models."""
    names = []
    for name, samples in zip(("a.jsonl", "b.jsonl"), made(), strict=True):
        (tmp_path / name).write_bytes(b"".join(one.line() for one in samples))
        names.append(str(tmp_path / name))
    return names


def test_a_picture_beside_the_records(sea: Any, files: list[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plain = sea("eval", "compare", *files, "--json")
    drawn_too = sea("eval", "compare", *files, "--json", "--plot", tmp_path / "p.svg")
    assert plain.code == drawn_too.code == 0 and plain.stdout == drawn_too.stdout
    assert "+0.700  B is better" in texts((tmp_path / "p.svg").read_bytes())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plot", "{folder}/p.gif"], "unknown kind of picture"),
        (["--plot", "{folder}/old.svg"], "old.svg exists"),
        (["--plot", "{folder}/o.svg", "-o", "{folder}/o.svg"], "is the output too"),
        (["--plot", "{folder}/a.jsonl", "--force"], "unknown kind of picture"),
    ],
)
def test_refused(sea: Any, files: list[str], tmp_path: Path, arguments: list[str], message: str) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "old.svg").write_text("old")
    result = sea("eval", "compare", *files, *(one.format(folder=tmp_path) for one in arguments))
    assert result.code == 2 and message in result.stderr and result.stdout == b""
    assert (tmp_path / "old.svg").read_text() == "old" and not (tmp_path / "o.svg").exists()


def test_without_matplotlib_one_line_names_the_extra(
    sea: Any, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = sea("eval", "compare", *files, "--plot", tmp_path / "p.svg")
    assert result.code == 1 and result.stdout == b"" and "sea-adapt[plot]" in result.stderr
