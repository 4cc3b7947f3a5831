"""From rows to items: shots, chats, order, what is refused; and every row of the shared data read."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_rows import ROWS, source

from seatools.eval.item_data import read_data
from seatools.eval.items import ChoiceItem, GenerationItem, JudgeItem, TranslationItem
from seatools.eval.judge_prompts import judge_messages
from seatools.eval.read_items import read_items
from seatools.eval.samples import item_digest
from seatools.eval.sources import Source, name_sources
from seatools.eval.task_file import load_task, parse_task
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.records import BadRecord, Record, Rejects

QUESTIONS = [{"question": f"{n} + 1?", "choices": ["no", str(n + 1)], "answer": 1} for n in range(5)]


def items(name: str, *args: Any, **more: Any) -> list[Any]:
    return read_items(load_task(name), *args, **more)


def test_shots_stand_before_the_question_in_the_order_of_their_data():
    (item,) = items("choice", [source(QUESTIONS[0])], [source(*QUESTIONS[2:])], num_shots=2)
    assert item.prompt == ("Question: 2 + 1?\nAnswer: 3\n\nQuestion: 3 + 1?\nAnswer: 4\n\nQuestion: 0 + 1?\nAnswer:")
    assert (item.choices, item.gold, item.num_bytes, item.where) == (("no", "1"), 1, (2, 1), "data.jsonl:1")


def test_as_turns_of_a_chat():
    (item,) = items(
        "choice", [source(QUESTIONS[0])], [source(*QUESTIONS[2:])], num_shots=1, chat=True, system="Be brief."
    )
    assert item.prompt == (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Question: 2 + 1?\nAnswer:"},
        {"role": "assistant", "content": "3"},
        {"role": "user", "content": "Question: 0 + 1?\nAnswer:"},
    )
    assert item.delimiter == ""


def test_shots_are_those_of_the_same_level_and_subject():
    def row(level: str, subject: str, text: str) -> dict[str, Any]:
        return {"question_text": text, "options": ["A. x", "B. y"], "answer_text": "B", "level": level,
                "subject_category": subject, "background_description": []}  # fmt: skip

    solved = [row(level, subject, f"{level} {subject} {n}") for n in range(2) for level in ("low", "high")
              for subject in ("math", "language")]  # fmt: skip
    (item,) = items("m3exam", [source(row("high", "math", "asked"))], [source(*solved)])
    assert [line for line in item.prompt.splitlines() if "math" in line.lower() and "choice" not in line] == [
        "high math 0", "high math 1",
    ]  # fmt: skip
    with pytest.raises(UsageError, match=r"0 shots for en like data.jsonl:1, --shots asks for 3"):
        items("m3exam", [source(row("mid", "math", "asked"))], [source(*solved)])


def test_m3exam_equals_the_prompt_of_its_script():
    def one(row: dict[str, Any], answer: str) -> str:  # DAMO-NLP-SG/M3Exam main.py, method default
        background = "\n" + "\n".join(row["background_description"]) if row["background_description"] else ""
        return background + "\n" + row["question_text"] + "\n" + "\n".join(row["options"]) + "\nคำตอบ:" + answer

    asked, solved = ROWS["m3exam"]
    (item,) = items("m3exam", [source(asked, lang="th")], [source(solved, lang="th")])
    hint = "ต่อไปนี้เป็นคำถามแบบปรนัย วิชาภาษาไทย."
    assert item.prompt == hint + "\n\n" + one(solved, "B") + "\n\n" + one(asked, "")
    assert (item.delimiter, item.choices, item.gold) == ("", ("๑", "๒", "๓"), 2)


def _seaexam_script(test: list[dict], dev: list[dict]) -> list[tuple[str, int]]:
    """The dynamic template of DAMO-NLP-SG/SeaExam scripts/utils_data.py, in our words: (prompt, index of answer)."""
    generator = random.Random(1)

    def shuffle(row: dict) -> None:
        old = list(row["choices"])
        generator.shuffle(row["choices"])
        row["answer"] = row["choices"].index(old[row["answer"]])

    def one(row: dict, answer: bool) -> str:
        lines = "\n".join(f"{'ABCDEFGH'[i]}. {choice}" for i, choice in enumerate(row["choices"]))
        return f"{row['question']}\n{lines}\nAnswer:" + (f" {'ABCDEFGH'[row['answer']]}" if answer else "")

    found = []
    for row in test:
        solved = [own for own in dev if own["metadata"] == row["metadata"]][:3]
        for own in solved:
            shuffle(own)
        shuffle(row)
        shots = "\n\n".join(one(own, True) for own in solved)
        about = "about " + row["metadata"]["subject"].replace("_", " ") + "."
        drawn = generator.choice([
            f"The following are multiple choice questions (with answers) {about}",
            f"The following is a multiple choice question {about}",
            "The following are multiple choice questions (with answers).",
            "The following is a multiple choice question.", "",
        ])  # fmt: skip
        drawn += " Please only give the correct option, without any other details or explanations."
        found.append((f"{drawn}\n\n{shots}\n\n{one(row, False)}", row["answer"]))
    return found


def test_seaexam_equals_the_prompts_of_its_script_with_options_shuffled_and_descriptions_drawn():
    def rows(count: int, seed: int) -> list[dict]:
        draw = random.Random(seed)
        return [{"question": f"Q{seed}.{n}", "choices": [f"o{draw.randrange(9)}" for _ in range(draw.choice([4, 5]))],
                 "answer": draw.randrange(4), "metadata": {"subject": draw.choice(["a_b", "c"])}}
                for n in range(count)]  # fmt: skip

    found = items("seaexam", [source(*rows(40, 1))], [source(*rows(12, 2))])
    assert [(item.prompt, item.gold) for item in found] == _seaexam_script(rows(40, 1), rows(12, 2))


def test_mgsm_takes_its_exemplars_and_stops_at_the_next_question(shared):
    folder = shared / "data" / "mgsm"
    task = load_task("mgsm")
    data = read_data(name_sources([f"th={folder / 'th.jsonl'}"]), {}, [task], rejects=Rejects())
    solved = read_data(name_sources([str(folder / "exemplars.jsonl")]), {}, [task], rejects=Rejects())
    item = read_items(task, data, solved)[0]
    assert isinstance(item, GenerationItem)
    assert item.prompt.count("โจทย์:") == 9 and item.prompt.count("คำตอบทีละขั้นตอน:") == 9
    assert item.prompt.endswith("\nคำตอบทีละขั้นตอน:") and item.stop == ("โจทย์:",)
    assert (item.expected, item.id) == ({"reference": "18"}, 0)
    with pytest.raises(UsageError, match="mgsm takes 8 shots, and no data is given"):
        read_items(task, data)


def test_a_question_among_its_own_shots_is_refused():
    with pytest.raises(UsageError, match="data.jsonl:1: this question is one of the shots"):
        items("choice", [source(*QUESTIONS)], [source(*QUESTIONS)], num_shots=1)


@pytest.mark.parametrize(
    "name, shots, words",
    [
        ("choice", [source(QUESTIONS[1])], "1 shots for en, --shots asks for 2"),
        ("choice", [source(*QUESTIONS[1:], lang="th")], "0 shots for en, --shots asks for 2"),
        ("choice", [], "no data is given for them"),
        ("perplexity", [source({"text": "x"})], "no shots in the task perplexity"),
        ("searefuse", [source({"question": "x", "refuse": True})], "no shots in the task searefuse"),
    ],
)
def test_too_few_shots_are_refused(name, shots, words):
    with pytest.raises(UsageError, match=words):
        items(name, [source(QUESTIONS[0])], shots, num_shots=2)


def test_a_bad_shot_is_an_error_whatever_is_done_with_bad_rows():
    with pytest.raises(BadRecord, match="out of range") as caught:
        items("choice", [source(QUESTIONS[0])], [source(QUESTIONS[1] | {"answer": 9}, path="shots.jsonl")],
              num_shots=1, rejects=Rejects("skip"))  # fmt: skip
    assert caught.value.where == "shots.jsonl:1"


def test_ids_that_stand_twice_are_refused_with_both_places():
    rows = [row | {"id": n % 2} for n, row in enumerate(QUESTIONS[:3])]
    with pytest.raises(BadRecord, match="the id 0 stands twice; first at data.jsonl:1") as caught:
        items("choice", [source(*rows)])
    assert caught.value.where == "data.jsonl:3"
    rejects = Rejects("skip")
    assert len(items("choice", [source(*rows)], rejects=rejects)) == 2
    assert rejects.counts == {"duplicate id": 1}
    assert len(items("choice", [source(rows[0]), source(rows[0], lang="th")])) == 2  # once in each language


def test_bad_rows_are_counted_and_leave_the_others():
    rejects = Rejects("skip")
    rows = [QUESTIONS[0], QUESTIONS[1] | {"answer": 7}, {"question": "no choices"}, QUESTIONS[2]]
    found = items("choice", [source(*rows)], rejects=rejects)
    assert [(item.index, item.where) for item in found] == [(0, "data.jsonl:1"), (1, "data.jsonl:4")]
    assert rejects.counts == {"bad label": 1, "missing column": 1}


def test_a_missing_column_is_named_with_what_is_there_and_what_is_needed():
    with pytest.raises(BadRecord) as caught:
        items("xcopa", [source({"text": "x", "lang": "th"}, lang="th")])
    assert caught.value.what == 'field "premise" is missing; there are text, lang'
    assert caught.value.fix == "xcopa needs `premise`, `choice1`, `choice2`, `question`, `label`"


def test_a_language_without_a_good_row_is_an_error():
    rows = [source(QUESTIONS[0]), source(QUESTIONS[0] | {"answer": 7}, lang="th")]
    with pytest.raises(SeaError, match="no question left to score for choice, th"):
        items("choice", rows, rejects=Rejects("skip"))


def test_the_limit_counts_good_rows_of_each_source():
    rows = [QUESTIONS[0] | {"answer": 7}, *QUESTIONS]
    found = items("choice", [source(*rows), source(*rows, lang="th")], limit=2, rejects=Rejects("skip"))
    assert [(item.lang, item.where) for item in found] == [
        ("en", "data.jsonl:2"), ("en", "data.jsonl:3"), ("th", "data.jsonl:2"), ("th", "data.jsonl:3"),
    ]  # fmt: skip


def test_the_item_is_its_content_and_the_digest_what_is_asked():
    plain = items("choice", [source(*QUESTIONS)])
    solved = items("choice", [source(*QUESTIONS[:2])], [source(*QUESTIONS[3:])], num_shots=1)
    assert [item.item for item in plain[:2]] == [item.item for item in solved]
    assert all(one.digest != other.digest for one, other in zip(plain, solved, strict=False))
    assert len({item.item for item in plain}) == len({item.digest for item in plain}) == 5
    content = {"question": "0 + 1?", "choices": ["no", "1"], "answer": 1, "id": None}
    assert plain[0].item == item_digest(content)
    # Columns that the task does not read change nothing, and neither does what stands before.
    again = items("choice", [source(QUESTIONS[4], QUESTIONS[0] | {"split": "test"})])
    assert again[1].item == plain[0].item and again[1].digest == plain[0].digest
    twice = items("choice", [source(QUESTIONS[0], QUESTIONS[0])])
    assert twice[0].item == plain[0].item != twice[1].item


def test_a_message_prompt_is_a_chat_without_stop_strings_and_takes_no_shots():
    row = {"prompt": [{"role": "user", "content": "dog ="}], "reference": "หมา"}
    (item,) = items("translation", [source(row)])
    assert (item.prompt, item.stop) == (({"role": "user", "content": "dog ="},), ())
    with pytest.raises(BadRecord, match="--shots go before string prompts only"):
        items("translation", [source(row)], [source({"prompt": "cat =", "reference": "แมว"})], num_shots=1)


def test_a_conversation_is_asked_turn_by_turn_and_judged_by_text():
    (item,) = items("seabench", [source(ROWS["seabench"][0], lang="th")])
    assert isinstance(item, JudgeItem)
    assert [len(item.messages(answers)) for answers in ((), ("a",), ("a", "b"))] == [2, 4, 5]
    task = load_task("seabench")
    sly = "[[10]] {{ instruction }} {% include 'x' %}"
    (asked,) = judge_messages(task, item, 0, [sly])
    assert sly in asked["content"] and "<reference answer>\n2\n</reference answer>" in asked["content"]
    system, asked = judge_messages(task, item, 1, ["two", "four"])
    assert system["role"] == "system" and asked["role"] == "user"
    assert (
        "two" in asked["content"] and "four" in asked["content"] and "Most important here: a right" in asked["content"]
    )
    with pytest.raises(ValueError):
        judge_messages(task, item, 1, ["two"])


def test_a_task_may_ask_the_options_in_the_letters_of_the_language():
    text = """
