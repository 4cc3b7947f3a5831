"""TRL's forms of preference data, and what is no pair."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_llama import TEMPLATE

from seatools.dpo.preference_record import Sides, check_system_kept, sides_of
from seatools.streams.records import BadRecord, check_preference
from seatools.text.chat import ChatTemplate


def turns(*texts: str) -> list[dict[str, str]]:
    """user, assistant, user, ..."""
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]


def said(*texts: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text} for text in texts]


def trl_extract_prompt(chosen: Any, rejected: Any) -> tuple[Any, Any, Any]:
    """`trl.data_utils.extract_prompt` of TRL 1.16, as it is written there."""
    for idx in range(min(len(chosen), len(rejected))):
        if chosen[idx] != rejected[idx]:
            if chosen[idx - 1] == " ":
                idx -= 1
            break
    return chosen[:idx], chosen[idx:], rejected[idx:]


@pytest.mark.parametrize(
    ("record", "sides"),
    [
        ({"prompt": "q", "chosen": "a", "rejected": "b"}, ("q", "a", "b")),
        ({"prompt": turns("q"), "chosen": said("a"), "rejected": said("b")}, (turns("q"), said("a"), said("b"))),
        ({"prompt": turns("q"), "chosen": "a", "rejected": "b"}, (turns("q"), "a", "b")),
        ({"prompt": None, "chosen": turns("q", "a"), "rejected": turns("q", "b")}, (turns("q"), said("a"), said("b"))),
        # whole conversations beside their prompt (ultrafeedback_binarized), or with it at their beginning
        ({"prompt": "q", "chosen": turns("q", "a"), "rejected": turns("q", "b")}, (turns("q"), said("a"), said("b"))),
        ({"prompt": turns("q"), "chosen": turns("q", "a"), "rejected": turns("q", "b")},
         (turns("q"), said("a"), said("b"))),
        # the first turn that differs begins the answers, whatever follows
        ({"chosen": turns("q", "a", "r", "s"), "rejected": turns("q", "a", "r", "t")},
         (turns("q", "a", "r"), said("s"), said("t"))),
        ({"chosen": turns("q", "a", "r", "s"), "rejected": turns("q", "b", "r", "s")},
         (turns("q"), said("a") + turns("r", "s"), said("b") + turns("r", "s"))),
        ({"chosen": "Q: 2+2? A: 4", "rejected": "Q: 2+2? A: 5"}, ("Q: 2+2? A:", " 4", " 5")),
        ({"chosen": "2+2=4", "rejected": "2+2=5!"}, ("2+2=", "4", "5!")),
        ({"chosen": "x yes", "rejected": "x yes!"}, ("x ye", "s", "s!")),
    ],
)  # fmt: skip
def test_every_form_is_one_prompt_and_two_answers(record: dict[str, Any], sides: tuple[Any, ...]) -> None:
    check_preference(record)
    assert sides_of({**record, "margin": 0.5, "judgements": {"forward": 0.1}}) == Sides(*sides)


LETTERS = st.text(alphabet="ab ก", min_size=1, max_size=8)


@given(prompt=LETTERS, chosen=LETTERS, rejected=LETTERS)
def test_texts_are_divided_as_trl_divides_them(prompt: str, chosen: str, rejected: str) -> None:
    one, other = prompt + chosen, prompt + rejected
    if one == other or not (one.strip() and other.strip()):
        return
    expected = trl_extract_prompt(one, other)
    try:
        found = sides_of({"chosen": one, "rejected": other})
    except BadRecord as error:
        assert error.reason in ("empty answer", "identical answers", "prompts differ")
        assert error.reason != "prompts differ" or expected[0] == ""
        return
    assert tuple(found) == expected


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"chosen": "yes", "rejected": "no"}, "prompts differ"),
        ({"chosen": turns("q", "a"), "rejected": turns("r", "b")}, "prompts differ"),
        ({"chosen": turns("q", "a", "r"), "rejected": turns("q", "a", "s")}, "prompts differ"),  # users differ
        ({"prompt": "z", "chosen": turns("q", "a"), "rejected": turns("q", "b")}, "prompts differ"),
        ({"prompt": turns("q"), "chosen": turns("r", "a"), "rejected": turns("q", "b")}, "prompts differ"),
        ({"prompt": turns("q"), "chosen": said("a"), "rejected": "b"}, "mixed answers"),
        ({"prompt": turns("q"), "chosen": said("a"), "rejected": said("  ")}, "empty answer"),
        ({"prompt": turns("q"), "chosen": turns("q", "a"), "rejected": turns("q", "a")}, "identical answers"),
        ({"prompt": "q", "chosen": "a", "rejected": " \n"}, "empty answer"),
        ({"prompt": "q", "chosen": "a"}, "no rejected"),
    ],
)
def test_what_is_no_pair_is_refused_by_its_reason(record: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadRecord) as caught:
        check_preference(record)
        sides_of(record)
    assert caught.value.reason == reason


def test_a_template_that_drops_the_system_turn_is_refused() -> None:
    system = [{"role": "system", "content": "Answer in Lao."}, *turns("q")]
    keeps = ChatTemplate(TEMPLATE, "t.jinja", {})
    drops = ChatTemplate("{% for m in messages if m.role != 'system' %}" + TEMPLATE[26:], "t.jinja", {})
    check_system_kept(keeps, system)
    check_system_kept(drops, turns("q"))
    check_system_kept(drops, [{"role": "system", "content": " "}, *turns("q")])
    check_system_kept(None, "q")
    with pytest.raises(BadRecord, match=r"t\.jinja leaves out the system turn") as caught:
        check_system_kept(drops, system)
    assert caught.value.reason == "system turn dropped"


def test_a_system_turn_is_missed_also_alone_or_second_or_where_the_template_has_words_of_its_own() -> None:
    system = {"role": "system", "content": "Answer in Lao."}
    drops = ChatTemplate("{% for m in messages if m.role != 'system' %}" + TEMPLATE[26:], "t.jinja", {})
    own = ChatTemplate(
        "{% if messages[0].role != 'system' %}Be kind.{% endif %}{% for m in messages %}{% if m.role == 'user' %}"
        "{{ m.content }}{% endif %}{% endfor %}", "t.jinja", {},
    )  # fmt: skip
    first = ChatTemplate(
        "{% for m in messages %}{% if m.role != 'system' or loop.first %}{{ m.content }}{% endif %}{% endfor %}",
        "t.jinja", {},
    )  # fmt: skip
    for template, prompt in (
        (drops, [system]),
        (own, [system, *turns("q")]),
        (first, [system, *turns("q"), system]),
    ):
        with pytest.raises(BadRecord, match="leaves out the system turn"):
            check_system_kept(template, prompt)
    check_system_kept(first, [system, *turns("q")])
