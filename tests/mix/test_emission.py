"""What a plan says is what is written, in blocks of any size, for a span of it as for the whole."""

from __future__ import annotations

import hashlib
import io

import pytest
from mix_sources import emitted as all_emissions
from mix_sources import plan_of, write_records

from seatools.mix import emission
from seatools.mix.document_store import DocumentStore
from seatools.mix.emission import emit
from seatools.streams.errors import SeaError


@pytest.fixture
def paths(tmp_path):
    """Plain, compressed and text sources, one with a line longer than a block."""
    import gzip

    a = write_records(tmp_path / "a.jsonl", [f"a{i} {'x' * (i % 50)}" for i in range(120)])
    (tmp_path / "b.txt").write_text("\n".join(f'b{i} "quoted"' for i in range(60)), encoding="utf-8")
    c = write_records(tmp_path / "c.jsonl", ["c" * 500, *(f"c{i}" for i in range(60))])
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(c.read_bytes()))
    c.unlink()
    return [a, tmp_path / "b.txt", tmp_path / "c.jsonl.gz"]


def emitted(plan, **options) -> bytes:
    stream = io.BytesIO()
    digest = emit(plan, stream, digest=True, quiet=True, **options)
    assert digest == hashlib.sha256(stream.getvalue()).hexdigest()
    return stream.getvalue()


@pytest.mark.parametrize(("docs", "size"), [(4096, 4 << 20), (7, 4 << 20), (4096, 100), (3, 60)])
def test_every_document_of_the_plan_as_a_line(paths, monkeypatch, docs, size):
    monkeypatch.setattr(emission, "BLOCK_DOCS", docs)
    monkeypatch.setattr(emission, "BLOCK_BYTES", size)
    with DocumentStore() as store:
        plan = plan_of(paths, store)
        expected = b"".join(plan.indexes[source].line(doc) + b"\n" for source, doc in all_emissions(plan))
        assert emitted(plan) == expected and expected.count(b"\n") == 2 * (120 + 60 + 61)


def test_spans_one_after_the_other_are_the_whole(paths):
    with DocumentStore() as store:
        plan = plan_of(paths, store)
        cuts = [0, 0, 1, 100, 399, 482]
        spans = [range(a, b) for a, b in zip(cuts, cuts[1:], strict=False)]
        assert b"".join(emitted(plan, span=span) for span in spans) == emitted(plan)


def test_a_line_that_changed_is_named_and_nothing_after_it_written(tmp_path, paths):
    content = paths[0].read_bytes()
    with DocumentStore() as store:
        plan = plan_of(paths, store)
        emitted(plan)  # opens the file, so that its identity is not looked at again
        with paths[0].open("r+b") as stream:
            stream.seek(content.index(b"a77 "))
            stream.write(b"A")
        offset = content.rindex(b"\n", 0, content.index(b"a77 ")) + 1
        with pytest.raises(SeaError, match=rf"a\.jsonl changed while it was mixed \(at byte {offset:,}\)"):
            emitted(plan)


def test_an_error_of_the_stream_is_the_caller_s(paths):
    class Closed(io.BytesIO):
        def write(self, data):
            raise BrokenPipeError

    with DocumentStore() as store, pytest.raises(BrokenPipeError):
        emit(plan_of(paths, store), Closed(), quiet=True)
