"""Named preferences in shares: how they are typed, and what an epoch reads."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatools.dpo.sources import Source, identity, mixed, parse_sources
from seatools.streams.errors import SeaError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("en-1.jsonl", "en-2.jsonl", "th.jsonl"):
        (tmp_path / name).write_text("{}\n")
    return tmp_path


def test_sources_are_spelt_as_those_of_a_mix(folder: Path) -> None:
    plain = parse_sources([str(folder / "th.jsonl"), "-"])
    assert plain == [Source(None, (str(folder / "th.jsonl"), "-"))]
    english, thai = parse_sources([f"en={folder}/en-*.jsonl:10", f"th={folder}/th.jsonl:0.5"])
    assert english == Source("en", (f"{folder}/en-1.jsonl", f"{folder}/en-2.jsonl"), Fraction(10))
    assert thai.weight == Fraction(1, 2)
    assert [source.weight for source in parse_sources([f"en={folder}/en-1.jsonl", f"th={folder}/th.jsonl"])] == [
        None
    ] * 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("en=D/en-1.jsonl", "D/th.jsonl"), "has no name and other preferences have"),
        (("en=D/en-1.jsonl:1", "th=D/th.jsonl"), "th has no weight and others have"),
        (("en=D/en-1.jsonl:1@2",), "no @MAX_EPOCHS"),
        (("en=D/en-1.jsonl:0",), "greater than 0"),
        (("en=D/en-1.jsonl", "en=D/th.jsonl"), "two sources are named en"),
        (("en=D/th.jsonl", "th=D/th.jsonl"), "named twice"),
    ],
)
def test_mistakes_are_named(folder: Path, arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises((UsageError, SeaError), match=words):
        parse_sources([argument.replace("D", str(folder)) for argument in arguments])


@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    weights=st.lists(st.fractions(Fraction(1, 9), 9, max_denominator=9), min_size=4, max_size=4),
)
def test_an_epoch_has_every_pair_in_the_shares_of_the_weights(counts: list[int], weights: list[Fraction]) -> None:
    sources = [Source(f"s{i}", ("x",), weight) for i, weight in enumerate(weights[: len(counts)])]
    epoch = Counter(mixed(sources, counts))
    assert sorted(epoch) == list(range(sum(counts)))
    first, drawn = 0, []
    for count in counts:
        own = [epoch[first + place] for place in range(count)]
        assert max(own) - min(own) <= 1  # as evenly as whole pairs allow
        drawn.append(sum(own))
        first += count
    ratios = [Fraction(have) / source.weight for have, source in zip(drawn, sources, strict=True) if source.weight]
    assert max(ratios) - min(ratios) <= 1 / min(source.weight for source in sources if source.weight)
    assert any(have == count for have, count in zip(drawn, counts, strict=True))  # no longer than it need be


def test_without_weights_all_pairs_are_read_once() -> None:
    sources = [Source("en", ("x",)), Source("th", ("y",))]
    assert mixed(sources, [3, 2]) == [0, 1, 2, 3, 4]
    assert identity(sources, [3, 2]) == "en 3 + th 2"
    weighted = [Source("en", ("x",), Fraction(10)), Source("th", ("y",), Fraction(1))]
    assert identity(weighted, [30, 2]) == "en 30 x 10 + th 2 x 1"
    assert mixed(weighted, [20, 2])[20:] == [20, 21]
    with pytest.raises(UsageError, match="its 1 pairs would each be read 100,000 times"):
        mixed([Source("en", ("x",), Fraction(100_000)), Source("th", ("y",), Fraction(1))], [1, 1])
