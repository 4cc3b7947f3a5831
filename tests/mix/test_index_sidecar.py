"""What one reading of a file found is found again by the next, unless the file or what counts it is another."""

from __future__ import annotations

import gzip
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from mix_sources import index_of, write_records

from seatools.mix import document_store, index_sidecar, source_reading
from seatools.mix.document_store import DocumentStore
from seatools.mix.index_sidecar import Sidecars
from seatools.streams.errors import SeaError
from seatools.streams.inputs import expand
from seatools.streams.records import Rejects
from seatools.text.documents import load_documents

COLUMNS = ("offsets", "lengths", "hashes", "num_bytes", "num_tokens", "num_targets", "lang_ids")


@pytest.fixture(scope="module")
def documents(byte_tokenizer):
    return load_documents(byte_tokenizer)


@pytest.fixture
def count_nothing(monkeypatch):
    """From here on a file that is read and counted is an error."""

    def refuse(*arguments, **named):
        raise AssertionError("a file was read again")

    def arm():
        monkeypatch.setattr(source_reading, "_require_no_template", refuse)
        monkeypatch.setattr(source_reading, "count_records", refuse)

    return arm


def build(path, documents, sidecars, rejects=None, **options):
    """(columns, lines, langs, warnings) of a source."""
    with DocumentStore() as store:
        index = index_of(path, store, rejects, documents=documents, sidecars=sidecars, **options)
        lines = [index.line(doc) for doc in range(len(index))]
        columns = {name: getattr(index, name).tolist() for name in COLUMNS}
        return columns, lines, list(index.langs), index.warnings()


def hidden(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name.endswith(".sea-index"))


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.txt", "a.txt.gz"])
def test_the_second_reading_finds_the_same_without_counting(tmp_path, documents, count_nothing, name):
    import zstandard

    texts = ["one", "zwei drei", "สาม", "e\u0302\u0301"]
    plain = ("\n\n".join(texts) if ".txt" in name else "").encode()
    content = plain or b"\xef\xbb\xbf" + write_records(tmp_path / "x", texts, lang="th").read_bytes()
    (tmp_path / "x").unlink(missing_ok=True)
    compress = {".gz": gzip.compress, "zst": zstandard.compress}.get(name[-3:], bytes)
    (tmp_path / name).write_bytes(compress(content))
    first = build(tmp_path / name, documents, Sidecars(documents))
    assert len(hidden(tmp_path)) == 1
    count_nothing()
    assert build(tmp_path / name, documents, Sidecars(documents)) == first
    assert first[0]["num_tokens"][0] == len("one") + 2 and first[3]


def test_the_files_of_a_source_keep_indexes_of_their_own(tmp_path, documents, count_nothing):
    for i in range(5):
        write_records(tmp_path / f"{i}.jsonl", [f"{i} {'x' * j}" for j in range(i)], lang=f"l{i % 3}")
    first = build(tmp_path, documents, Sidecars(documents))
    assert len(hidden(tmp_path)) == 5
    (tmp_path / hidden(tmp_path)[2]).unlink()
    assert build(tmp_path, documents, Sidecars(documents)) == first
    assert [first[2][i] for i in first[0]["lang_ids"]] == [f"l{i % 3}" for i in range(5) for _ in range(i)]
    count_nothing()
    assert build(tmp_path, documents, Sidecars(documents)) == first


def test_an_index_is_no_input(tmp_path, documents):
    path = write_records(tmp_path / "a.jsonl", ["one"])
    build(path, documents, Sidecars(documents))
    assert hidden(tmp_path) == [f".a.jsonl.{Sidecars(documents).key[:12]}.sea-index"]
    assert expand(str(tmp_path)) == expand(f"{tmp_path}/*") == [str(path)]


def test_a_file_of_another_size_is_counted_again(tmp_path, documents):
    path = write_records(tmp_path / "a.jsonl", ["one"])
    build(path, documents, Sidecars(documents))
    write_records(path, ["one", "two"])
    assert build(path, documents, Sidecars(documents))[0]["num_bytes"] == [3, 3]
    assert len(hidden(tmp_path)) == 1


def test_a_file_of_the_same_size_is_judged_by_its_content(tmp_path, documents, count_nothing):
    path = write_records(tmp_path / "a.jsonl", ["one\u0e01"])
    first = build(path, documents, Sidecars(documents))
    write_records(path, ["oneabc"])
    second = build(path, documents, Sidecars(documents))
    assert second != first and second[0]["hashes"] != first[0]["hashes"]
    os.utime(path, ns=(1, 1))
    before = (tmp_path / hidden(tmp_path)[0]).read_bytes()
    count_nothing()
    assert build(path, documents, Sidecars(documents)) == second
    assert (tmp_path / hidden(tmp_path)[0]).read_bytes() != before  # knows the new time, and need not read the file

    def refuse(path):
        raise AssertionError("the file was read again")

    index_sidecar.sha256_file, kept = refuse, index_sidecar.sha256_file
    try:
        assert build(path, documents, Sidecars(documents)) == second
    finally:
        index_sidecar.sha256_file = kept


