"""Task files: what is read from them, what is wrong with them, what their digest covers."""

from __future__ import annotations

import pytest
from made_rows import source

from seatools.eval.read_items import read_items
from seatools.eval.scoring import SCORINGS as ALL_SCORINGS
from seatools.eval.task_file import builtin_names, load_task, parse_task, task_of, task_text
from seatools.eval.task_keys import SCORINGS
from seatools.streams.errors import UsageError
from seatools.streams.records import BadRecord

QUIZ = """
name = "quiz"
about = "A question."
type = "choice"
[rows]
columns = { question = "text", options = "choices", right = "number" }
[choice]
prompt = "{{ words.ask }} {{ question }}"
options = "row.options"
answer = "right"
[words]
en = { ask = "Q:" }
th = { ask = "ถาม:" }
[variants.bare.choice]
prompt = "{{ question }}"
"""


def test_the_built_in_tasks_are_these():
    assert set(builtin_names()) == {
        "belebele", "choice", "flores", "m3exam", "mgsm", "mmlu", "multijail", "ntrex", "nusax", "perplexity",
        "seabench", "seaexam", "searefuse", "sib200", "tokenizer", "translation", "xcopa", "xquad",
    }  # fmt: skip


@pytest.mark.parametrize("name", builtin_names())
def test_every_built_in_task_says_what_it_follows(name):
    task = load_task(name)
    assert task.name == name and len(task.about) > 10 and len(task.cite) > 40
    for variant in task.variants:
        other = load_task(f"{name}:{variant}")
        assert other.name == f"{name}:{variant}"
        # A variant that changes only where the data comes from, or the languages of a run, asks the same.
        assert other.digest() != task.digest() or (name, variant) == ("seaexam", "mmlu")


def test_every_scoring_of_a_task_is_one():
    assert {name for names in SCORINGS.values() for name in names} <= set(ALL_SCORINGS)


def test_a_variant_lies_over_the_file():
    assert read_items(parse_task(QUIZ, "q.toml"), [_row()])[0].prompt == "Q: Why?"
    bare = parse_task(QUIZ, "q.toml", "bare")
    assert (bare.name, read_items(bare, [_row()])[0].prompt) == ("quiz:bare", "Why?")


def _row(lang: str = "en", **more: object):
    return source({"question": "Why?", "options": ["a", "b"], "right": 1} | more, lang=lang)


def test_words_go_by_the_whole_tag_or_its_language():
    task = parse_task(QUIZ, "q.toml")
    for lang in ("th", "th-TH", "tha_Thai"):
        assert read_items(task, [_row(lang)])[0].prompt == "ถาม: Why?"
    with pytest.raises(UsageError, match='no words for the language "vi"') as caught:
        read_items(task, [_row("vi")])
    assert "label the data with one of en, th" in caught.value.fix


def test_the_digest_covers_what_is_asked_and_no_more():
    task = parse_task(QUIZ, "q.toml")
    assert parse_task("# why\n" + QUIZ, "other.toml").digest() == task.digest()
    assert parse_task(QUIZ.replace('"A question."', '"Another word."'), "q.toml").digest() == task.digest()
    for changed in (QUIZ.replace("Q:", "q:"), QUIZ.replace("{{ question }}", "{{ question }} ")):
        assert parse_task(changed, "q.toml").digest() != task.digest()
    assert parse_task(QUIZ, "q.toml", "bare").digest() != task.digest()


