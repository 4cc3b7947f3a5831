"""Rows made up for the golden prompts of built-in tasks: no data set's, two of each shape (the second is the shot)."""

from __future__ import annotations

from typing import Any

from seatools.eval.sources import Source
from seatools.streams.records import Record, dump


def source(*rows: dict[str, Any], lang: str = "en", path: str = "data.jsonl") -> Source:
    """Rows as `--data LANG=data.jsonl` gives them."""
    return Source(lang, (path,), [Record(dump(row), row, path, line) for line, row in enumerate(rows, 1)])


OPTIONS = {"option_a": "red", "option_b": "green", "option_c": "blue", "option_d": "a colour"}
BELEBELE = {"flores_passage": "The cat sat.", "mc_answer1": "A dog", "mc_answer2": "A cat", "mc_answer3": "A hat",
            "mc_answer4": "No one", "link": "https://example.org/a", "question_number": 1}  # fmt: skip

ROWS: dict[str, list[dict[str, Any]]] = {
    "perplexity": [{"text": " แมวอยู่บนเสื่อ\n"}],
    "tokenizer": [{"text": " แมวอยู่บนเสื่อ\n"}],
    "xcopa": [
        {"premise": "The man fell.", "choice1": "He cried.", "choice2": "He slept.", "question": "effect", "label": 0},
        {"premise": "雨。", "choice1": "Élan.", "choice2": "ก.", "question": "cause", "label": "1"},
    ],
    "belebele": [
        BELEBELE | {"question": "Who sat?", "correct_answer_num": "2"},
        BELEBELE | {"question": "What sat?", "correct_answer_num": 1, "question_number": 2},
    ],
    "mmlu": [
        {"question": "Sky?", **OPTIONS, "answer": "C", "subject": "colours"},
        {"question": "Grass?", **OPTIONS, "answer": "b", "subject": "colours"},
    ],
    "sib200": [{"text": "A team won.", "label": "sports"}, {"text": "A vote.", "category": "politics"}],
    "choice": [
        {"question": "2 + 2?", "choices": ["three", "four"], "answer": 1},
        {"question": "1 + 1?", "choices": ["two", "one"], "answer": "A"},
    ],
    "m3exam": [
        {"question_text": "Which?", "background_description": ["One.", "Two."], "options": ["๑. ก", "๒. ข", "๓. ค"],
         "answer_text": "3", "level": "low", "subject_category": "language"},
        {"question_text": "Who?", "background_description": [], "options": ["A. me", "B. you"],
         "answer_text": "B", "level": "low", "subject_category": "language"},
    ],
    "seaexam": [
        {"question": "Sky?", "choices": ["red", "green", "blue", "grey"], "answer": 2,
         "metadata": {"subject": "natural-science"}},
        {"question": "Grass?", "choices": ["red", "green", "blue", "grey"], "answer": 1,
         "metadata": {"subject": "natural-science"}},
    ],
    "xquad": [
        {"id": "a", "context": "Ann has 3 cats.", "question": "How many cats?", "answers": ["3", "3 cats"]},
        {"id": "b", "context": "Bob ran.", "question": "Who ran?", "answers": {"text": ["Bob"], "answer_start": [0]}},
    ],
    "nusax": [{"id": "1", "text": "Good food.", "label": "positive"}, {"id": "2", "text": "Bad.", "label": "negative"}],
    "mgsm": [{"id": 1, "question": "2 and 3 apples?", "answer_number": "5"}],
    "translation": [
        {"prompt": "dog =", "reference": "หมา"},
        {"prompt": " cat = ", "reference": "แมว"},
    ],
    "searefuse": [
        {"question": "Who is Zorblax?", "answerable": False}, {"prompt": "Who is Ann?", "label": "answerable"},
    ],
    "multijail": [{"id": 0, "source": "made up", "tags": [], **{lang: f"Bad wish in {lang}" for lang in (
        "en", "zh", "it", "vi", "ar", "ko", "th", "bn", "sw", "jv")}}],
    "seabench": [{"unit_id": "th_1", "lang": "th", "type": "math", "user_1": "1 + 1?", "user_2": "And 2 + 2?",
                  "reference_1": "2", "reference_2": "4"}],
}  # fmt: skip

LINES = {"en": ["A dog.", "A cat."], "th": ["หมา", "แมว"], "vi": ["Con chó.", "Con mèo."]}
