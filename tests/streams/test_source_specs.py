"""`NAME=GLOB[:WEIGHT[@MAX_EPOCHS]]` as typed."""

from __future__ import annotations

from fractions import Fraction

import pytest

from seatools.streams.errors import UsageError
from seatools.streams.source_specs import parse_source, parse_sources


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("th=a.jsonl", ("th", "a.jsonl", None, None)),
        ("th=a.jsonl:3", ("th", "a.jsonl", Fraction(3), None)),
        ("th=a.jsonl:0.1", ("th", "a.jsonl", Fraction(1, 10), None)),
        ("th=a.jsonl:.5@2", ("th", "a.jsonl", Fraction(1, 2), 2)),
        ("th=a.jsonl:1e-3", ("th", "a.jsonl", Fraction(1, 1000), None)),
        ("th=a.jsonl:@3", ("th", "a.jsonl", None, 3)),
        ("th=data/*.jsonl.zst:2@10", ("th", "data/*.jsonl.zst", Fraction(2), 10)),
        ("th=s3:v2/a.jsonl", ("th", "s3:v2/a.jsonl", None, None)),
        ("th=s3:v2/a.jsonl:4", ("th", "s3:v2/a.jsonl", Fraction(4), None)),
        ("th=-:1", ("th", "-", Fraction(1), None)),
        ("th=@list.txt:2", ("th", "@list.txt", Fraction(2), None)),
    ],
)
def test_arguments_are_read_from_the_right(argument, expected):
    spec = parse_source(argument)
    assert (spec.name, spec.glob, spec.weight, spec.max_epochs) == expected


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("a.jsonl:1", "has no name"),
        ("=a.jsonl", "has no name"),
        ("th=", "nothing stands after"),
        ("th=:3", "no path"),
        ("th=a.jsonl:0", "greater than 0"),
        ("th=a.jsonl:0.00", "greater than 0"),
        ("th=a.jsonl:-1", "not a weight"),
        ("th=a.jsonl:nan", "not a weight"),
        ("th=a.jsonl:inf", "not a weight"),
        ("th=a.jsonl:three", "not a weight"),
        ("th=a.jsonl:", "not a weight"),
        ("th=a.jsonl:1@", "not a weight"),
        ("th=a.jsonl:1@0.5", "not a weight"),
        ("th=a.jsonl:1@0", "at least @1"),
        ("th=-:1@2", "one epoch only"),
    ],
)
def test_what_is_no_source_is_refused(argument, message):
    with pytest.raises(UsageError, match=message):
        parse_source(argument)


def test_a_colon_in_the_name_of_a_file_that_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "v:two.jsonl").touch()
    assert parse_source("th=v:two.jsonl").glob == "v:two.jsonl"


def test_a_name_stands_once():
    with pytest.raises(UsageError, match="two sources are named th"):
        parse_sources(["th=a.jsonl", "en=b.jsonl", "th=c.jsonl"])


def test_stdin_is_one_source_only():
    with pytest.raises(UsageError, match="stdin"):
        parse_sources(["th=-", "en=-"])