@pytest.mark.parametrize(
    "old, new, words",
    [
        ('name = "quiz"', "", 'a task needs "name"'),
        ('type = "choice"', 'type = "chioce"', 'type is "chioce", none of choice'),
        ('type = "choice"', 'type = "choice"\nprompts = 1', 'has the key "prompts", which is none'),
        ("[choice]", "[chioce]", 'the file has the key "chioce", which is none (did you mean choice?)'),
        ('prompt = "{{ words.ask }} {{ question }}"', "", "choice needs a prompt"),
        ('prompt = "{{ words.ask }} {{ question }}"', "prompt = 3", "prompt in [choice] is not a string"),
        ("{{ question }}", "{{ qestion }}", 'choice.prompt reads "qestion", which no row has'),
        ("{{ question }}", "{{ question", "choice.prompt is not valid Jinja"),
        ('options = "row.options"', "", "[choice] needs options"),
        ('answer = "right"', 'answer = "right"\nanswer_as = "roman"', "answer_as is 'roman', none of index"),
        ('answer = "right"', 'answer = "right"\nscore = "letters"', "choice.score is"),
        ('answer = "right"', 'answer = "right"\nscoring = "number"', 'choice.scoring is "number", none of choice'),
        ('"choices"', '"chioces"', "rows.columns.options is 'chioces', no type of a column"),
        ("[rows]", "[shots]\ncount = true\n[rows]", "count in [shots] is not a whole number"),
        ("[rows]", "[shots]\nrows = { columns = { q = 'text' } }\n[rows]", "[shots.rows] needs shots.template"),
        ("[rows]", "[shots]\nsame = [1]\n[rows]", "same in [shots] is not a list of strings"),
        ("[rows]", "[hf]\nsplit = 'x'\n[rows]", "[hf] needs a path"),
        ("en = { ask", "en = 1\nfr = { ask", "[words.en] is not a table"),
        ("[rows]", "[rows", "not valid TOML"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_name(old, new, words):
    assert old in QUIZ
    with pytest.raises(UsageError) as caught:
        parse_task(QUIZ.replace(old, new), "q.toml")
    assert words in str(caught.value)
    assert caught.value.where == "q.toml"


@pytest.mark.parametrize(
    "name, words",
    [
        ("xcop", 'no task "xcop".*did you mean xcopa'),
        ("mmlu:nativ", 'no variant "nativ" of mmlu.*it has subject'),
        ("choice:x", "it has none"),
        ("nowhere.toml", "no such task file"),
    ],
)
def test_a_task_that_is_not_there(name, words):
    with pytest.raises(UsageError, match=words):
        load_task(name)


def test_a_task_file_of_ones_own_is_loaded_by_its_path(tmp_path):
    path = tmp_path / "a:b.toml"
    path.write_text(QUIZ, encoding="utf-8")
    assert load_task(str(path)).name == "quiz"
    assert load_task(f"{path}:bare").name == "quiz:bare"
    assert task_text(str(path)) == task_text(f"{path}:bare") == QUIZ
    assert parse_task(task_text("mmlu:text"), "copy.toml", "text").digest() == load_task("mmlu:text").digest()
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(UsageError, match="not UTF-8"):
        load_task(str(path))


@pytest.mark.parametrize(
    "row, name",
    [
        ({"premise": "x", "choice1": "a", "choice2": "b"}, "xcopa"),
        ({"flores_passage": "x", "mc_answer1": "a"}, "belebele"),
        ({"prompts": [{"question": "x", "option_a": "a"}]}, "mmlu"),
        ({"question": "x", "option_a": "a"}, "mmlu"),
        ({"text": "x", "label": "travel"}, "sib200"),
        ({"text": "x", "label": "neutral"}, "nusax"),
        ({"question_text": "x", "options": [], "answer_text": "1"}, "m3exam"),
        ({"question": "x", "choices": ["a", "b", "c", "d"], "answer": 1}, "choice"),  # four, but nobody says mmlu
        ({"text": "x", "label": "weather"}, None),
        ({"prompts": []}, None),
        ({"prompts": "text"}, None),
    ],
)
def test_rows_are_known_by_their_columns(row, name):
    found = task_of(row)
    assert (found.name if found else None) == name


def test_rows_that_only_a_named_task_takes_are_taken_by_it():
    row = {"question": "Q?", "choices": ["a", "b", "c", "d"], "answer": 2}
    (item,) = read_items(load_task("mmlu"), [source(row)])
    assert (item.prompt, item.gold) == ("Q?\nA. a\nB. b\nC. c\nD. d\nAnswer:", 2)


BROKEN = [
    ("xcopa", {"premise": "x", "choice1": "a", "choice2": "", "question": "cause", "label": 1}, '"choice2" is empty'),
    ("xcopa", {"premise": "x", "choice1": "a", "choice2": "b", "question": "why", "label": 1}, "none of cause, effect"),
    ("xcopa", {"premise": "x", "choice1": "a", "choice2": "b", "question": "cause", "label": 2}, "2, none of 0, 1"),
    ("xcopa", {"premise": "x", "choice1": "a", "choice2": "b", "question": "cause", "label": True}, "none of 0, 1"),
    ("xcopa", {"premise": "x", "choice1": "a", "question": "cause", "label": 1}, '"choice2" is missing; there are'),
    ("xcopa", {"premise": 3, "choice1": "a", "choice2": "b", "question": "cause", "label": 1}, "is int, not a string"),
    ("belebele", {"flores_passage": "p", "question": "q", "mc_answer1": "a"}, 'field "mc_answer2" is missing'),
    ("mmlu", {"prompts": [], "label": "A"}, "prompts"),
    ("mmlu", {"prompts": "x", "label": "A"}, "prompts"),
    ("mmlu", {"question": "q", **{f"option_{x}": x for x in "abcd"}, "answer": "E"}, "none of the 4 options A-D"),
    ("sib200", {"text": "x", "label": "weather"}, "none of science/technology"),
    ("choice", {"question": "q", "choices": ["a"], "answer": 0}, "not a list of two or more strings"),
    ("choice", {"question": "q", "choices": ["a", " "], "answer": 0}, "holds an empty choice"),
    ("choice", {"question": "q", "choices": ["a", "b"]}, 'field "answer" is missing'),
    ("choice", {"question": "q", "choices": ["a", "b"], "answer": 2}, "out of range"),
    ("m3exam", {"question_text": "q", "options": ["A. a", "B. b"], "answer_text": "C"}, "none of the labels A, B"),
    ("seaexam", {"question": "q", "choices": ["a", "b"], "answer": 2, "metadata": {}}, "out of range"),
    ("nusax", {"text": "x", "label": "mixed"}, "'mixed', none of negative, neutral, positive"),
    ("xquad", {"context": "c", "question": "q", "answers": []}, "the row gives no reference"),
    ("xquad", {"context": "c", "question": "q"}, 'field "answers" is missing'),
    ("mgsm", {"question": "q", "answer_number": None}, "is NoneType, not a number"),
    ("translation", {"prompt": "", "reference": "x"}, '"prompt" is empty'),
    ("translation", {"prompt": "x", "reference": " "}, '"reference" is empty'),
    ("translation", {"prompt": [{"role": "user"}], "reference": "x"}, "content is not a string"),
    ("searefuse", {"question": "q", "answerable": "maybe"}, "neither true nor false"),
    ("perplexity", {"text": " "}, '"text" is empty'),
    ("perplexity", {"content": "x"}, 'field "text" is missing'),
    ("seabench", {"unit_id": 1, "type": "poetry", "user_1": "a", "user_2": "b", "reference_1": "c", "reference_2": "d"},
     "the kind 'poetry' is none of safety"),
]  # fmt: skip


@pytest.mark.parametrize("name, row, words", BROKEN)
def test_broken_rows_are_bad_records_with_file_and_line(name, row, words):
    with pytest.raises(BadRecord) as caught:
        read_items(load_task(name), [source(row, lang="jv" if name == "nusax" else "th")], num_shots=0)
    assert words in caught.value.what
    assert caught.value.where == "data.jsonl:1"
