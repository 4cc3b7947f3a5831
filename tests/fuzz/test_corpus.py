"""Every kept input again, and new ones near them: a value or an error of ours, in time, and a true value.

The time is of the processor and four times what the fuzzer allows, so that a busy or slow machine changes no outcome.

The corpus is what coverage-guided runs found worth keeping (docs/fuzzing.md); here it is replayed without them. The
inputs beside it are drawn by hypothesis: a seed of the reader, changed as the fuzzer changes it.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from fuzz.contract import outcome, workplace
from fuzz.mutations import mutate
from fuzz.readers import CORPUS, READERS, corpus_of, seeds_of
from hypothesis import given, settings
from hypothesis import strategies as st

CHANGED = sorted(set(READERS) - {"config"})  # the front door takes 10 ms a time; its corpus is enough


@pytest.mark.parametrize("name", READERS)
def test_what_was_found_stays_mended(name: str) -> None:
    inputs = [*seeds_of(name), *(path.read_bytes() for path in corpus_of(name))]
    with workplace() as folder:
        first, again = ([outcome(READERS[name], data, folder, seconds=20) for data in inputs] for _ in range(2))
    assert first == again  # hash maps of the engines are seeded anew for each


@pytest.mark.parametrize("name", READERS)
def test_the_seeds_reach_what_they_are_for(name: str) -> None:
    """A reader that refuses all of its seeds would pass every other test here."""
    with workplace() as folder:
        assert "read" in {outcome(READERS[name], data, folder, seconds=20) for data in seeds_of(name)}


@pytest.mark.parametrize("name", CHANGED)
@settings(max_examples=25, deadline=None, derandomize=True)  # what is new is for run.py to find, not for CI
@given(place=st.integers(0, 99), seed=st.integers(0, 2**32))
def test_inputs_near_the_seeds(name: str, place: int, seed: int) -> None:
    seeds = seeds_of(name)
    data = mutate(seeds[place % len(seeds)], random.Random(seed))
    with workplace() as folder:
        outcome(READERS[name], data, folder, seconds=20)


def test_the_corpus_is_small_and_has_no_strays() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 1 << 20
    assert {path.parent.name for path in files} <= set(READERS)
    assert all(path.parent.parent == CORPUS for path in files)


def test_the_contract_notices_what_it_is_there_for() -> None:
    def leaks(data: bytes, folder: Path) -> None:
        raise KeyError("x")

    def hangs(data: bytes, folder: Path) -> None:
        while True:
            pass

    def lies(data: bytes, folder: Path) -> None:
        from fuzz.contract import check

        check(1 == 2, "one is two")

    from fuzz.contract import Violation

    with workplace() as folder:
        for reader, kind in ((leaks, "leaked-KeyError"), (hangs, "hang"), (lies, "wrong")):
            with pytest.raises(Violation, match=kind):
                outcome(reader, b"", folder, seconds=0.2)
