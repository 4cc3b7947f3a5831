"""The samples file: keys, one line a write, torn lines, two writers, shards in any order, and killed runs resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from made_samples import CONFIG, answer, choice, nats, sample

from seatools.eval.results import as_json, collect, scores
from seatools.eval.sample_file import SampleFile
from seatools.eval.samples import UNKEYED, Sample, SampleReader, item_digest, parse_sample, sample_key
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.records import BadRecord

SAMPLES = [choice(0, right=True), answer(1, "คำตอบคือ ๕", "number", reference=5), nats(2, 12.5, 30)]


def write(path: Path, samples: list[Sample]) -> Path:
    with SampleFile(path) as file:
        for one in samples:
            file.append(one)
    return path


def test_a_sample_survives_its_line() -> None:
    for one in SAMPLES:
        assert parse_sample(one.line()) == one
        assert one.line().count(b"\n") == 1


def test_the_key_is_that_of_everything_that_determines_an_answer() -> None:
    item = item_digest({"question": "q"})
    key = sample_key("quiz", "th", item, CONFIG)
    others = {sample_key("quiz2", "th", item, CONFIG), sample_key("quiz", "en", item, CONFIG)}
    others.add(sample_key("quiz", "th", item_digest({"question": "r"}), CONFIG))
    changed = [*CONFIG.keys() - set(UNKEYED), "shots", "max_new_tokens", "dtype"]
    others |= {sample_key("quiz", "th", item, CONFIG | {name: "other"}) for name in changed}
    assert len(others) == 3 + len(changed) and key not in others
    assert key == sample_key("quiz", "th", item, dict(reversed(CONFIG.items())) | {"model": "./elsewhere"})
    assert len(key) == 64


def test_a_config_without_its_digests_has_no_key() -> None:
    with pytest.raises(ValueError, match="template_digest"):
        sample_key("quiz", "th", "i", {name: "x" for name in CONFIG if name != "template_digest"})


def test_repetitions_of_one_item_are_told_apart() -> None:
    assert item_digest(["a"]) != item_digest(["a"], 1)
    assert item_digest({"a": 1, "b": 2}) == item_digest({"b": 2, "a": 1})


def test_appending_and_resuming(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    with SampleFile(path) as file:
        assert [file.append(one) for one in [*SAMPLES, SAMPLES[0]]] == [True, True, True, False]
    with SampleFile(path) as file:
        assert len(file) == 3 and file.cut_off == 0
        assert all(one.key in file for one in SAMPLES) and "other" not in file
    assert list(SampleReader([str(path)])) == SAMPLES


def test_every_line_is_there_before_the_file_is_closed(tmp_path: Path) -> None:
    with SampleFile(tmp_path / "s.jsonl") as file:
        for count, one in enumerate(SAMPLES, 1):
            file.append(one)
            assert len(list(SampleReader([str(tmp_path / "s.jsonl")]))) == count


def test_a_torn_last_line_is_cut_off_at_any_byte(tmp_path: Path) -> None:
    path, whole = tmp_path / "s.jsonl", write(tmp_path / "w.jsonl", SAMPLES[:2]).read_bytes()
    first = whole.index(b"\n") + 1
    for cut in [*range(first, len(whole), 37), len(whole) - 2]:
        path.write_bytes(whole[:cut])
        reader = SampleReader([str(path)])
        assert list(reader) == SAMPLES[:1]
        assert reader.torn == ([str(path)] if cut > first else [])
        with SampleFile(path) as file:
            assert file.cut_off == cut - first
            file.append(SAMPLES[1])
        assert path.read_bytes() == whole
    path.write_bytes(whole[:-1])  # whole but for its line end
    write(path, SAMPLES)
    assert list(SampleReader([str(path)])) == SAMPLES


def test_damage_elsewhere_is_an_error_and_changes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "s.jsonl", SAMPLES)
    damaged = path.read_bytes().replace(b'"kind"', b"kind", 1)
    path.write_bytes(damaged)
    with pytest.raises(BadRecord) as error:
        list(SampleReader([str(path)]))
    assert error.value.where == f"{path}:1"
    with pytest.raises(BadRecord):
        SampleFile(path)
    assert path.read_bytes() == damaged
    path.write_text('{"task": "xcopa", "value": 1}\n')
    with pytest.raises(BadRecord, match="no sample"):
        SampleFile(path)


def test_two_writers_are_refused(tmp_path: Path) -> None:
    with SampleFile(tmp_path / "s.jsonl") as file, pytest.raises(UsageError, match="another run is writing"):
        file.append(SAMPLES[0])
        SampleFile(tmp_path / "s.jsonl")
    write(tmp_path / "s.jsonl", SAMPLES)
    with pytest.raises(UsageError, match="compressed"):
        SampleFile(tmp_path / "s.jsonl.gz")


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, real = tmp_path / "s.jsonl", os.write
    with SampleFile(path) as file:
        file.append(SAMPLES[0])

        def half(descriptor: int, line: bytes) -> int:
            if len(line) < 100:
                raise OSError(28, "No space left on device")
            return real(descriptor, line[: len(line) - 50])

        monkeypatch.setattr(os, "write", half)
        with pytest.raises(OSError, match="No space"):
            file.append(SAMPLES[1])
        monkeypatch.undo()
        assert path.read_bytes() == SAMPLES[0].line()
        file.append(SAMPLES[1])
    assert list(SampleReader([str(path)])) == SAMPLES[:2]


def test_repeated_keys_count_once_and_contradictions_are_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", SAMPLES)
    other = Sample(
        **{name: getattr(SAMPLES[2], name) for name in Sample.__slots__}
        | {"result": {"nats": 9.0, "bytes": 3, "tokens": 1}}
    )
    copy = write(tmp_path / "b.jsonl", [SAMPLES[0], other])
    reader = SampleReader([str(path), str(copy)])
    assert list(reader) == SAMPLES
    assert (reader.repeated, reader.contradicted) == (2, 1)
    assert "another result" in reader.warnings()[0]


@pytest.mark.parametrize(
    ("kind", "result", "message"),
    [
        ("choice", {"logprobs": [-1.0, float("nan")], "bytes": [1, 1], "gold": 0}, "finite"),
        ("choice", {"logprobs": [-1.0], "bytes": [1], "gold": 0}, "two choices"),
        ("choice", {"logprobs": [-1.0, -2.0], "bytes": [1], "gold": 0}, "one number for each"),
        ("choice", {"logprobs": [-1.0, -2.0], "bytes": [1, 0], "gold": 0}, "at least 1"),
        ("choice", {"logprobs": [-1.0, -2.0], "bytes": [1, 1], "gold": 2}, "gold is 2"),
        ("choice", {"logprobs": [-1.0, -2.0], "bytes": [1, 1], "gold": True}, "gold is True"),
        ("generation", {"finish": "stop"}, "text is None"),
        ("generation", {"text": ""}, "finish is None"),
        ("loglikelihood", {"nats": float("inf"), "bytes": 1, "tokens": 1}, "nats is inf"),
        ("loglikelihood", {"nats": 1.0, "bytes": -1, "tokens": 1}, "counts"),
        ("guess", {}, "no kind"),
    ],
)
def test_a_result_without_a_score_is_refused_before_it_is_written(
    tmp_path: Path, kind: str, result: dict[str, Any], message: str
) -> None:
    with SampleFile(tmp_path / "s.jsonl") as file, pytest.raises(SeaError, match=message):
        file.append(sample(kind, "choice", 0, result))
    assert (tmp_path / "s.jsonl").read_bytes() == b""


def test_shards_in_any_order_give_the_same_bytes(tmp_path: Path) -> None:
    many = [choice(n, right=n % 3 > 0, lang=lang) for n in range(40) for lang in ("th", "lo")]
    many += [nats(n, 1.1**n, 10 + n) for n in range(30)]
    many += [answer(n, "แมว" * (n % 4), "chrf", reference="แมวดำ") for n in range(20)]
    orders = [many, many[::-1], many[1::2] + many[::2]]
    bytes_of = []
    for number, order in enumerate(orders):
        shards = [write(tmp_path / f"{number}-{part}.jsonl", order[part::3]) for part in range(3)]
        joined = tmp_path / f"{number}.jsonl"
        joined.write_bytes(b"".join(shard.read_bytes() for shard in shards))
        bytes_of.append(as_json(scores(collect(SampleReader([str(joined)])))))
        bytes_of.append(as_json(scores(collect(SampleReader([str(shard) for shard in shards[::-1]])))))
    assert set(bytes_of) == {bytes_of[0]}
    assert len(orjson.loads(bytes_of[0])) == 2 * 2 + 2 + 1 + 2


WRITER = """
import sys, time
sys.path.insert(0, {folder!r})
from made_samples import choice, nats
from seatools.eval.sample_file import SampleFile
with SampleFile({path!r}) as file:
    for n in range(400):
        for one in (choice(n, right=n % 3 > 0), nats(n, n + 0.1, 20)):
            if one.key not in file:
                file.append(one)
