"""docs/eval-tasks.md: its worked example gives the prompt that it shows, and it names every key and task."""

from __future__ import annotations

import re
from pathlib import Path

from seatools.eval.item_data import read_data
from seatools.eval.read_items import read_items
from seatools.eval.row_shapes import TYPES
from seatools.eval.sources import name_sources
from seatools.eval.task_file import builtin_names, load_task
from seatools.eval.task_keys import ANSWER_FORMS, KEYS, SCORINGS
from seatools.eval.templates import FILTERS
from seatools.streams.records import Rejects

PAGE = Path(__file__).resolve().parents[2] / "docs" / "eval-tasks.md"


def test_the_worked_example_asks_what_the_page_shows(tmp_path):
    page = PAGE.read_text(encoding="utf-8")
    for name, body in re.findall(r"`([\w.-]+)`:\n\n```\w+\n(.*?)```", page, re.DOTALL):
        (tmp_path / name).write_text(body, encoding="utf-8")
    shown = page.partition("```text\n")[2].partition("\n```")[0]
    task = load_task(str(tmp_path / "capitals.toml"))
    data, shots = (
        read_data(name_sources([f"th={tmp_path / name}"]), {}, [task], rejects=Rejects())
        for name in ("th.jsonl", "th-shots.jsonl")
    )
    (item,) = read_items(task, data, shots)
    assert (item.prompt, item.choices, item.gold, item.delimiter) == (shown, ("ก", "ข"), 0, " ")
    (written,) = read_items(load_task(f"{tmp_path / 'capitals.toml'}:write"), data, shots)
    assert (written.prompt, written.stop) == (shown, ("\n",))
    assert written.expected == {"choices": ["เวียงจันทน์", "ฮานอย"], "gold": 0, "labels": ["ก", "ข"]}


def test_the_page_names_every_key_type_scoring_filter_and_task():
    page = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"`(?:\[*)([\w]+)", page)) | set(re.findall(r"^([a-z_]+) =", page, re.MULTILINE))
    named |= {name for found in re.findall(r"`\[\[?([\w.]+)", page) for name in found.split(".")}
    wanted = {key for table in KEYS.values() for key in table} | set(TYPES) | set(ANSWER_FORMS) | set(FILTERS)
    wanted |= {name for names in SCORINGS.values() for name in names} | set(builtin_names())
    assert not wanted - named - {"bits_per_byte", "mark"}
