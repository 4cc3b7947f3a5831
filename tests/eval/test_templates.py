"""Templates of task files: transformers' Jinja, closed to everything but the row."""

from __future__ import annotations

import pytest

from seatools.eval.templates import Expression, Template
from seatools.streams.errors import UsageError
from seatools.streams.records import BadRecord


def render(source: str, **values: object) -> str:
    return Template(source, "prompt", "t.toml").render(values)


def test_blocks_take_their_line_end_and_indent_with_them():
    assert render("{% for x in xs %}\n  {% if x %}\n{{ x }}\n  {% endif %}\n{% endfor %}\nend\n", xs=[1, 0, 2]) == (
        "1\n2\nend\n"
    )


def test_our_filters():
    assert (
        render("{{ 'Tôi ngã.' | without_stop }} {{ 'Él' | lower_first }} {{ 'é' | capital_first }}") == "Tôi ngã él É"
    )
    assert render("{{ '๓. นภา' | without_label }} {{ 'b' | letter_index(4) }}") == "นภา 1"


@pytest.mark.parametrize(
    "source, words",
    [
        ("{% include 'x' %}", "include and import nothing"),
        ("{% import 'x' as y %}", "include and import nothing"),
        ("{% from 'x' import y %}", "include and import nothing"),
        ("{% extends 'x' %}", "include and import nothing"),
        ("{{ row.__class__ }}", 'no attribute "__class__"'),
        ("{{ row | shout }}", 'no filter "shout"'),
        ("{{ row ", "not valid Jinja"),
    ],
)
def test_what_no_template_may_hold_is_found_when_it_is_read(source, words):
    with pytest.raises(UsageError, match=words):
        Template(source, "prompt", "t.toml")


@pytest.mark.parametrize(
    "source",
    [
        "{{ row['__class__'] }}",
        "{{ row | attr('__class__') }}",
        "{{ 'x'['__class__']['__mro__'] }}",
        "{{ row.update({'a': 1}) }}",
        "{{ xs.append(1) }}",
        "{% for i in range(10 ** 9) %}x{% endfor %}",
        "{{ row.a.b }}",
        "{{ 1 / 0 }}",
        "{{ xs + 1 }}",
    ],
)
def test_what_the_sandbox_refuses_is_a_bad_row_and_changes_nothing(source):
    row, xs = {"a": "x"}, [1]
    with pytest.raises(BadRecord, match="prompt of t.toml does not accept this row"):
        Template(source, "prompt", "t.toml").render({"row": row, "xs": xs})
    assert (row, xs) == ({"a": "x"}, [1])


def test_what_a_row_holds_is_no_template():
    assert render("{{ text }}", text="{{ 1 + 1 }}{% include 'x' %}") == "{{ 1 + 1 }}{% include 'x' %}"


def test_an_expression_gives_a_value_and_names_what_it_reads():
    made = Expression("[a | lower_first, b] if a else none", "options", "t.toml")
    assert made.names == {"a", "b"}
    assert made.value({"a": "Xy", "b": 2}) == ["xy", 2]
    assert made.value({"a": "", "b": 2}) is None


def test_a_value_that_is_not_there_is_a_bad_row_also_in_an_expression():
    with pytest.raises(BadRecord, match="options of t.toml"):
        Expression("a.b.c", "options", "t.toml").value({"a": {}})
