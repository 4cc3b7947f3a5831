"""Sizes as people write them."""

from __future__ import annotations

import pytest

from seatools.streams.errors import UsageError
from seatools.streams.sizes import human_count, parse_bytes, parse_count


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("1500", 1500), ("10_000", 10_000), ("2M", 2_000_000), ("1.5k", 1500), ("10B", 10**10),
     ("3 T", 3 * 10**12), ("2.3G", 2_300_000_000), ("1.001M", 1_001_000), (" 12 ", 12)],
)  # fmt: skip
def test_counts_are_exact(text: str, value: int) -> None:
    assert parse_count(text) == value


def test_a_count_beyond_64_bits_is_refused() -> None:
    assert parse_count("9223372036854775807") == 2**63 - 1
    for text in ("9223372036854775808", "99999999999B"):
        with pytest.raises(UsageError, match="is too large"):
            parse_count(text)


@pytest.mark.parametrize("text", ["", "M", "-1", "1.5", "1e6", "2MB", "1,000", "ten", "1 2", "٣", "0.0001k"])
def test_what_is_not_a_count_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="is not a (size|whole number)"):
        parse_count(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("4096", 4096), ("1B", 1), ("256MB", 256_000_000), ("256M", 256_000_000), ("1.5 kb", 1500), ("2GiB", 2 << 30),
     ("1TB", 10**12), ("0.5KiB", 512)],
)  # fmt: skip
def test_sizes_in_bytes(text: str, value: int) -> None:
    assert parse_bytes(text) == value


@pytest.mark.parametrize("text", ["", "0", "MB", "-1MB", "1.5", "2XB", "1iB", "1e6", "0.3KiB"])
def test_what_is_no_size_in_bytes_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="bytes"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (3.0, "3"), (0.25, "0.25"), (12.4, "12"), (9999, "9999"), (12345, "12.3k"), (999_400, "999k"),
     (999_999, "1M"), (1_234_567, "1.23M"), (10**9, "1B"), (2.5 * 10**12, "2.5T")],
)  # fmt: skip
def test_counts_for_people(value: float, text: str) -> None:
    assert human_count(value) == text
