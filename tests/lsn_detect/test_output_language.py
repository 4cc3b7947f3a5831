"""Prompts that are halves of texts, and whether two outputs are in one language."""

from __future__ import annotations

import numpy as np
import pytest

from seatools.lsn_detect.output_language import MIN_LETTERS, Changed, OutputJudge, half_prompts

THAI = "ผู้ใหญ่บ้านอยู่ที่นี่ทุกวัน"
ENGLISH = "The people of the old house are going to the market tomorrow morning."
INDONESIAN = "Orang-orang dari rumah tua itu akan pergi ke pasar besok pagi."


def characters(text: str) -> np.ndarray:
    return np.array([ord(char) for char in text])


def text_of(ids: list[int]) -> str:
    return "".join(map(chr, ids))


def test_a_prompt_is_half_of_the_clusters():
    import regex

    (prompt,) = half_prompts([THAI], 1, characters, 1000)
    clusters = regex.findall(r"\X", THAI)
    assert text_of(prompt) == "".join(clusters[: len(clusters) // 2])


def test_a_prompt_ends_before_the_space():
    (prompt,) = half_prompts(["one two"], 1, characters, 1000)
    assert text_of(prompt) == "one"


@pytest.mark.parametrize("room", [1, 2, 5, 9])
def test_a_prompt_fits_the_room_and_no_cluster_is_cut(room):
    import regex

    found = half_prompts([THAI], 1, characters, room)
    clusters = regex.findall(r"\X", THAI)
    starts = {"".join(clusters[:n]) for n in range(1, len(clusters))}
    assert all(len(prompt) <= room and text_of(prompt) in starts for prompt in found)
    assert len(found) == (room >= len(clusters[0]))


def test_prompts_are_spread_over_the_texts_and_as_many_as_asked():
    texts = [chr(ord("a") + n) * 2 for n in range(26)]
    assert [text_of(prompt) for prompt in half_prompts(texts, 6, characters, 9)] == ["a", "f", "k", "p", "u", "z"]
    assert len(half_prompts(texts, 99, characters, 9)) == 26
    assert half_prompts(["x", ""], 2, characters, 9) == []  # nothing to halve


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (THAI, ENGLISH, True),
        (THAI, THAI[:12], False),
        (ENGLISH, INDONESIAN, False),  # both are Latin to the script
        (ENGLISH, "Người dân của ngôi nhà cũ sẽ đi chợ vào sáng mai.", True),
        (ENGLISH, "здравствуйте, дорогие друзья", True),
        (ENGLISH, "12345 67890 !!!", None),
        ("", THAI, None),
        (THAI, "a" * (MIN_LETTERS - 1), None),
        (THAI, "a" * MIN_LETTERS, True),
    ],
)
def test_scripts_tell_languages_apart(before, after, expected):
    judge = OutputJudge("script")
    assert judge.has_changed(judge.identify(before), judge.identify(after)) is expected


def test_cld2_tells_latin_languages_apart_and_says_when_it_is_not_sure():
    pytest.importorskip("pycld2")
    judge = OutputJudge("cld2")
    english, indonesian, nonsense = map(judge.identify, (ENGLISH, INDONESIAN, "xqzk wvvq jjkx zzzqw"))
    assert judge.has_changed(english, indonesian) is True
    assert judge.has_changed(english, english) is False
    assert judge.has_changed(english, nonsense) is None
    assert judge.has_changed(judge.identify(THAI), nonsense) is True  # whatever it is, it is not Thai


def test_unjudged_outputs_are_in_no_share():
    judge = OutputJudge("script")
    before = [judge.identify(text) for text in (THAI, THAI, ENGLISH, "!")]
    after = [judge.identify(text) for text in (ENGLISH, THAI, "", THAI)]
    found = judge.compare(before, after)
    assert found == Changed(prompts=4, judged=2, changed=1) and found.share == 0.5
    assert Changed(3, 0, 0).share is None


def test_languages_of_one_script_are_named():
    judge = OutputJudge("script")
    assert judge.cannot_tell(["th", "en", "vi", "id", "lo"]) == ["en", "id"]
    assert judge.cannot_tell(["th", "en", "vi"]) == []