def test_a_change_that_nothing_about_the_file_shows_is_found_when_the_line_is_read(tmp_path, documents, monkeypatch):
    path = write_records(tmp_path / "a.jsonl", ["one", "two"])
    for module in (index_sidecar, document_store):
        monkeypatch.setattr(module, "identity_of", lambda path: (30, 0, 0, 0))
    build(path, documents, Sidecars(documents))
    with path.open("r+b") as stream:
        stream.seek(-6, os.SEEK_END)
        stream.write(b"2")
    with pytest.raises(SeaError, match=r"a\.jsonl changed while it was mixed \(at byte 15\)"):
        build(path, documents, Sidecars(documents))


def test_another_tokenizer_template_or_pattern_is_another_index(tmp_path, documents, byte_tokenizer, template_path):
    path = write_records(tmp_path / "a.jsonl", ["one"])
    chat = load_documents(byte_tokenizer, chat_template=template_path)
    without_eos = load_documents(byte_tokenizer, add_eos=False)
    keys = {
        sidecars.key
        for sidecars in (
            *map(Sidecars, (None, documents, chat, without_eos)),
            Sidecars(documents, pattern="x"),
        )
    }
    assert len(keys) == 5
    for each in (None, documents, chat):
        build(path, each, Sidecars(each))
    assert len(hidden(tmp_path)) == 3


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text", "metadata"])
def test_a_damaged_index_is_told_of_and_made_again(tmp_path, documents, damage):
    path = write_records(tmp_path / "a.jsonl", ["one", "two"])
    first = build(path, documents, Sidecars(documents))
    (name,) = hidden(tmp_path)
    whole = (tmp_path / name).read_bytes()
    bad = {
        "cut": whole[:-3],
        "flip": whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:],
        "empty": b"",
        "text": b"not an index at all",
        "metadata": whole.replace(b'"sampled\\": 2', b'"sampled\\": 3'),
    }[damage]
    assert bad != whole
    (tmp_path / name).write_bytes(bad)
    said: list[str] = []
    assert build(path, documents, Sidecars(documents, warn=said.append)) == first
    assert len(said) == 1 and "a damaged index" in said[0] and name in said[0]
    assert (tmp_path / name).read_bytes() == whole


def rejects_of(path, documents, sidecars, on_error="quarantine"):
    """(counts, first, quarantined lines) and what was built."""
    quarantine = io.BytesIO()
    rejects = Rejects(on_error, quarantine)
    built = build(path, documents, sidecars, rejects)
    return rejects.counts, rejects.first, quarantine.getvalue(), built


def test_refused_lines_come_out_again(tmp_path, documents, count_nothing):
    bad = [b'{"text": 3}', b"{", b'{"text":"\xff"}', b'{"text":"a"}', b'{"messages": []}', b"\0", b'{"text":"b"}']
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(bad))
    (tmp_path / "b.jsonl").write_bytes(b'{"text":"c"}\n[]\n')
    first = rejects_of(tmp_path, documents, Sidecars(documents))
    assert first[0].total() == 6 and first[2].count(b"\n") == 6
    count_nothing()
    assert rejects_of(tmp_path, documents, Sidecars(documents)) == first
    counted = rejects_of(tmp_path, documents, Sidecars(documents), "skip")
    assert counted[:2] == first[:2] and counted[3] == first[3]
    with pytest.raises(SeaError) as caught:
        rejects_of(tmp_path, documents, Sidecars(documents), "fail")
    with pytest.raises(SeaError) as without:
        rejects_of(tmp_path, documents, None, "fail")
    assert caught.value.report() == without.value.report()


def test_rejects_come_in_the_order_of_lines_whatever_finds_them(tmp_path, byte_tokenizer, template_path):
    documents = load_documents(byte_tokenizer, chat_template=template_path)
    untrained = b'{"messages": [{"role": "user", "content": "q"}]}'  # found when it is encoded, "[]" when it is parsed
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([untrained, b"[]", b'{"text":"a"}'] * 3))
    quarantined = rejects_of(tmp_path / "a.jsonl", documents, None)[2]
    assert [int(row.split(b'"line":')[1].split(b",")[0]) for row in quarantined.splitlines()] == [1, 2, 4, 5, 7, 8]


