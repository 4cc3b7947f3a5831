"""What built-in tasks ask, to the byte: golden prompts of made-up rows, for every task, language, variant, and shots.

A change of a prompt makes all earlier scores of a task incomparable. If it is wanted, change task_prompts.json too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_rows import LINES, ROWS, source

from seatools.eval.items import ChoiceItem, GenerationItem, JudgeItem, PerplexityItem
from seatools.eval.judge_prompts import judge_messages
from seatools.eval.read_items import read_items
from seatools.eval.task_file import builtin_names, load_task

GOLDEN = Path(__file__).with_name("task_prompts.json")


def cases() -> Iterator[tuple[str, str, int, str]]:
    """(task with its variant, language, shots, "chat" or "text")."""
    for name in builtin_names():
        for variant in ("", *load_task(name).variants):
            task = load_task(f"{name}:{variant}" if variant else name)
            languages = list(task.words) or ["th"]
            if task.type == "translation":
                languages = ["en-th"]
            can_have_shots = task.takes_shots and len(ROWS.get(name, "12")) > 1
            for lang in languages:
                for shots in (0, 1) if can_have_shots or name == "mgsm" else (0,):
                    yield task.name, lang, shots, "text"
            if task.type not in ("perplexity", "tokenizer", "judge"):
                yield task.name, languages[0], int(can_have_shots or name == "mgsm"), "chat"


def asked(name: str, lang: str, shots: int, form: str) -> dict[str, Any]:
    """The item that the task makes of its first row (lines), as JSON values."""
    task = load_task(name)
    if task.type == "translation":
        pair = lang.split("-")
        data = [source(*({"text": text} for text in LINES[one][:1]), lang=one, path=f"{one}.txt") for one in pair]
        solved = [source(*({"text": text} for text in LINES[one][1:]), lang=one, path=f"{one}.txt") for one in pair]
        pairs = [(pair[0], pair[1])]
    else:
        rows = ROWS[name.partition(":")[0]]
        data, pairs = [source(rows[0], lang=lang)], None
        if task.name == "mgsm":
            words = task.words[lang]
            text = {"question": f"{words['question']}1 and 1?", "answer": f"{words['steps']} 1 + 1 = 2."}
            solved = [source(text, lang=lang)]
        else:
            solved = [source(rows[-1], lang=lang, path="shots.jsonl")]
    (item,) = read_items(task, data, solved, num_shots=shots, chat=form == "chat", pairs=pairs)
    if isinstance(item, PerplexityItem):
        return {"text": item.text}
    if isinstance(item, JudgeItem):
        answers = ["two", "four"]
        judged = [judge_messages(task, item, turn, answers[: turn + 1]) for turn in range(2)]
        return {"messages": item.messages(("two",)), "judged": judged}
    if isinstance(item, ChoiceItem):
        return {"prompt": item.prompt, "delimiter": item.delimiter, "choices": item.choices, "gold": item.gold}
    assert isinstance(item, GenerationItem)
    return {"prompt": item.prompt, "stop": item.stop, "expected": dict(item.expected), "scoring": item.scoring}


def _golden() -> dict[str, Any]:
    return json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_every_case_has_its_golden_prompt():
    assert {"|".join(map(str, case)) for case in cases()} == set(_golden())


@pytest.mark.parametrize("name", builtin_names())
def test_prompts_are_the_golden_ones(name):
    golden = _golden()
    for case in cases():
        if case[0].partition(":")[0] == name:
            assert json.loads(json.dumps(asked(*case))) == golden["|".join(map(str, case))], case
