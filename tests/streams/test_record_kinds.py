"""Which keys make a record of its kind, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from seatools.streams.records import BadRecord, check_preference, check_prompt, check_responses, check_training

TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (check_training, {"text": "a"}),
        (check_training, {"messages": TURNS}),
        (check_training, {"prompt": "q", "completion": "a"}),
        (check_training, {"prompt": TURNS[:1], "completion": TURNS[1:]}),
        (check_training, {"messages": TURNS, "text": None, "completion": ""}),  # columns of a table that say nothing
        (check_training, {"text": "a", "completion": "no prompt"}),
        (check_training, {"text": "a", "prompt": "no completion"}),
        (check_prompt, {"prompt": "q"}),
        (check_prompt, {"prompt": TURNS[:1], "id": 7}),
        (check_responses, {"prompt": "q", "responses": ["a", "b"]}),
        (check_preference, {"prompt": "q", "chosen": "a", "rejected": "b"}),
        (check_preference, {"prompt": TURNS[:1], "chosen": TURNS[1:], "rejected": TURNS[:1]}),
    ],
)
def test_good_records(check: Callable[[dict[str, Any]], None], value: dict[str, Any]) -> None:
    check(value)


@pytest.mark.parametrize(
    ("check", "value", "reason"),
    [
        (check_training, {}, "no text"),
        (check_training, {"prompt": "q"}, "no text"),
        (check_training, {"prompt": "q", "completion": None}, "completion not a string"),
        (check_training, {"prompt": "q", "completion": " \n"}, "empty completion"),
        (check_training, {"messages": "hello"}, "messages not a list"),
        (check_training, {"messages": []}, "messages not a list"),
        (check_training, {"messages": ["hello"]}, "bad messages"),
        (check_training, {"messages": [{"content": "x"}]}, "bad messages"),
        (check_training, {"messages": [{"role": "user", "content": None}]}, "bad messages"),
        (check_training, {"messages": [{"role": "user", "content": "\0"}]}, "nul"),
        (check_training, {"messages": TURNS, "text": "a"}, "mixed schema"),
        (check_training, {"text": "a", "prompt": "q", "completion": "a"}, "mixed schema"),
        (check_training, {"messages": TURNS, "prompt": "q", "completion": "a"}, "mixed schema"),
        (check_prompt, {"prompt": ""}, "empty prompt"),
        (check_prompt, {"prompt": []}, "prompt not a list"),
        (check_prompt, {"text": "x"}, "no prompt"),
        (check_responses, {"prompt": "q"}, "no responses"),
        (check_responses, {"prompt": "q", "responses": ["a", 1]}, "no responses"),
        (check_preference, {"prompt": "q", "chosen": "a"}, "no rejected"),
        (check_preference, {"prompt": "q", "chosen": "a", "rejected": "a"}, "identical answers"),
        (check_preference, {"prompt": "q", "chosen": "a", "rejected": " "}, "empty answer"),
    ],
)
def test_records_that_are_refused(check: Callable[[dict[str, Any]], None], value: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadRecord) as caught:
        check(value)
    assert caught.value.reason == reason


def test_a_mixed_schema_is_told_with_what_to_do() -> None:
    with pytest.raises(BadRecord, match=r'both "messages" and "text".* jq -c .del\(\.text\)') as caught:
        check_training({"messages": TURNS, "text": "a"})
    assert caught.value.fix is not None