def test_too_much_refused_gives_no_index(tmp_path, documents, monkeypatch):
    monkeypatch.setattr(source_reading, "MAX_REJECTED_BYTES", 10)
    (tmp_path / "a.jsonl").write_bytes(b'[]\n["a long one"]\n[]\n{"text":"a"}\n')
    counts, _, quarantined, _ = rejects_of(tmp_path / "a.jsonl", documents, Sidecars(documents))
    assert counts.total() == quarantined.count(b"\n") == 3 and hidden(tmp_path) == []


def test_a_limit_neither_writes_nor_reads_indexes(tmp_path, documents):
    path = write_records(tmp_path / "a.jsonl", ["one", "two", "three"])
    assert len(build(path, documents, Sidecars(documents), limit=2)[1]) == 2 and hidden(tmp_path) == []
    build(path, documents, Sidecars(documents))
    assert len(build(path, documents, Sidecars(documents), limit=2)[1]) == 2


def test_indexes_go_into_a_folder_of_their_own(tmp_path, documents, count_nothing):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        write_records(tmp_path / folder / "a.jsonl", [folder])
    sidecars = Sidecars(documents, folder=tmp_path / "indexes")
    first = [build(tmp_path / folder / "a.jsonl", documents, sidecars) for folder in ("x", "y")]
    assert hidden(tmp_path / "x") == [] and len(hidden(tmp_path / "indexes")) == 2
    count_nothing()
    assert [build(tmp_path / folder / "a.jsonl", documents, sidecars) for folder in ("x", "y")] == first


def test_a_place_that_cannot_be_written_is_told_of_once(tmp_path, documents):
    for i in range(3):
        write_records(tmp_path / f"{i}.jsonl", ["one"])
    (tmp_path / "file").write_bytes(b"")
    said: list[str] = []
    columns = build(f"{tmp_path}/*.jsonl", documents, Sidecars(documents, folder=tmp_path / "file", warn=said.append))
    assert len(columns[1]) == 3 and len(said) == 1 and "no index is kept" in said[0]


def test_two_at_once_leave_one_good_index(tmp_path, documents):
    path = write_records(tmp_path / "a.jsonl", [f"text {i}" for i in range(200)])
    with ThreadPoolExecutor(4) as pool:
        built = list(pool.map(lambda _: build(path, documents, Sidecars(documents)), range(8)))
    assert all(each == built[0] for each in built) and os.listdir(tmp_path).count("a.jsonl") == 1
    assert len(os.listdir(tmp_path)) == 2  # no debris
    assert build(path, documents, Sidecars(documents, warn=pytest.fail)) == built[0]


def test_the_same_file_gives_the_same_bytes(tmp_path, documents):
    path = write_records(tmp_path / "a.jsonl", [f"text {i}" for i in range(3000)])
    contents = []
    for workers in (1, 3):
        build(path, documents, Sidecars(documents), workers=workers)
        contents.append((tmp_path / hidden(tmp_path)[0]).read_bytes())
        (tmp_path / hidden(tmp_path)[0]).unlink()
    assert contents[0] == contents[1]


def test_the_columns_of_one_file_are_a_memory_map(tmp_path, documents):
    path = write_records(tmp_path / "a.jsonl", ["one", "two"])
    build(path, documents, Sidecars(documents))
    with DocumentStore() as store:
        index = index_of(path, store, documents=documents, sidecars=Sidecars(documents))
        for name in COLUMNS:
            base = getattr(index, name)
            while base.base is not None and not isinstance(base, np.memmap):
                base = base.base
            assert isinstance(base, np.memmap), name
        assert index.files.strides == (0,)


def test_a_read_only_folder_is_left_alone_also_by_root_and_another_gets_its_index(tmp_path, documents):
    told: list[str] = []
    sidecars = Sidecars(documents, warn=told.append)
    for name in ("closed", "open"):
        (tmp_path / name).mkdir()
        for file in ("a", "b"):
            write_records(tmp_path / name / f"{file}.jsonl", ["one"])
    (tmp_path / "closed").chmod(0o555)
    for name in ("closed", "open"):
        for file in ("a", "b"):
            build(tmp_path / name / f"{file}.jsonl", documents, sidecars)
    (tmp_path / "closed").chmod(0o755)
    assert hidden(tmp_path / "closed") == [] and len(hidden(tmp_path / "open")) == 2
    assert len(told) == 1 and "closed (read-only)" in told[0] and "--index-dir" in told[0]


def test_an_edit_in_place_with_the_old_time_put_back_is_seen(tmp_path, documents):
    path = write_records(tmp_path / "a.jsonl", ["mango", "mango"])
    build(path, documents, Sidecars(documents))
    before = path.stat()
    with path.open("r+b") as stream:
        stream.write(path.read_bytes().replace(b"mango", b"tango"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size and path.stat().st_mtime_ns == before.st_mtime_ns
    assert build(path, documents, Sidecars(documents))[1] == [b'{"text":"tango"}'] * 2
