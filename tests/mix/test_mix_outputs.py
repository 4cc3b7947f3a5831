"""Shards, folders of parts, and indexes, from the command line."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading

import numpy as np
import orjson
import pytest
import zstandard

from seatools.text.packed import read_packed


@pytest.fixture
def two(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("a", "b"):
        rows = [{"text": f"{name}{i} " + "x" * (i * 7 % 50)} for i in range(200)]
        (folder / f"{name}.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return f"a={folder / 'a.jsonl'}:1", f"b={folder / 'b.jsonl'}:3"


def test_the_shards_one_after_the_other_are_the_whole(sea, tmp_path, two):
    whole = sea("mix", *two, "--unit", "bytes")
    shards = [sea("mix", *two, "--unit", "bytes", "--shard", f"{i}/3") for i in range(3)]
    assert all(shard.code == 0 and shard.stdout for shard in shards)
    assert b"".join(shard.stdout for shard in shards) == whole.stdout
    assert "shard 1/3: " in shards[1].stderr
    out = tmp_path / "1.jsonl"
    sea("mix", *two, "--unit", "bytes", "--shard", "1/3", "-o", out)
    manifest = json.loads((tmp_path / "1.jsonl.manifest.json").read_text())
    assert manifest["outputs"][0]["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    before = len(shards[0].stdout.splitlines())
    assert manifest["counts"]["shard"] == {
        "shard": "1/3", "first": before, "documents": len(shards[1].stdout.splitlines()),
    }  # fmt: skip


def test_packed_shards_hold_the_rows_of_the_whole(sea, tmp_path, two, byte_tokenizer):
    options = [*two, "--tokenizer", byte_tokenizer, "--pack", 64, "--pack-window", 40, "--force"]
    paths = [tmp_path / name for name in ("whole.safetensors", "0.safetensors", "1.safetensors")]
    for path, more in zip(paths, ([], ["--shard", "0/2"], ["--shard", "1/2"]), strict=True):
        assert sea("mix", *options, *more, "-o", path).code == 0
    rows = [
        [[ids.tolist() for ids, _ in data.row(i)] for i in range(data.num_rows)] for data in map(read_packed, paths)
    ]
    assert rows[0] == rows[1] + rows[2] and rows[1] and rows[2]


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.zst"])
def test_a_folder_of_parts(sea, tmp_path, two, suffix):
    whole = sea("mix", *two, "--unit", "bytes").stdout
    out = tmp_path / "parts"
    target = out if suffix == ".jsonl" else out / f"part{suffix}"
    result = sea("mix", *two, "--unit", "bytes", "--shard-size", "2KB", "-o", target)
    assert result.code == 0, result.stderr
    names = sorted(os.listdir(out))
    assert names == [f"part-{i:05}{suffix}" for i in range(len(names))] and len(names) > 3
    parts = [(out / name).read_bytes() for name in names]
    if suffix.endswith(".zst"):
        parts = [zstandard.ZstdDecompressor().decompressobj().decompress(part) for part in parts]
    assert b"".join(parts) == whole and max(map(len, parts)) <= 2000
    manifest = json.loads((tmp_path / "parts.manifest.json").read_text())
    assert [row["path"] for row in manifest["outputs"][0]["files"]] == names
    again = sea("mix", *two, "--unit", "bytes", "--shard-size", "2KB", "-o", target)
    assert again.code == 2 and "exists" in again.stderr


def test_a_folder_of_packed_parts(sea, tmp_path, two, byte_tokenizer):
    options = [*two, "--tokenizer", byte_tokenizer, "--pack", 64, "--pack-window", 40, "--shard-size", "20KB"]
    result = sea("mix", *options, "-o", tmp_path / "parts")
    assert result.code == 0, result.stderr
    assert len(os.listdir(tmp_path / "parts")) > 1
    packed = json.loads((tmp_path / "parts.manifest.json").read_text())["counts"]["packed"]
    rows = [read_packed(path).num_rows for path in sorted((tmp_path / "parts").iterdir())]
    assert packed["rows"] == sum(rows) and packed["parts"] == len(rows)


def test_a_folder_with_the_data_in_it_is_not_replaced(sea, tmp_path, two):
    result = sea("mix", *two, "--unit", "bytes", "--shard-size", "2KB", "-o", tmp_path / "data", "--force")
    assert result.code == 2 and "lies inside" in result.stderr and (tmp_path / "data" / "a.jsonl").exists()


def indexes(folder) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name.endswith(".sea-index")) if folder.exists() else []


def test_indexes_are_kept_beside_the_data_or_where_they_are_wanted(sea, tmp_path, two, byte_tokenizer):
    data, other = tmp_path / "data", tmp_path / "indexes"
    options = ["mix", *two, "--tokenizer", byte_tokenizer]
    none = sea(*options, "--no-index")
    assert indexes(data) == []
    sea(*options, "--dry-run")
    assert indexes(data) == []  # nothing is written
    sea(*options, "--dry-run", "--index-dir", other)
    assert indexes(data) == [] and len(indexes(other)) == 2
    beside = sea(*options)
    assert len(indexes(data)) == 2 and beside.stdout == none.stdout and beside.stderr == none.stderr
    assert sea(*options).stdout == none.stdout
    assert sea(*options, "--index-dir", other).stdout == none.stdout


def test_an_index_spares_the_tokenizer(sea, tmp_path, two, byte_tokenizer, monkeypatch):
    from seatools.mix import source_reading

    options = ["mix", *two, "--tokenizer", byte_tokenizer, "--dry-run", "--json", "--index-dir", tmp_path / "i"]
    first = sea(*options)

    def never(*args, **more):
        raise AssertionError("tokenised again")

    monkeypatch.setattr(source_reading, "count_records", never)
    assert first.code == 0 and sea(*options).stdout == first.stdout
    with (tmp_path / "data" / "a.jsonl").open("ab") as stream:
        stream.write(b'{"text": "new"}\n')
    assert sea(*options).code == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shard", "3/3"], '--shard "3/3" is no shard'),
        (["--shard", "one"], "is no shard"),
        (["--shard-size", "2KB"], "-o FOLDER"),
        (["--shard-size", "2XB", "-o", "x"], "not a size in bytes"),
        (["--index-dir", "x", "--no-index"], "--no-index"),
    ],
)
def test_what_cannot_be_is_refused(sea, two, options, message):
    result = sea("mix", *two, "--unit", "bytes", *options)
    assert result.code == 2 and message in result.stderr and result.stdout == b""


def test_phases_shards_and_parts_come_from_one_schedule(sea, tmp_path, two):
    plan = tmp_path / "mix.toml"
    plan.write_text(
        'unit = "bytes"\nbudget = 4000\n[[phase]]\nshare = 0.5\n[[phase]]\nshare = 0.5\nweights = { a = 1, b = 0 }\n'
    )
    sources = [source.rpartition(":")[0] for source in two]
    whole = sea("mix", *sources, "--plan", plan, "-q").stdout
    shards = [sea("mix", *sources, "--plan", plan, "-q", "--shard", f"{i}/4").stdout for i in range(4)]
    assert b"".join(shards) == whole
    kinds = np.array([json.loads(line)["text"][0] == "a" for line in whole.splitlines()])
    sizes = np.array([len(json.loads(line)["text"]) for line in whole.splitlines()])
    second = np.cumsum(sizes) - sizes >= 2000
    assert kinds[second].all() and not kinds[~second].all()


BROKEN = b"{\n"


@pytest.mark.parametrize("target", ["parts", "parts/part.jsonl.zst"])
@pytest.mark.parametrize(
    "inside",
    [
        ["--dedup", "exact", "--rejects", "parts/rejected.jsonl"],
        ["--on-error", "quarantine", "--quarantine", "parts/sub/../quarantine.jsonl"],
        ["--index-dir", "parts/index"],
        ["--plan", "parts/mix.toml"],
    ],
)
def test_nothing_is_written_into_or_read_from_a_folder_that_is_replaced(
    sea, tmp_path, two, monkeypatch, inside, target
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parts" / "sub").mkdir(parents=True)
    (tmp_path / "parts" / "old").write_bytes(b"kept")
    (tmp_path / "parts" / "mix.toml").write_bytes(b"")
    result = sea("mix", *two, "--unit", "bytes", "--shard-size", "2KB", "-o", target, "--force", *inside)
    assert result.code == 2 and "lies inside parts" in result.stderr and result.stdout == b""
    assert sorted(os.listdir("parts")) == ["mix.toml", "old", "sub"] and indexes(tmp_path / "data") == []


def test_the_quarantine_of_named_parts_stands_beside_the_folder(sea, tmp_path, two):
    (tmp_path / "data" / "c.jsonl").write_bytes(b'{"text": "c"}\n' + BROKEN)
    options = ["--unit", "bytes", "--on-error", "quarantine", "--on-exhaust", "renormalize", "--shard-size", "2KB"]
    result = sea("mix", *two, f"c={tmp_path / 'data' / 'c.jsonl'}", *options, "-o", tmp_path / "p" / "part.jsonl.gz")
    assert result.code == 0, result.stderr
    assert (tmp_path / "p.quarantine.jsonl").read_bytes().count(b"\n") == 1


@pytest.mark.parametrize(
    "name", ["mixed.jsonl", "mixed.jsonl.zst", "a.JSONL.GZ", "x.safetensors", "part.safetensors", "parts.zst", "a.txt"]
)
def test_a_folder_of_parts_is_not_named_like_a_file(sea, tmp_path, two, name):
    result = sea("mix", *two, "--unit", "bytes", "--shard-size", "2KB", "-o", tmp_path / name)
    assert result.code == 2 and f"{name} names a file" in result.stderr and "-o FOLDER" in result.stderr
    assert os.listdir(tmp_path) == ["data"]


def test_packed_parts_are_safetensors(sea, tmp_path, two, byte_tokenizer):
    options = [*two, "--tokenizer", byte_tokenizer, "--pack", 64, "--shard-size", "1MB"]
    result = sea("mix", *options, "-o", tmp_path / "p" / "part.jsonl")
    assert result.code == 2 and "names a file" in result.stderr
    assert sea("mix", *options, "-o", tmp_path / "p" / "part.safetensors").code == 0
    assert os.listdir(tmp_path / "p") == ["part-00000.safetensors"]


def test_rejects_have_a_manifest_also_where_the_mix_goes_to_stdout(sea, tmp_path, two):
    bad = tmp_path / "bad.jsonl"
    with (tmp_path / "data" / "a.jsonl").open("ab") as stream:
        stream.write(b'{"text": "b0 "}\n' * 3)
    result = sea("mix", *two, "--unit", "bytes", "--dedup", "exact", "--rejects", bad)
    assert result.code == 0 and result.stdout and bad.read_bytes().count(b"\n") == 3
    manifest = json.loads((tmp_path / "bad.jsonl.manifest.json").read_text())
    assert manifest["rejects"] == {"exact_duplicate.v1": 3} and manifest["counts"]["cleaning"]["a"]["kept"] == 201
    assert [row["path"] for row in manifest["outputs"]] == [str(bad)] and len(manifest["inputs"]) == 2


def test_what_is_rejected_goes_with_the_first_shard_only(sea, tmp_path, two):
    with (tmp_path / "data" / "a.jsonl").open("ab") as stream:
        stream.write(b'{"text": "b0 "}\n' * 3 + BROKEN)
    bad, broken = tmp_path / "bad.jsonl", tmp_path / "broken.jsonl"
    options = ["--unit", "bytes", "--dedup", "exact", "--rejects", bad]
    options += ["--on-error", "quarantine", "--quarantine", broken]
    manifests = []
    for i in range(3):
        out = tmp_path / f"{i}.jsonl"
        result = sea("mix", *two, *options, "--shard", f"{i}/3", "-o", out)
        assert result.code == 0, result.stderr
        assert ("what is rejected is kept by shard 0/3" in result.stderr) == (i > 0)
        assert (bad.read_bytes().count(b"\n"), broken.read_bytes().count(b"\n")) == (3, 1)
        manifests.append(json.loads((tmp_path / f"{i}.jsonl.manifest.json").read_text()))
    assert all(row["rejects"] == {"broken json": 1, "exact_duplicate.v1": 3} for row in manifests)
    assert [row["counts"]["shard"].get("rejects_kept_by") for row in manifests] == [None, "0/3", "0/3"]
    assert [len(row["outputs"]) for row in manifests] == [2, 1, 1]


def test_a_pipe_is_recorded_with_its_digest(sea, tmp_path, two):
    content = (tmp_path / "data" / "a.jsonl").read_bytes()
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(content))
    writer.start()
    result = sea("mix", f"a={pipe}", two[1], "--unit", "bytes", "-o", tmp_path / "out.jsonl")
    writer.join()
    assert result.code == 0, result.stderr
    first, second = json.loads((tmp_path / "out.jsonl.manifest.json").read_text())["inputs"]
    assert first == {"path": str(pipe), "sha256": hashlib.sha256(content).hexdigest(), "source": "a"}
    assert second["sha256"] == hashlib.sha256((tmp_path / "data" / "b.jsonl").read_bytes()).hexdigest()


def test_the_order_of_a_list_changes_nothing(sea, tmp_path):
    for name in ("c", "a", "b"):
        (tmp_path / f"{name}.jsonl").write_bytes(b"".join(b'{"text": "%s%d"}\n' % (name.encode(), i) for i in range(9)))
    runs = []
    for order in ("abc", "cab", "bca"):
        (tmp_path / "list").write_text("".join(f"{tmp_path / name}.jsonl\n" for name in order))
        for more in ([], ["--dedup", "exact"], ["--dedup", "near"], ["--limit", 12], ["--shuffle", "none"]):
            result = sea("mix", f"s=@{tmp_path / 'list'}", "--unit", "docs", "-q", *more)
            assert result.code == 0, result.stderr
            runs.append(result.stdout)
    assert all(runs) and runs[:5] == runs[5:10] == runs[10:]
    assert [json.loads(line)["text"][0] for line in runs[4].splitlines()] == ["a"] * 9 + ["b"] * 9 + ["c"] * 9


def test_a_disk_that_is_surely_too_small_is_told_before_anything_is_written(
    sea, tmp_path, two, byte_tokenizer, monkeypatch
):
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 10**12, 5))
    packed = ("--tokenizer", byte_tokenizer, "--pack", 16, "--no-index", "--unit", "tokens")
    parts = ("--no-index", "--unit", "docs", "--shard-size", "1KB")
    for words, out in ((("--unit", "docs", "--no-index"), "x.jsonl"), (packed, "x.safetensors"), (parts, "x")):
        result = sea("mix", *two, *words, "-o", tmp_path / out)
        assert result.code == 1 and "bytes, and 5 are free on its disk" in result.stderr
        assert not (tmp_path / out).exists()
    for out in ("x.jsonl.zst", "-"):  # how small it becomes is not known
        assert sea("mix", *two, "--unit", "docs", "--no-index", "-o", tmp_path / out if out != "-" else out).code == 0
