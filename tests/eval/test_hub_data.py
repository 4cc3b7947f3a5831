"""`--hf`: what the package `datasets` is asked for, and, where it is installed, real repositories in local folders."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from seatools.eval.hub_data import read_hub
from seatools.eval.read_items import read_items
from seatools.eval.task_file import load_task
from seatools.streams.errors import SeaError, UsageError


class Hub(types.ModuleType):
    """Stands in for the package `datasets`."""

    def __init__(self, rows: list[dict] | Exception) -> None:
        super().__init__("datasets")
        self.rows, self.calls = rows, []

    def disable_progress_bars(self) -> None:
        pass

    def load_dataset(self, path: str, config: str | None, split: str) -> list[dict]:
        self.calls.append((path, config, split))
        if isinstance(self.rows, Exception):
            raise self.rows
        return self.rows


XCOPA = {"premise": "x.", "choice1": "a", "choice2": "b", "question": "cause", "label": 1, "idx": 0}


def test_the_hub_is_asked_by_language_and_split(monkeypatch):
    hub = Hub([XCOPA])
    monkeypatch.setitem(sys.modules, "datasets", hub)
    task = load_task("xcopa")
    found = read_items(task, read_hub(task, ["th", "vi"]))
    read_hub(task, ["th"], shots=True)
    read_hub(load_task("belebele"), ["km", "fra_Latn"], path="own/belebele")
    assert [item.where for item in found] == ["hf:cambridgeltl/xcopa/th/test:1", "hf:cambridgeltl/xcopa/vi/test:1"]
    assert hub.calls == [
        ("cambridgeltl/xcopa", "th", "test"), ("cambridgeltl/xcopa", "vi", "test"),
        ("cambridgeltl/xcopa", "th", "validation"), ("own/belebele", "khm_Khmr", "test"),
        ("own/belebele", "fra_Latn", "test"),
    ]  # fmt: skip


def test_what_the_hub_does_not_have_is_an_error_in_a_line(monkeypatch):
    task = load_task("xcopa")
    monkeypatch.setitem(sys.modules, "datasets", Hub(ValueError("Unknown split\nmany lines")))
    with pytest.raises(SeaError, match="the hub gives no rows: Unknown split$|Unknown split") as caught:
        read_hub(task, ["th"])
    assert "\n" not in caught.value.what and caught.value.where == "hf:cambridgeltl/xcopa/th/test"
    monkeypatch.setitem(sys.modules, "datasets", Hub([]))
    with pytest.raises(SeaError, match="no records"):
        read_hub(task, ["th"])
    with pytest.raises(UsageError, match="names no data set on the hub"):
        read_hub(load_task("choice"), ["th"])
    with pytest.raises(UsageError, match="no split for shots"):
        read_hub(load_task("belebele"), ["th"], shots=True)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(SeaError, match="needs datasets"):
        read_hub(task, ["th"])


def test_of_a_set_that_holds_all_languages_those_of_others_are_left_out(monkeypatch):
    row = {"unit_id": 1, "type": "math", "user_1": "a", "user_2": "b", "reference_1": "c", "reference_2": "d"}
    hub = Hub([row | {"lang": "th"}, row | {"lang": "vi", "unit_id": 2}, row | {"lang": "th", "unit_id": 3}])
    monkeypatch.setitem(sys.modules, "datasets", hub)
    thai, vietnamese = read_hub(load_task("seabench"), ["th", "vi"])
    assert [[record.value["unit_id"] for record in one.records] for one in (thai, vietnamese)] == [[1, 3], [2]]
    with pytest.raises(SeaError, match='no rows of the language "id"; there are th, vi'):
        read_hub(load_task("seabench"), ["id"])


@pytest.fixture(params=["parquet"])
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A data set as it lies on the hub: languages as configurations, splits as files, in a local folder."""
    datasets = pytest.importorskip("datasets", reason="needs the package datasets")
    datasets.disable_progress_bars()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "set"
    configs = ""
    for lang, texts in {"th": ("แมว", "ปลา"), "id": ("kucing", "ikan")}.items():
        rows = [
            {"premise": f"{texts[0]} {number}.", "choice1": "A", "choice2": texts[1], "question": "cause",
             "label": number % 2, "idx": number}
            for number in range(4)
        ]  # fmt: skip
        (folder / lang).mkdir(parents=True)
        for split, own in (("validation", rows[3:]), ("test", rows[:3])):
            table = datasets.Dataset.from_list(own)
            if request.param == "parquet":
                table.to_parquet(folder / lang / f"{split}-00000-of-00001.parquet")
            else:
                table.to_json(folder / lang / f"{split}.jsonl", force_ascii=False)
        configs += f"""- config_name: {lang}
  data_files:
  - {{split: validation, path: {lang}/validation*}}
  - {{split: test, path: {lang}/test*}}
"""
    (folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\n# made up\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("hub", ["parquet", "jsonl"], indirect=True)
def test_rows_of_a_repository_are_read_by_language_and_split(hub):
    task = load_task("xcopa")
    thai, indonesian = read_hub(task, ["th", "id"], path=str(hub))
    assert [record.value["premise"] for record in thai.records] == ["แมว 0.", "แมว 1.", "แมว 2."]
    assert thai.records[1].value["label"] == 1 and thai.records[1].where == f"hf:{hub}/th/test:2"
    assert [item.gold for item in read_items(task, [thai, indonesian])] == [0, 1, 0, 0, 1, 0]
    (shots,) = read_hub(task, ["id"], path=str(hub), shots=True)
    assert [record.value["premise"] for record in shots.records] == ["kucing 3."]


def test_what_a_repository_has_not_is_told_in_a_line(hub):
    task = load_task("xcopa")
    with pytest.raises(SeaError, match="BuilderConfig 'vi' not found. Available: .*'th', 'id'") as caught:
        read_hub(task, ["vi"], path=str(hub))
    assert "\n" not in caught.value.what
    (hub / "th" / "test-00000-of-00001.parquet").unlink()
    with pytest.raises(SeaError, match="gives no rows"):
        read_hub(task, ["th"], path=str(hub))
    with pytest.raises(SeaError, match="gives no rows") as caught:
        read_hub(task, ["th"], path=str(hub / "nowhere"))
    assert caught.value.fix == "--data LANG=FILE"


def test_the_command_scores_a_repository_as_it_scores_its_files(sea, model_folder, hub, tmp_path):
    own = tmp_path / "own.toml"
    text = sea("eval", "tasks", "xcopa").stdout.decode().replace('"cambridgeltl/xcopa"', f'"{hub}"')
    own.write_text(text, encoding="utf-8")
    lines = tmp_path / "th.jsonl"
    (thai,) = read_hub(load_task("xcopa"), ["th"], path=str(hub))
    lines.write_bytes(b"\n".join(record.raw for record in thai.records))

    def scores(*more: Any) -> list[tuple[str, str, float]]:
        result = sea("eval", model_folder, own, "--device", "cpu", *more)
        assert result.code == 0, result.stderr
        return [(row["lang"], row["metric"], row["value"]) for row in map(json.loads, result.stdout.splitlines())]

    assert scores("--hf", "th") == scores("--data", f"th={lines}")
    with_shots = scores("--hf", "th,id", "--shots", "1")
    assert [lang for lang, metric, _ in with_shots if metric == "acc"] == ["th", "id", "mean"]