"""


def test_killed_at_random_and_resumed_the_result_is_the_same(tmp_path: Path) -> None:
    """kill -9 while another process writes; then the tail torn at a random byte, as after a crash of the machine."""
    path = tmp_path / "s.jsonl"
    code = WRITER.format(folder=str(Path(__file__).parent), path=str(path))
    run = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 20
    while not (path.exists() and path.stat().st_size > 20_000) and time.monotonic() < deadline:
        time.sleep(0.001)
    run.send_signal(signal.SIGKILL)
    run.wait()
    whole = [one for n in range(400) for one in (choice(n, right=n % 3 > 0), nats(n, n + 0.1, 20))]
    assert 0 < len(list(SampleReader([str(path)]))) <= len(whole)
    expected = as_json(scores(collect(whole)))
    for step in range(20):
        size = path.stat().st_size
        os.truncate(path, size - (step * 131) % min(size, 997))
        write(path, whole[: len(whole) if step == 19 else 40 * step])
    write(path, whole)
    assert as_json(scores(collect(SampleReader([str(path)])))) == expected


def test_the_file_is_read_in_little_memory(tmp_path: Path) -> None:
    import tracemalloc

    path = write(tmp_path / "s.jsonl", [answer(n, "x" * 5000, "exact", reference="x") for n in range(3000)])
    tracemalloc.start()
    groups = collect(SampleReader([str(path)]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(groups[0].items) == 3000
    assert peak < path.stat().st_size / 5


def test_lines_are_plain_json(tmp_path: Path) -> None:
    row = json.loads(write(tmp_path / "s.jsonl", SAMPLES[1:2]).read_text())
    assert list(row) == ["key", "task", "lang", "kind", "scoring", "item", "index", "result", "config"]
    assert row["result"] == {"text": "คำตอบคือ ๕", "finish": "stop", "reference": 5}
