"""What is refused comes out in the order of the documents, whoever finds it and however far ahead it was read."""

from __future__ import annotations

import io
import json

import pytest
from mix_sources import index_of
from tiny_sentencepiece import write_sentencepiece

from seatools.mix import held_rejects, source_reading
from seatools.mix.document_store import DocumentStore
from seatools.mix.held_rejects import CHECKING, COUNTING, READING, HeldRejects
from seatools.streams.errors import SeaError
from seatools.streams.records import BadRecord, Record, Rejects
from seatools.text.documents import load_documents

UNTRAINED = b'{"messages": [{"role": "user", "content": "a b"}]}'  # found when it is counted
BROKEN = b"[]"  # found when it is parsed


@pytest.fixture(scope="module")
def sentencepiece(tmp_path_factory):
    """A tokenizer of which each thread counts batches of its own, and its template."""
    folder = write_sentencepiece(tmp_path_factory.mktemp("sentencepiece"))
    (folder / "chat.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    return folder


@pytest.fixture
def sources(tmp_path):
    """Two files of 5,000 lines each, with both kinds of bad ones all along."""
    for name in ("a", "b"):
        good = [b'{"text": "%s %d"}' % (name.encode() * (i % 5 + 1), i) for i in range(5000)]
        good[3::97] = [UNTRAINED] * len(good[3::97])
        good[50::97] = [BROKEN] * len(good[50::97])
        (tmp_path / f"{name}.jsonl").write_bytes(b"\n".join(good) + b"\n")
    return tmp_path


def mixed(sea, sources, sentencepiece, *more, workers):
    """(stdout, stderr, quarantine) of a mix of the two files as one source."""
    held = sources / f"quarantine-{workers}.jsonl"
    result = sea(
        "mix", f"s={sources}/?.jsonl", "--tokenizer", sentencepiece, "--chat-template", sentencepiece / "chat.jinja",
        "--no-index", "-q", "--on-error", "quarantine", "--quarantine", held, "--force", "--workers", workers, *more,
    )  # fmt: skip
    assert result.code == 0, result.stderr
    return result.stdout, result.stderr, held.read_bytes()


@pytest.mark.parametrize("stage", [(), ("--join-turns", "3"), ("--dedup", "exact")])
def test_any_workers_give_the_same_quarantine_and_mix(sea, sources, sentencepiece, stage, monkeypatch):
    monkeypatch.setattr(source_reading, "BATCH_DOCS", 40)
    one = mixed(sea, sources, sentencepiece, *stage, workers=1)
    assert one[0] and mixed(sea, sources, sentencepiece, *stage, workers=4) == one
    places = [(row["file"], row["line"]) for row in map(json.loads, one[2].splitlines())]
    assert places == sorted(places)
    if not stage:
        assert len(places) == 2 * (len(range(3, 5000, 97)) + len(range(50, 5000, 97)))


def test_the_order_stays_when_too_much_is_refused_for_an_index(sea, sources, sentencepiece, monkeypatch):
    few = mixed(sea, sources, sentencepiece, workers=1)
    monkeypatch.setattr(source_reading, "BATCH_DOCS", 40)
    monkeypatch.setattr(source_reading, "MAX_REJECTED_BYTES", 100)
    monkeypatch.setattr(held_rejects, "IN_MEMORY", 100)
    assert [mixed(sea, sources, sentencepiece, workers=n) for n in (1, 4)] == [few, few]


@pytest.mark.parametrize("stage", [(), ("--join-turns", "3"), ("--dedup", "exact")])
@pytest.mark.parametrize("workers", [1, 4])
def test_the_first_error_is_the_first_in_the_file(sea, tmp_path, sentencepiece, stage, workers, monkeypatch):
    monkeypatch.setattr(source_reading, "BATCH_DOCS", 2)
    lines = [b'{"text": "a%d"}' % i for i in range(20)]
    lines[9], lines[12] = UNTRAINED, BROKEN
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    template = ["--tokenizer", sentencepiece, "--chat-template", sentencepiece / "chat.jinja"]
    result = sea("mix", f"a={tmp_path / 'a.jsonl'}", *template, *stage, "--workers", workers)
    assert result.code == 1 and f"{tmp_path / 'a.jsonl'}:10: nothing to train" in result.stderr
    lines[9] = lines[0]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    result = sea("mix", f"a={tmp_path / 'a.jsonl'}", *template, *stage, "--workers", workers)
    assert result.code == 1 and f"{tmp_path / 'a.jsonl'}:13: a JSON list" in result.stderr


def test_a_known_file_fails_before_a_later_one(tmp_path, sentencepiece):
    documents = load_documents(sentencepiece, chat_template=sentencepiece / "chat.jinja")
    from seatools.mix.index_sidecar import Sidecars

    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a"}\n')
    (tmp_path / "b.jsonl").write_bytes(b'{"text": "b"}\n[]\n')
    (tmp_path / "c.jsonl").write_bytes(UNTRAINED)
    with DocumentStore() as store:
        index_of(tmp_path / "b.jsonl", store, Rejects("skip"), documents=documents, sidecars=Sidecars(documents))
    with DocumentStore() as store, pytest.raises(SeaError, match="a JSON list") as caught:
        index_of(tmp_path, store, Rejects("fail"), documents=documents, sidecars=Sidecars(documents))
    assert caught.value.where == f"{tmp_path / 'b.jsonl'}:2"


def test_what_is_held_comes_out_merged_and_whole(monkeypatch):
    monkeypatch.setattr(held_rejects, "IN_MEMORY", 10)
    out = io.BytesIO()
    real = Rejects("quarantine", out)
    held = HeldRejects(real, ["x.jsonl", "a.jsonl"])
    odd = bytes(range(256))
    for point, path, lines in (
        (COUNTING, "x.jsonl", (2, 9)), (READING, "x.jsonl", (1, 7)), (READING, "a.jsonl", (1,)),
        (COUNTING, "a.jsonl", (4,)), (CHECKING, "x.jsonl", (8,)),
    ):  # fmt: skip
        for line in lines:
            held.at(point).refuse(Record(odd, {}, path, line), BadRecord(f"p{point}", "odd é\n", fix="mend"))
    assert real.total == 0 and held.num_bytes == 7 * 256
    rows = list(held.release())
    assert [row.line for row in rows] == [1, 2, 7, 8, 9, 1, 4] and all(row.raw == odd for row in rows)
    assert {(row.what, row.fix, row.where) for row in rows} == {("odd é\n", "mend", None)}
    assert real.counts == {"p0": 3, "p1": 1, "p2": 3}
