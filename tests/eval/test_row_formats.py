"""How rows of published data sets become questions, on real rows and on broken ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seatools.eval.item import answer_index, letter_index
from seatools.eval.row_formats import FORMATS, recognise
from seatools.streams.records import BadRecord


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    "folder, form, count",
    [
        ("xcopa", "xcopa", 3850),
        ("belebele", "belebele", 1539),
        ("global_mmlu_lite", "mmlu", 3101),
        ("sib200", "sib200", 6120),
    ],
)
def test_every_row_of_the_shared_data_is_recognised_and_read(shared, folder, form, count):
    number = 0
    for path in sorted((shared / "data" / folder).glob("*.jsonl")):
        for row in rows(path):
            assert recognise(row) is FORMATS[form]
            item = FORMATS[form].item(row, path.name[:2])
            assert 0 <= item.answer < len(item.choices)
            number += 1
    assert number == count


def test_xcopa_in_vietnamese_drops_the_full_stop_and_lowers_the_choice():
    row = {"premise": "Tôi ngã.", "choice1": "Tôi khóc.", "choice2": "Tôi cười.", "question": "effect", "label": 0}
    item = FORMATS["xcopa"].item(row, "vi")
    assert (item.prompt, item.choices, item.answer) == ("Tôi ngã vì vậy", ("tôi khóc.", "tôi cười."), 0)


def test_xcopa_in_thai_keeps_the_last_letter_of_the_premise():
    row = {"premise": "ฝนตก", "choice1": "ก", "choice2": "ข", "question": "cause", "label": 1}
    assert FORMATS["xcopa"].item(row, "th").prompt == "ฝนตก เพราะ"


def test_xcopa_in_a_language_without_connectors_says_which_there_are():
    row = {"premise": "x", "choice1": "a", "choice2": "b", "question": "cause", "label": 1}
    with pytest.raises(BadRecord, match='no connectors for the language "und".*et, ht, id'):
        FORMATS["xcopa"].item(row, "und")


def test_belebele_prompt():
    row = {"flores_passage": "P.", "question": "Q?", "correct_answer_num": "3"}
    row |= {f"mc_answer{n}": f"o{n}" for n in range(1, 5)}
    item = FORMATS["belebele"].item(row, "th")
    assert item.prompt == "P: P.\nQ: Q?\nA: o1\nB: o2\nC: o3\nD: o4\nAnswer:"
    assert (item.choices, item.answer) == (("A", "B", "C", "D"), 2)


OPTIONS = {f"option_{letter}": f"o{letter}" for letter in "abcd"}


@pytest.mark.parametrize(
    "row",
    [
        {"prompts": [{"question": "Q?", **OPTIONS}], "label": "C"},
        {"prompts": [{"question": "Q?", **OPTIONS}], "label": "ဂ"},
        {"question": "Q?", **OPTIONS, "answer": "C"},
        {"question": "Q?", "choices": ["oa", "ob", "oc", "od"], "answer": 2},
    ],
)
def test_the_shapes_of_mmlu_give_one_prompt(row):
    item = FORMATS["mmlu"].item(row, "my")
    assert (item.prompt, item.answer) == ("Q?\nA. oa\nB. ob\nC. oc\nD. od\nAnswer:", 2)


def test_sib200_chooses_among_seven_topics():
    item = FORMATS["sib200"].item({"text": "A team won.", "label": "sports"}, "en")
    assert item.prompt.endswith("\nText: A team won.\nTopic:")
    assert (len(item.choices), item.choices[item.answer]) == (7, "sports")


@pytest.mark.parametrize("answer, index", [(1, 1), ("B", 1), ("b", 1), ("dog", 0), (" cat ", 1)])
def test_an_answer_is_an_index_a_letter_or_the_choice(answer, index):
    assert answer_index(answer, ("dog", "cat")) == index


@pytest.mark.parametrize("answer", [2, -1, "C", "bird", None, True, 1.0, ""])
def test_an_answer_that_names_no_choice_is_refused(answer):
    with pytest.raises(BadRecord):
        answer_index(answer, ("dog", "cat"))


def test_an_answer_that_names_two_choices_is_refused():
    with pytest.raises(BadRecord, match="may mean several"):
        answer_index("A", ("B", "A"))


@pytest.mark.parametrize("label", ["E", "", "AB", None, 2])
def test_a_letter_out_of_range_is_refused(label):
    with pytest.raises(BadRecord, match="none of the 4 options A-D"):
        letter_index(label, 4)


@pytest.mark.parametrize(
    "form, row",
    [
        ("xcopa", {"premise": "x", "choice1": "a", "choice2": "", "question": "cause", "label": 1}),
        ("xcopa", {"premise": "x", "choice1": "a", "choice2": "b", "question": "why", "label": 1}),
        ("xcopa", {"premise": "x", "choice1": "a", "choice2": "b", "question": "cause", "label": 2}),
        ("xcopa", {"premise": "x", "choice1": "a", "question": "cause", "label": 1}),
        ("belebele", {"flores_passage": "p", "question": "q", "mc_answer1": "a"}),
        ("mmlu", {"prompts": [], "label": "A"}),
        ("mmlu", {"question": "q", **OPTIONS, "answer": "E"}),
        ("sib200", {"text": "x", "label": "weather"}),
        ("choice", {"question": "q", "choices": ["a"], "answer": 0}),
        ("choice", {"question": "q", "choices": ["a", " "], "answer": 0}),
        ("choice", {"question": "q", "choices": ["a", "b"]}),
    ],
)
def test_broken_rows_are_bad_records(form, row):
    with pytest.raises(BadRecord):
        FORMATS[form].item(row, "th")
