"""The spool of records: packed window by window."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_llama import write_jsonl

import seatools.train.data as data
from seatools.streams.batches import batches
from seatools.streams.errors import SeaError
from seatools.streams.messages import Messages
from seatools.streams.records import Rejects
from seatools.text.documents import load_documents
from seatools.text.packed import PackedData, read_packed

Spool = Callable[..., PackedData]


@pytest.fixture
def spool(model_path: Path, tmp_path: Path) -> Spool:
    documents = load_documents(model_path)

    def run(*texts: str, seq_len: int = 32, seed: int = 0) -> PackedData:
        sources = data.parse_sources([str(write_jsonl(tmp_path / "data.jsonl", [{"text": text} for text in texts]))])
        return data.spool_packed(
            sources, documents, tmp_path / "packed", origin={"--seq-len": seq_len, "--seed": seed}, inputs=[],
            digest="d", rejects=Rejects(), limit=None, workers=1, messages=Messages(quiet=True),
        )  # fmt: skip

    return run


def first_bytes(packed: PackedData) -> list[list[int]]:
    """The first byte of the text of each document, row by row."""
    return [[int(ids[1]) for ids, _ in packed.row(number)] for number in range(packed.num_rows)]


@pytest.mark.parametrize("bound", [{"WINDOW": 10}, {"MAX_WINDOW_TOKENS": 10 * 32}])
def test_rows_are_shuffled_inside_a_window_only(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, bound: dict[str, int]
) -> None:
    texts = [chr(ord("a") + number) * 30 for number in range(26)]  # one a row, with BOS and EOS
    for name, value in bound.items():
        monkeypatch.setattr(data, name, value)
    found = [row[0] for row in first_bytes(spool(*texts))]
    windows = [found[:10], found[10:20], found[20:]]
    in_order = sorted(found)
    assert list(map(sorted, windows)) == [in_order[:10], in_order[10:20], in_order[20:]]
    assert found != in_order
    assert found != [row[0] for row in first_bytes(spool(*texts, seed=1))]


def test_memory_is_one_window(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "WINDOW", 20)
    monkeypatch.setattr(data, "record_batches", lambda reader: batches(reader, lambda _: 1, max_size=20))
    peaks = []
    for copies in (1, 4):
        tracemalloc.start()
        packed = spool(*("y" * 2000 for _ in range(100 * copies)), seq_len=256)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert packed.num_tokens == 100 * copies * 2002
    assert peaks[1] < 1.1 * peaks[0] + 100_000  # all of it would be 3 MB more


def test_documents_that_were_cut_are_counted(spool: Spool, tmp_path: Path) -> None:
    packed = spool("a" * 30, "b" * 62, "c" * 63)
    assert read_packed(tmp_path / "packed").metadata["num_cut_docs"] == "2"
    assert packed.metadata["num_cut_targets"] == "3"  # 64 and 65 tokens are 2 and 3 rows
    assert packed.num_targets == 32 + 64 + 65 - 3 - 3  # no first token of a document is trained


@pytest.mark.parametrize(
    ("key", "text"),
    [("made_from", "["), ("made_from", "[]"), ("inputs", "{}"), ("inputs", "[1]"), ("rejects", "[" * 5000)],
)
def test_notes_of_a_spool_that_no_run_has_written_are_refused(spool: Spool, key: str, text: str) -> None:
    packed = spool("a", "b")
    assert data.spool_note(packed, "made_from") == {"--seq-len": 32, "--seed": 0}
    packed.metadata[key] = text
    with pytest.raises(SeaError, match=f"{key} is damaged"):
        data.spool_note(packed, key)
    if key == "made_from":
        with pytest.raises(SeaError, match="damaged"):
            data.check_spool(packed, {})
