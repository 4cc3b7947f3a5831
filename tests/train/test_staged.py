"""A schedule that is continued: what is complete is taken only if this command would make the same of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_llama import TEXTS, files_in, read_metrics, write_jsonl

Sea = Callable[..., Any]
SCHEDULE = """
seq-len = 32
batch-size = 2
lr = 1e-3
max-steps = 2
no-plot = true
[[stage]]
name = "rows"
train = "embeddings"
[[stage]]
name = "body"
data = "DATA"
source-lang = "en"
"""


def write_schedule(folder: Path, data: Path, old: str = "", new: str = "") -> Path:
    assert old in SCHEDULE
    path = folder / "run.toml"
    path.write_text(SCHEDULE.replace(old, new).replace("DATA", str(data)), encoding="utf-8")
    return path


def command(model: Path, data: Path, config: Path, out: Path) -> tuple[object, ...]:
    return "train", model, data, "--config", config, "-o", out, "-q", "--eval-data", f"en={data.parent / 'held.jsonl'}"


@pytest.fixture
def done(sea: Sea, model_path: Path, data: Path, tmp_path: Path) -> Path:
    """A complete schedule of two stages."""
    write_jsonl(data.parent / "held.jsonl", TEXTS[:2])
    result = sea(*command(model_path, data, write_schedule(tmp_path, data), tmp_path / "out"))
    assert (result.code, result.stderr) == (0, "")
    return tmp_path / "out"


def test_a_complete_schedule_is_resumed_only_as_it_was(sea: Sea, model_path: Path, data: Path, done: Path) -> None:
    folder, weights = done.parent, (done / "model.safetensors").read_bytes()
    more = write_jsonl(folder / "more.jsonl", [*TEXTS, *TEXTS])
    other = folder / "other"
    shutil.copytree(model_path, other)
    with open(other / "config.json", "a") as stream:
        stream.write("\n")

    def resumed(model: Path, data: Path, *change: str) -> Any:
        return sea(*command(model, data, write_schedule(folder, data, *change), done), "--resume")

    assert resumed(model_path, data).code == 0
    for model, given, change, said in (
        (model_path, data, ("max-steps = 2", "max-steps = 3"), "trained with max-steps 2, now 3"),
        (model_path, data, ("seq-len = 32", "seq-len = 64"), "--seq-len was 32"),
        (model_path, more, (), "DATA was"),
        (other, data, (), "trained with another model"),
        (model_path, data, ('"rows"', '"head"'), "2-body is complete, and stage 1 (head) before it is not"),
    ):
        result = resumed(model, given, *change)
        assert result.code == 2 and said in result.stderr, result.stderr
    assert (done / "model.safetensors").read_bytes() == weights
    shutil.rmtree(done / "stages" / "1-rows")
    assert "before it is not" in resumed(model_path, data).stderr


def test_forgetting_is_measured_from_the_start_of_the_schedule(done: Path) -> None:
    seen = [line for line in read_metrics(done) if line.get("kind") == "eval"]
    assert [line["step"] for line in seen] == [0, 2, 2, 4]
    first, *_, last = (line["en"]["bits_per_byte"] for line in seen)
    assert seen[-1]["forgetting"] == pytest.approx(last / first - 1, rel=1e-9)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('source-lang = "en"', "seq-len = 9999"), "beyond the model's"),
        (('source-lang = "en"', 'train = "layers=7"'), "names layer 7"),
        (('data = "DATA"', 'data = "DATA.bad.jsonl"'), 'field "text" is int'),
    ],
)
def test_what_a_later_stage_cannot_do_is_said_before_the_first(
    sea: Sea, model_path: Path, data: Path, tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    write_jsonl(data.parent / "held.jsonl", TEXTS[:2])
    write_jsonl(tmp_path / f"{data.name}.bad.jsonl", [{"text": 5}])
    config = write_schedule(tmp_path, data, *change)
    before = files_in(tmp_path)
    result = sea(*command(model_path, data, config, tmp_path / "out"))
    assert result.code in (1, 2) and said in result.stderr
    assert files_in(tmp_path) == before and not (tmp_path / "out").exists()


def test_a_schedule_that_fails_before_its_first_step_leaves_nothing(
    sea: Sea, model_path: Path, data: Path, tmp_path: Path
) -> None:
    held = data.parent / "held.jsonl"
    write_jsonl(held, TEXTS[:2])
    with open(held, "a") as stream:
        stream.write("not JSON\n")
    result = sea(*command(model_path, data, write_schedule(tmp_path, data), tmp_path / "out"))
    assert result.code == 1 and "held.jsonl:3" in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_curves_of_a_schedule_are_of_all_its_stages(sea: Sea, model_path: Path, data: Path, tmp_path: Path) -> None:
    """Two stages of two steps: the picture of OUT has four, a stage's own has two."""
    pytest.importorskip("matplotlib")
    write_jsonl(data.parent / "held.jsonl", TEXTS[:2])
    config = write_schedule(tmp_path, data, "no-plot = true\n", "")
    out = tmp_path / "out"
    assert sea(*command(model_path, data, config, out), "--plot", tmp_path / "c.gif").code == 2
    assert sea(*command(model_path, data, config, out), "--plot", out / "all.svg").code == 0
    assert "held-out text" in (out / "all.svg").read_text() and not (out / "curves.png").exists()
    assert sorted(path.name for path in (out / "stages").glob("*/curves.png")) == ["curves.png"] * 2
    assert sea(*command(model_path, data, config, out), "--resume").code == 0
    assert (out / "curves.png").read_bytes() != (out / "stages" / "2-body" / "curves.png").read_bytes()