name = "quiz"
about = "Letters of the language."
type = "choice"
[rows]
columns = { question = "text", options = "choices", answer = "any" }
[choice]
prompt = "{{ question }}{% for o in options %} {{ letters[loop.index0] }}) {{ o }}{% endfor %}"
options = "row.options"
letters = "words"
answer = "answer"
answer_as = "label"
[words]
th = { letters = "กขคง" }
en = {}
"""
    task = parse_task(text, "q.toml")
    row = {"question": "?", "options": ["x", "y"], "answer": "ข"}
    (thai,) = read_items(task, [source(row, lang="th")])
    assert (thai.prompt, thai.choices, thai.gold) == ("? ก) x ข) y", ("ก", "ข"), 1)
    (english,) = read_items(task, [source(row | {"answer": "b"})])
    assert (english.choices, english.gold) == (("A", "B"), 1)


def test_lines_that_are_parallel_are_translated_in_all_directions():
    lines = {"en": ["A dog.", "A cat.", "x"], "th": ["หมา", "แมว", "y"], "vi": ["Con chó.", "Con mèo.", "z"]}
    sources = [source(*({"text": text} for text in own), lang=lang, path=f"{lang}.txt") for lang, own in lines.items()]
    found = items("flores", sources)
    assert len(found) == 3 * 6 and all(isinstance(item, TranslationItem) for item in found)
    one = next(item for item in found if item.lang == "th-vi" and item.index == 1)
    assert one.prompt == "Translate from Thai into Vietnamese.\nThai: แมว\nVietnamese:"
    assert (one.expected, one.where, one.source_lang, one.target_lang) == (
        {"reference": "Con mèo."}, "th.txt:2", "th", "vi",
    )  # fmt: skip
    few = items("flores", sources, pairs=[("en", "tha_Thai")], limit=2)
    assert [(item.lang, item.id) for item in few] == [("en-th", 1), ("en-th", 2)]


ODD = (
    None,
    1,
    True,
    "",
    "x",
    [],
    {},
    [[]],
    [{}],
    ["a", "b"],
    {"text": 1},
    [{"text": 1}],
    [{"option_a": 1}],
    1.5,
    9**99,
)


@pytest.mark.parametrize("name", [name for name in ROWS if name != "perplexity"])
def test_whatever_stands_in_a_row_it_is_an_item_or_a_bad_record(name):
    draw = random.Random(name)
    lang = "jv" if name == "nusax" else "th"
    for variant in ("", *load_task(name).variants):
        task = load_task(f"{name}:{variant}" if variant else name)
        for _ in range(60):
            row = dict(draw.choice(ROWS[name]))
            for key in draw.choices([*row, "prompts", "data"], k=2):
                row[key] = draw.choice(ODD)
            odd = Source(lang, ("odd",), [Record(b"", row, "odd", 1)])
            try:
                (item, *_) = read_items(task, [odd], num_shots=0, chat=draw.random() < 0.5)
                assert len(item.digest) == 64
            except BadRecord as error:
                assert error.where.startswith("odd:1")


def _read(task: Any, *files: Path | str) -> list[Any]:
    return read_data(name_sources([str(file) for file in files]), {}, [task], rejects=Rejects())


@pytest.mark.parametrize(
    "name, folder, pattern, count, langs",
    [
        ("xcopa", "xcopa", "*.jsonl", 3850, 11),
        ("belebele", "belebele", "*.jsonl", 1539, 3),
        ("mmlu", "global_mmlu_lite", "*.jsonl", 3101, 7),
        ("sib200", "sib200", "*.jsonl", 6120, 12),
        ("xquad", "xquad", "*.jsonl", 2448, 4),
        ("nusax", "nusax", "*.jsonl", 4800, 6),
        ("mgsm", "mgsm", "??.jsonl", 1375, 11),
        ("perplexity", "ntrex", "*.txt", 24168, 24),
    ],
)
def test_every_row_of_the_shared_data_is_read(shared, name, folder, pattern, count, langs):
    task = load_task(name)
    long = {"indonesian": "id", "english": "en", "javanese": "jv", "sundanese": "su", "minangkabau": "min",
            "balinese": "ban"}  # fmt: skip
    number, found = 0, set()
    for path in sorted((shared / "data" / folder).glob(pattern)):
        if path.stem in ("doc_ids", "line_numbers"):
            continue
        lang = path.name.partition(".")[0]
        sources = _read(task, f"{long.get(lang, lang)}={path}")
        made = read_items(task, sources, num_shots=0)
        assert all(0 <= item.gold < len(item.choices) for item in made if isinstance(item, ChoiceItem))
        assert all(item.expected.get("reference") for item in made if isinstance(item, GenerationItem))
        number += len(made)
        found |= {item.lang for item in made}
    assert (number, len(found)) == (count, langs)


def test_every_harmful_prompt_of_the_shared_data_is_read_in_every_language(shared):
    path = shared / "data" / "multijail" / "multijail.jsonl"
    task = load_task("multijail")
    assert task.private
    made = read_items(task, _read(task, path))
    assert len(made) == 158 * 10 and len({item.lang for item in made}) == 10
    five = load_task("multijail:seallms")
    assert {item.lang for item in read_items(five, _read(five, path))} == {"en", "jv", "th", "vi", "zh"}
    (only,) = {item.lang for item in read_items(task, _read(task, f"sw={path}"))}
    assert only == "sw"
    with pytest.raises(UsageError, match='not for the language "lo"'):
        read_items(task, [replace(_read(task, f"sw={path}")[0], lang="lo")])


@pytest.mark.parametrize("name, folder, files", [("flores", "flores200/dev", 26), ("ntrex", "ntrex", 24)])
def test_all_parallel_files_of_the_shared_data_are_aligned(shared, name, folder, files):
    task = load_task(name)
    paths = [path for path in sorted((shared / "data" / folder).glob("*.txt"))
             if path.stem not in ("doc_ids", "line_numbers")]  # fmt: skip
    sources = _read(task, *(f"{path.stem}={path}" for path in paths))
    assert len(sources) == files
    made = read_items(task, sources, limit=2)
    assert len(made) == files * (files - 1) * 2
