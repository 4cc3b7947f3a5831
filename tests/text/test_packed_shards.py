"""Several packed files read as one."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from seatools.streams.errors import SeaError
from seatools.text.documents import TokenizedDoc
from seatools.text.packed import PackedData, write_packed
from seatools.text.packed_shards import PART_NAME, part_note, read_packed_files, shard_paths
from seatools.text.packing import pack

OPTIONS = {"row_length": 4, "tokenizer_digest": "aa11", "sources": ["en", "ไทย"]}


def write(path, *lengths, **options):
    docs = [TokenizedDoc(np.arange(n, dtype=np.uint32) + 10 * n, np.ones(n, np.uint8)) for n in lengths]
    write_packed(path, pack(lengths, 4), docs, [0] * len(docs), **(OPTIONS | options))
    return path


def test_rows_are_counted_on(tmp_path):
    paths = [write(tmp_path / "a", 3, 4), write(tmp_path / "b"), write(tmp_path / "c", 2, 2, 4)]
    data = read_packed_files(paths)
    shards = [read_packed_files([path]) for path in paths]
    assert all(isinstance(shard, PackedData) for shard in shards)
    rows = [[ids.tolist() for ids, _ in shard.row(i)] for shard in shards for i in range(shard.num_rows)]
    assert [[ids.tolist() for ids, _ in data.row(i)] for i in range(data.num_rows)] == rows
    assert (data.num_rows, data.num_tokens, data.num_targets) == (4, 15, 10)
    assert data.row_length == 4 and data.sources == ["en", "ไทย"]
    for i in (-1, 4):
        with pytest.raises(IndexError):
            data.row(i)


def test_the_digest_is_of_all_files_in_order(tmp_path):
    a, b = write(tmp_path / "a", 3), write(tmp_path / "b", 4)
    assert read_packed_files([a]).digest() == hashlib.sha256(a.read_bytes()).hexdigest()
    assert len({read_packed_files(paths).digest() for paths in ([a], [b], [a, b], [b, a])}) == 4


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"tokenizer_digest": "bb22"}, ["the tokenizer aa11", "the tokenizer bb22"]),
        ({"row_length": 5}, ["rows of 4", "rows of 5"]),
        ({"sources": ["ไทย", "en"]}, ['["en", "ไทย"]', '["ไทย", "en"]']),
    ],
)
def test_files_of_another_mix_are_refused_with_both_names(tmp_path, other, words):
    paths = [write(tmp_path / "a", 3), write(tmp_path / "b", 3, **other)]
    with pytest.raises(SeaError) as caught:
        read_packed_files(paths)
    assert all(word in str(caught.value) for word in (*map(str, paths), *words))


def test_the_tokenizer_is_checked(tmp_path):
    data = read_packed_files([write(tmp_path / "a", 3), write(tmp_path / "b", 3)])
    data.check_tokenizer("aa11")
    with pytest.raises(SeaError, match="packed with the tokenizer aa11, but this one is cc33"):
        data.check_tokenizer("cc33")


def test_a_folder_without_parts_has_none(tmp_path):
    write(tmp_path / "model.safetensors", 3)
    assert shard_paths(tmp_path) == []


@pytest.fixture
def parts(tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    return [write(folder / f"part-0000{i}.safetensors", 3, extra=part_note(i, 4)) for i in range(4)]


def test_the_parts_of_a_folder_are_all_there(parts):
    folder = parts[0].parent
    assert shard_paths(folder) == list(map(str, parts))
    for missing in (3, 0, 2):  # the last one too, which leaves no gap
        parts[missing].rename(folder / "away")
        with pytest.raises(SeaError, match=rf"part-0000{missing}\.safetensors is missing: 3 of 4 packed parts"):
            shard_paths(folder)
        (folder / "away").rename(parts[missing])


def test_parts_of_two_folders_and_renamed_ones_are_refused(parts):
    folder = parts[0].parent
    parts[3].unlink()
    write(parts[3], 3, extra=part_note(3, 5))
    with pytest.raises(SeaError, match=r"part-00000\.\S+ is one of 4 parts, \S+part-00003\.\S+ one of 5"):
        shard_paths(folder)
    parts[2].rename(parts[3])
    with pytest.raises(SeaError, match=r"part-00003\.safetensors: this is part 2 of 4 under another name"):
        shard_paths(folder)
    parts[3].unlink()
    write(parts[2], 3)
    with pytest.raises(SeaError, match=r"part-00002\.safetensors: it does not say which of how many parts it is"):
        shard_paths(folder)


def test_parts_come_in_the_order_of_their_numbers(tmp_path, monkeypatch):
    import seatools.text.packed_shards as module

    names = [f"{PART_NAME.format(number)}.safetensors" for number in range(99_998, 100_002)]
    for name in names:
        (tmp_path / name).touch()
    # Four of the 100,002 files, counted from 99,998 on.
    notes = {name: part_note(99_998 + i, 4) for i, name in enumerate(names)}
    monkeypatch.setattr(module, "read_header", lambda path: ({}, notes[path.name], 0))
    assert shard_paths(tmp_path) == [str(tmp_path / name) for name in names]
