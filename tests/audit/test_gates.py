"""Gates: a limit passes, fails by name, or is refused."""

from __future__ import annotations

import pytest

from seatools.audit.gates import Gate, check_gates, parse_gates
from seatools.streams.errors import CheckFailed, UsageError

RECORDS = [
    {"metric": "parity", "lang": "th", "value": 2.5, "model": "a"},
    {"metric": "parity", "lang": "en", "value": 1.0, "model": "a"},
]


def test_a_value_on_the_limit_passes():
    check_gates([Gate("parity", 2.5, over=True), Gate("parity", 1.0, over=False)], RECORDS)


def test_a_value_past_the_limit_names_metric_language_and_tokenizer():
    with pytest.raises(CheckFailed) as error:
        check_gates([Gate("parity", 2, over=True)], RECORDS)
    assert error.value.what == "parity is 2.5 for th with a, over 2"


def test_a_limit_on_something_that_was_not_measured_is_refused():
    with pytest.raises(UsageError, match="nothing here has the metric fertility"):
        check_gates([Gate("fertility", 2, over=True)], RECORDS)


@pytest.mark.parametrize("text", ["parity", "parity=", "parity=x", "parity=nan", "speed=3", "=3"])
def test_gates_that_are_none(text):
    with pytest.raises(UsageError):
        parse_gates([text], [], ["parity"])


def test_gates_are_parsed():
    assert parse_gates(["parity=1"], ["parity=2.5"], ["parity"]) == [
        Gate("parity", 1.0, over=False),
        Gate("parity", 2.5, over=True),
    ]
