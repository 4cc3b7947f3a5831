"""Templates that leave the system turn out."""

from __future__ import annotations

import pytest

from seatools.streams.errors import SeaError
from seatools.text.chat import ChatTemplate
from seatools.text.system_turn import check_system_turn

SYSTEM, USER = {"role": "system", "content": " be kind "}, {"role": "user", "content": "be kind or else"}
KEEPS = [
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}",
    "{% for m in messages %}{{ m.content | trim }}|{% endfor %}",
    # as Llama 2: in the user's turn; as Qwen: in place of a default of its own
    "{% set s = messages[0].content if messages[0].role == 'system' else '' %}<<{{ s }}>>{{ messages[-1].content }}",
    "{{ messages[0].content if messages[0].role == 'system' else 'You are Q' }}|{{ messages[-1].content }}",
]
DROPS = [
    "{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}",
    "{{ messages[-1].content }}",
]


@pytest.mark.parametrize("template", KEEPS)
def test_one_that_writes_it_passes(template):
    check_system_turn(ChatTemplate(template, "t"), [SYSTEM, USER])
    check_system_turn(ChatTemplate(template, "t"), [USER])


@pytest.mark.parametrize("template", DROPS)  # though the user says the same words
def test_one_that_drops_it_is_refused_only_where_there_is_one(template):
    check_system_turn(ChatTemplate(template, "t"), [USER])
    check_system_turn(ChatTemplate(template, "t"), [{"role": "system", "content": " "}, USER])
    with pytest.raises(SeaError, match="leaves the system turn out"):
        check_system_turn(ChatTemplate(template, "t"), [SYSTEM, USER])


def test_a_template_that_refuses_it_says_so_itself():
    template = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    with pytest.raises(SeaError, match="no system role"):
        check_system_turn(ChatTemplate(template, "t"), [SYSTEM, USER])
