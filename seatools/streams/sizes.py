"""Sizes as people write them: `10B` tokens, `256MB`, `2M`."""

from __future__ import annotations

import re
from decimal import Decimal

from seatools.streams.errors import UsageError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9, "T": 10**12}
LARGEST = 2**63 - 1  # what JSON written by orjson, and numpy's int64, can hold


def parse_count(text: str) -> int:
    """A number of things: "1500", "10_000", "1.5M", "10B" (B = 10^9)."""
    match = re.fullmatch(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*([A-Za-z]?)\s*", text)
    fix = "write it as 1500, 2M or 10B"
    if match is None or match[2].upper() not in _UNITS:
        raise UsageError(f'"{text}" is not a size', fix=fix)
    value = Decimal(match[1].replace("_", "")) * _UNITS[match[2].upper()]
    if value != int(value):
        raise UsageError(f'"{text}" is not a whole number', fix=fix)
    if value > LARGEST:
        raise UsageError(f'"{text}" is too large: {LARGEST:,} is the most', fix=fix)
    return int(value)


def parse_bytes(text: str) -> int:
    """A number of bytes: "4096", "256MB" (10^6), "1GiB" (2^30)."""
    match = re.fullmatch(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*(?:([KMGT])(i?))?B?\s*", text, re.IGNORECASE)
    if match is None:
        raise UsageError(f'"{text}" is not a size in bytes', fix="write it as 256MB or 1GiB")
    power = "KMGT".index(match[2].upper()) + 1 if match[2] else 0
    value = Decimal(match[1].replace("_", "")) * (1024 if match[3] else 1000) ** power
    if value != int(value) or value < 1:
        raise UsageError(f'"{text}" is not a whole number of bytes', fix="write it as 256MB or 1GiB")
    return int(value)


def human_count(value: float) -> str:
    """A count for people: 1234567 -> "1.23M"."""
    if abs(value) < 10_000:
        return f"{value:.0f}" if abs(value) >= 10 else f"{value:.2g}"
    for size, unit in ((10**3, "k"), (10**6, "M"), (10**9, "B")):
        if abs(value) < 999.5 * size:
            return f"{value / size:.3g}{unit}"
    return f"{value / 10**12:.3g}T"
