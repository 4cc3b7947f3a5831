"""What judges are told, in every language: ours, the user's, and which of them wins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seatools.judge.instructions import KEYS, InstructionBook, shipped, shipped_languages
from seatools.judge.judging_text import Question, comparison_text, prompt_text, rating_text
from seatools.streams.errors import SeaError, UsageError
from seatools.text.scripts import main_script, scripts_of_language

GOLDEN = Path(__file__).with_name("golden_prompts.json")
QUESTION = Question(" why ", "yes\n", "no {first}")


def golden(lang: str) -> dict[str, str]:
    """All that a judge may be shown in a language."""
    words = InstructionBook().of(lang)
    return {
        "text": comparison_text(words, QUESTION, ("A", "B"), chat=False),
        "chat": comparison_text(words, QUESTION.swapped, ("1", "2"), chat=True),
        "rating": rating_text(words, "why", "yes", chat=False),
        "rating_chat": rating_text(words, "why", "yes", chat=True),
    }


def test_what_judges_read_is_what_it_was():
    """Golden texts, written by `python tests/judge/test_instructions.py`: a change here changes every judgement."""
    assert {lang: golden(lang) for lang in shipped_languages()} == json.loads(GOLDEN.read_text("utf-8"))


def test_the_languages_of_the_region_have_words_of_their_own():
    assert set(shipped_languages()) == {"th", "lo", "km", "my", "vi", "id", "ms", "tl", "jv", "ta", "zh", "en"}


@pytest.mark.parametrize("lang", shipped_languages())
def test_a_language_has_every_text_in_its_own_script(lang):
    words = shipped(lang)
    assert tuple(words) == tuple(sorted(words, key=KEYS.index))
    assert set(words) == set(KEYS)
    for key, text in words.items():
        assert main_script(text.replace("{first}", "").replace("{second}", "")) in scripts_of_language(lang), key
    assert "{first}" in words["ask"]
    assert "{second}" in words["ask"]
    for key in ("points", "score", "ask_score"):
        assert "0" in words[key], key


def test_no_language_has_the_words_of_another():
    for key in KEYS:
        if key not in ("answer", "question"):
            assert len({shipped(lang)[key] for lang in shipped_languages()}) == len(shipped_languages()), key


@pytest.mark.parametrize(
    ("tag", "lang"),
    [("th_TH", "th"), ("tha_Thai", "th"), ("fil", "tl"), ("zsm_Latn", "ms"), ("ms", "ms"), (None, "en"), ("und", "en")],
)
def test_a_tag_finds_its_language(tag, lang):
    book = InstructionBook()
    assert book.of(tag).criteria == shipped(lang)["criteria"]
    assert book.lacking == set()


def test_a_language_without_words_is_judged_in_english_and_that_is_known():
    book = InstructionBook()
    assert book.of("ban").criteria == shipped("en")["criteria"]
    assert book.lacking == {"ban"}


def test_a_file_changes_what_it_names_and_a_language_of_its_own_wins(tmp_path):
    (tmp_path / "all.txt").write_text("\nBe kind.\n")
    (tmp_path / "th.toml").write_text('criteria = "ใจดี"\nanswer = "X"\n')
    book = InstructionBook([str(tmp_path / "all.txt"), f"th={tmp_path / 'th.toml'}"])
    assert (book.of("id").criteria, book.of("id").points) == ("Be kind.", "Be kind.")
    assert book.of("id").question == shipped("id")["question"]
    assert (book.of("th").criteria, book.of("th").answer, book.of("th").points) == ("ใจดี", "X", "Be kind.")


def test_one_language_for_all(tmp_path):
    assert InstructionBook([], "en").of("th").criteria == shipped("en")["criteria"]
    with pytest.raises(UsageError, match="no criteria in 'ban'"):
        InstructionBook([], "ban")
    (tmp_path / "ban.txt").write_text("x")
    assert InstructionBook([f"ban={tmp_path / 'ban.txt'}"], "ban").of("th").criteria == "x"


@pytest.mark.parametrize(
    ("name", "content"),
    [("c.txt", b""), ("c.txt", b" \n"), ("c.txt", b"\xff\xfe"), ("c.toml", b"a"), ("c.toml", b'kriteria = "x"'),
     ("c.toml", b"criteria = 1"), ("c.toml", b'criteria = " "')],
)  # fmt: skip
def test_criteria_that_say_nothing_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SeaError, match=name):
        InstructionBook([str(tmp_path / name)])


def test_a_file_that_is_not_there_or_a_language_twice(tmp_path):
    with pytest.raises(SeaError, match=r"missing\.txt"):
        InstructionBook([str(tmp_path / "missing.txt")])
    (tmp_path / "c.txt").write_text("x")
    with pytest.raises(UsageError, match="twice"):
        InstructionBook([f"th={tmp_path / 'c.txt'}", f"tha={tmp_path / 'c.txt'}"])


def test_a_prompt_of_one_turn_is_its_text_and_of_several_their_roles_too():
    user, system = {"role": "user", "content": "why"}, {"role": "system", "content": "be kind"}
    assert prompt_text("why") == prompt_text([user]) == "why"
    assert prompt_text([system, user]) == "system: be kind\nuser: why"


if __name__ == "__main__":
    text = json.dumps({lang: golden(lang) for lang in shipped_languages()}, ensure_ascii=False, indent=1)
    GOLDEN.write_text(text + "\n", "utf-8")
