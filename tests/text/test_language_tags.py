"""What someone means who does not write a code."""

from __future__ import annotations

import pytest

from seatools.text.language_tags import meant


@pytest.mark.parametrize(
    ("word", "known", "code"),
    [
        ("thai", (), "th"), ("Thai", ("th", "en"), "th"), ("Burmese", (), "my"), ("tha", ("th",), "th"),
        ("th", ("tha", "en"), "tha"), ("Thai", ("tha_Thai",), "tha_Thai"), ("tha", (), None), ("lao", (), None),
        ("th", ("th",), None), ("xx", ("th",), None), ("", ("th",), None),
    ],
)  # fmt: skip
def test_names_and_other_spellings(word: str, known: tuple[str, ...], code: str | None) -> None:
    assert meant(word, known) == code
