"""Near duplicates: those of exact Jaccard similarity are found, in any batches, in memory or from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatools.streams.errors import UsageError
from seatools.text.cleaning import near_duplicates
from seatools.text.cleaning.minhash import normalise
from seatools.text.cleaning.near_duplicates import NearDuplicates


def found(texts: list[str], *, batches: int = 1, **options: object) -> list[int]:
    near = NearDuplicates(**options)  # type: ignore[arg-type]
    for part in np.array_split(np.arange(len(texts)), batches):
        near.add([texts[i] for i in part])
    kept = near.find()
    assert kept.dtype == np.int64
    return kept.tolist()


def grams(text: str) -> set[str]:
    text = normalise(text)
    return {text[i : i + 5] for i in range(max(1, len(text) - 4))}


def planted(shared: Path, num_originals: int = 250) -> tuple[list[str], np.ndarray]:
    """(originals and then one edited copy of each in turn; the Jaccard similarity of each copy to its original)."""
    random = np.random.default_rng(7)
    texts = []
    for lang in ("tha_Thai", "lao_Laoo", "mya_Mymr", "eng_Latn", "vie_Latn"):
        lines = (shared / f"data/flores200/dev/{lang}.txt").read_text("utf-8").splitlines()
        texts += [" ".join(lines[i : i + 4]) for i in range(0, num_originals // 5 * 4, 4)]
    copies = []
    for i, text in enumerate(texts):
        letters = list(text)
        for place in random.choice(len(letters), int(len(letters) * (i % 8) * 0.008), replace=False):
            letters[place] = chr(0x1780 + int(random.integers(0, 40)))
        copies.append("".join(letters))
    exact = [len(grams(a) & grams(b)) / len(grams(a) | grams(b)) for a, b in zip(texts, copies, strict=True)]
    return [*texts, *copies], np.array(exact)


def test_planted_copies_are_found_by_their_similarity(shared: Path) -> None:
    """Above 0.9 all, below 0.7 none, and nothing is taken for the copy of another."""
    texts, exact = planted(shared)
    kept = np.array(found(texts))
    originals = np.arange(len(exact))
    assert np.array_equal(kept[: len(exact)], originals)
    copies = kept[len(exact) :]
    assert (np.equal(copies, originals) | np.equal(copies, originals + len(exact))).all()
    dropped = copies == originals
    assert (exact > 0.9).sum() > 50 and (exact < 0.7).sum() > 50
    assert dropped[exact > 0.9].all()
    assert not dropped[exact < 0.7].any()


@pytest.mark.parametrize(("memory_bytes", "partition_docs"), [(1, 16), (3000, 300), (400_000, 1 << 14)])
def test_memory_and_partitions_do_not_change_the_result(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory_bytes: int, partition_docs: int
) -> None:
    texts, _ = planted(shared)
    expected = found(texts)
    monkeypatch.setattr(near_duplicates, "PARTITION_DOCS", partition_docs)
    monkeypatch.setattr(near_duplicates, "BATCH_DOCS", 64)
    assert found(texts, batches=9, memory_bytes=memory_bytes, folder=tmp_path) == expected
    assert list(tmp_path.iterdir()) == []


words = st.lists(st.sampled_from(["kaya ", "ngata ", "ภาษา", "ລາວ ", "xin chao "]), max_size=8).map("".join)


@given(st.lists(words, max_size=25), st.integers(1, 6), st.integers(1, 2000))
@settings(max_examples=25, deadline=None)
def test_batches_and_memory_do_not_change_the_result(texts: list[str], batches: int, memory_bytes: int) -> None:
    assert found(texts, batches=batches, memory_bytes=memory_bytes) == found(texts)


@given(st.lists(words, max_size=25))
@settings(max_examples=25, deadline=None)
def test_a_document_is_kept_in_its_own_stead_and_before_those_it_stands_for(texts: list[str]) -> None:
    kept = found(texts)
    assert all(kept[root] == root <= doc for doc, root in enumerate(kept))
    for doc, root in enumerate(kept):
        same = [i for i, text in enumerate(texts) if normalise(text) == normalise(texts[doc])]
        assert {kept[i] for i in same} == {root}


def test_files_can_be_read_twice_and_added_to() -> None:
    near = NearDuplicates(memory_bytes=1)
    near.add(["one two three four", "five six seven eight"])
    assert near.find().tolist() == [0, 1]
    near.add(["ONE two three  four", ""])
    assert near.find().tolist() == near.find().tolist() == [0, 1, 0, 3]


def test_short_and_empty_documents() -> None:
    assert found(["", "ab", "a", "AB", " \n", "abcd", "ก", "ก "]) == [0, 1, 2, 1, 0, 5, 6, 6]
    assert found([]) == []


def test_lone_surrogates_are_characters_like_others() -> None:
    assert found(["\ud800 is", "\ud800  IS", "\udfff is"]) == [0, 0, 2]


def test_a_chain_is_one_group() -> None:
    """a ~ b ~ c with a and c less alike than the threshold."""
    random = np.random.default_rng(3)
    letters = [chr(0x0E01 + c) for c in random.integers(0, 46, 2000)]
    chain = ["".join(letters)]
    for step in range(3):
        for place in range(step * 600, step * 600 + 230):
            letters[place] = chr(0x0E81 + int(random.integers(0, 40)))
        chain.append("".join(letters))
    similarity = len(grams(chain[0]) & grams(chain[-1])) / len(grams(chain[0]) | grams(chain[-1]))
    assert similarity < 0.6
    assert found(chain, threshold=0.7) == [0, 0, 0, 0]


def test_a_bucket_of_unlike_documents_compares_each_with_its_neighbours_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """All documents share every band: what is compared decides, and it is the bucket's first and the nearest before."""
    monkeypatch.setattr(
        near_duplicates, "band_keys", lambda minima, bands, rows: np.zeros((bands, len(minima)), np.uint32)
    )
    texts = ["kaya ngata", "lor inay", "anak ulan", "puno isda", "LOR INAY", "kaya  ngata"]
    assert found(texts) == [0, 1, 2, 3, 1, 0]
    monkeypatch.setattr(near_duplicates, "NEIGHBOURS", 2)
    assert found(texts) == [0, 1, 2, 3, 4, 0]


def test_many_copies_are_one_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buckets larger than the neighbours looked at."""
    monkeypatch.setattr(near_duplicates, "NEIGHBOURS", 2)
    words = ("kaya ngata", "lor inay", "anak ulan", "puno isda", "xin chao", "ภาษาไทย", "ພາສາລາວ")
    assert found([f"{words[i % 7]} " * 20 for i in range(200)]) == [i % 7 for i in range(200)]


def test_copies_of_a_buckets_first_meet_it_whatever_stands_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "NEIGHBOURS", 2)
    monkeypatch.setattr(
        near_duplicates, "band_keys", lambda minima, bands, rows: np.zeros((bands, len(minima)), np.uint32)
    )
    letters = np.random.default_rng(5).integers(0x0E01, 0x0E2F, (200, 60))
    texts = ["kaya ngata lor inay" if i % 7 == 0 else "".join(map(chr, letters[i])) for i in range(200)]
    assert found(texts) == [i if i % 7 else 0 for i in range(200)]


@pytest.mark.parametrize(
    "options",
    [{"threshold": 0}, {"threshold": 1.1}, {"ngram": 0}, {"num_hashes": 100}, {"num_hashes": 8}, {"memory_bytes": 0}],
)
def test_senseless_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        NearDuplicates(**options)  # type: ignore[arg-type]
