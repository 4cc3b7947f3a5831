"""Changes that a parser gets past: a value of a JSON tree, a line of a TOML file, a file of a folder.

Bits flipped at random end at the first brace; the defects are behind it, in a number that is a string, a list that is
null, an exponent of a billion. Everything is drawn from one `random.Random`, so a seed names a change.
"""

from __future__ import annotations

import json
import random
from typing import Any

from fuzz.layouts import SPLIT, files_of, folder_input

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 255, 256, 65536, 2**31, 2**32, 2**53 + 1, 2**63, 2**64, -(2**63), 10**30, 10**5000,
    0.5, -0.0, 1e308, float("inf"), float("nan"), "", "a", " ", "\0", "\ud800", "\u0e01", "..", "../x", "/etc/passwd",
    "NaN", "1e999999999", "٣", "_", "__class__", "x" * 300, [], [[]], {}, {"": None}, [0], [-1], ["a"], [None] * 3,
)  # fmt: skip
WORDS = (
    b"1e999999999", b"-1e-999999999", b"0x" + b"f" * 5000, b"9" * 5000, b"nan", b"inf", b"[" * 2000, b"{a=" * 500,
    b"[[x]]\n", b"[x]\n", b'"\\ud800"', b'"""', b"'''", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r\n", b"\\u0000",
    b"{{ ", b" }}", b"{% ", b" %}", b"for x in range(99999)", b"endfor", b"{% if x %}", b"'a' * 10**9", b"range(10**9)",
    b"..", b"../", b"/", b"@", b"*", b"**", b"?", b"[!a]", b"#### ", b"true", b"1979-05-27", b"-", b"=", b":", b",",
)  # fmt: skip


def mutate(data: bytes, rng: random.Random) -> bytes:
    """One to three changes."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        data = _one(data, rng)
    return data


def _one(data: bytes, rng: random.Random) -> bytes:
    files = files_of(data) if data.lstrip(b"\n").startswith(b"#### ") else {}
    if files:
        names = list(files)
        name = rng.choice(names)
        chance = rng.random()
        if chance < 0.06:
            files.pop(name)
        elif chance < 0.1:
            files[name] = files[rng.choice(names)]
        else:
            files[name] = _one_file(files[name], rng)
        return folder_input(files)
    return _one_file(data, rng)


def _one_file(data: bytes, rng: random.Random) -> bytes:
    head, split, body = data.partition(SPLIT) if data[:1] == b"{" else (data, b"", b"")
    if split and rng.random() < 0.1:
        return head + split + _bytes(body, rng)
    tree = _parsed(head)
    if tree is not None and rng.random() < 0.8:
        return _dumped(changed(tree, rng)) + split + body
    lines = head.split(b"\n")
    if len(lines) > 1 and rng.random() < 0.6:
        return b"\n".join(_lines(lines, rng)) + split + body
    return _bytes(head, rng) + split + body


def _parsed(data: bytes) -> Any:
    if data.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _dumped(tree: Any) -> bytes:
    try:
        return json.dumps(tree, ensure_ascii=False).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):  # a number of 5,000 digits is written by no one else either
        return b"[" + b"9" * 5000 + b"]"


def changed(tree: Any, rng: random.Random, depth: int = 0) -> Any:
    """`tree` with one node made another, taken away, doubled, or put under another name."""
    inner = isinstance(tree, dict | list) and len(tree) > 0
    if isinstance(tree, str) and depth and rng.random() < 0.4 and (own := _parsed(tree.encode("utf-8", "replace"))):
        return _dumped(changed(own, rng)).decode("utf-8", "replace")  # JSON in a string: metadata of safetensors
    if not inner or rng.random() < 0.15:
        return _other(tree, rng)
    if isinstance(tree, dict):
        tree = dict(tree)
        key = rng.choice(list(tree))
        chance = rng.random()
        if chance < 0.1:
            tree.pop(key)
        elif chance < 0.2:
            tree[rng.choice(("", "a", "..", "\ud800", key + "x", key[:-1], key.swapcase()))] = tree[key]
        else:
            tree[key] = changed(tree[key], rng, depth + 1)
        return tree
    tree = list(tree)
    place = rng.randrange(len(tree))
    chance = rng.random()
    if chance < 0.1:
        tree.pop(place)
    elif chance < 0.2:
        tree.insert(rng.randrange(len(tree) + 1), tree[place])
    elif chance < 0.22:
        tree *= rng.choice((2, 50))
    else:
        tree[place] = changed(tree[place], rng, depth + 1)
    return tree


def _other(value: Any, rng: random.Random) -> Any:
    if isinstance(value, bool) or value is None or rng.random() < 0.5:
        return rng.choice(VALUES)
    if isinstance(value, int):
        return value + rng.choice((-1, 1, 8, -value - 1, value, 2**32, 2**64))
    if isinstance(value, float):
        return rng.choice((-value, value * 1e300, int(value) if value == value and abs(value) < 1e300 else 0))
    if isinstance(value, str):
        return rng.choice((value + value, value[1:], value + "\0", value.upper(), value + "/../x", " " + value))
    return rng.choice(([value], {"a": value}, [value] * 2))


def _lines(lines: list[bytes], rng: random.Random) -> list[bytes]:
    lines = list(lines)
    place = rng.randrange(len(lines))
    chance = rng.random()
    if chance < 0.15:
        lines.pop(place)
    elif chance < 0.3:
        lines.insert(rng.randrange(len(lines) + 1), lines[place])
    elif chance < 0.6 and b"=" in lines[place]:
        key, _, _ = lines[place].partition(b"=")
        lines[place] = key + b"= " + rng.choice((*WORDS, *(_dumped(value) for value in VALUES if value is not None)))
    else:
        lines[place] = _one_file(lines[place], rng) if lines[place].lstrip()[:1] == b"{" else _bytes(lines[place], rng)
    return lines


def _bytes(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    end = min(len(data), start + rng.choice((0, 1, 1, 2, 4, 16, 64)))
    chance = rng.random()
    if chance < 0.35:
        return data[:start] + rng.choice(WORDS) + data[end:]
    if chance < 0.6:
        return data[:start] + bytes([rng.randrange(256)]) + data[min(end, start + 1) :]
    if chance < 0.75:
        return data[:start] + data[end:]
    if chance < 0.9:
        return data[:start] + data[start:end] * rng.choice((2, 3, 30)) + data[end:]
    return data[:start]
