"""`--balance lang`: parts of equal weight inside each source."""

from __future__ import annotations

import json
from collections import Counter

import orjson
import pytest


@pytest.fixture
def sft(tmp_path):
    """40 English, 10 Thai and 10 Lao completions of one length."""
    path = tmp_path / "sft.jsonl"
    langs = ["en"] * 40 + ["th"] * 10 + ["lo"] * 10
    rows = [{"prompt": f"q{n:02}", "completion": "abcdefg", "lang": lang} for n, lang in enumerate(langs)]
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def plan(sea, *options):
    result = sea("mix", *options, "--dry-run", "--json")
    assert result.code == 0, result.stderr
    return {row["source"]: row for row in map(json.loads, result.stdout.splitlines())}, result.stderr


def test_languages_get_equal_shares_of_what_is_trained(sea, tmp_path, sft, byte_tokenizer):
    text = tmp_path / "text.jsonl"
    text.write_bytes(b'{"text": "1234567", "lang": "en"}\n' * 60)
    options = ["--tokenizer", byte_tokenizer, "--unit", "loss-tokens", "--balance", "lang", "--budget", 960]
    rows, stderr = plan(sea, f"sft={sft}:3", f"text={text}:1", *options)
    assert list(rows) == ["sft.en", "sft.lo", "sft.th", "text.en"]
    assert [row["emitted"] for row in rows.values()] == [240, 240, 240, 240]
    assert [row["weight"] for row in rows.values()] == [1, 1, 1, 1]
    assert rows["sft.lo"]["epochs"] == 3.0 and "--unit loss-tokens" not in stderr


def test_another_unit_is_said(sea, sft):
    _, stderr = plan(sea, f"sft={sft}", "--unit", "docs", "--balance", "lang")
    assert "--balance makes the docs of the languages equal" in stderr and "--unit loss-tokens" in stderr


def test_the_cap_of_a_group(sea, sft):
    options = [f"sft={sft}", "--unit", "docs", "--balance", "lang", "--per-group-cap", 4]
    rows, _ = plan(sea, *options)
    assert [row["docs"] for row in rows.values()] == [4, 4, 4]
    runs = [sea("mix", *options, "--seed", seed).stdout for seed in (0, 0, 1)]
    assert sorted(runs[0].splitlines()) == sorted(runs[1].splitlines()) != sorted(runs[2].splitlines())
    assert Counter(json.loads(line)["lang"] for line in runs[0].splitlines()) == {"en": 4, "th": 4, "lo": 4}


def test_records_without_a_language_are_an_error_with_count_and_place(sea, tmp_path, sft):
    sft.write_bytes(sft.read_bytes() + b'{"text": "no lang"}\n' * 2)
    result = sea("mix", f"sft={sft}", "--unit", "docs", "--balance", "lang")
    assert result.code == 1 and result.stdout == b""
    assert f'source sft: 2 of 62 documents have no "lang", the first in {sft} (document 61' in result.stderr


def test_a_source_may_have_a_language_of_its_own(sea, tmp_path, sft):
    sft.write_bytes(sft.read_bytes() + b'{"text": "no lang"}\n' * 2)
    (tmp_path / "mix.toml").write_text(f'[[source]]\nname = "sft"\nfiles = "{sft}"\nlang = "lo"\n')
    rows, _ = plan(sea, "--plan", tmp_path / "mix.toml", "--unit", "docs", "--balance", "lang")
    assert {name: row["docs"] for name, row in rows.items()} == {"sft.en": 40, "sft.lo": 12, "sft.th": 10}


def test_a_part_may_not_have_the_name_of_another_source(sea, sft):
    result = sea("mix", f"sft={sft}", f"sft.en={sft}", "--unit", "docs", "--balance", "lang")
    assert result.code == 0 and result.stdout != b""  # sft.en.en is not sft.en
    (sft.parent / "x.jsonl").write_bytes(b'{"text": "x", "lang": "b.c"}')
    (sft.parent / "y.jsonl").write_bytes(b'{"text": "x", "lang": "c"}')
    names = [f"a={sft.parent / 'x.jsonl'}", f"a.b={sft.parent / 'y.jsonl'}"]
    clash = sea("mix", *names, "--unit", "docs", "--balance", "lang")
    assert clash.code == 2 and "two sources are named a.b.c" in clash.stderr


def test_phases_weigh_the_whole_source(sea, tmp_path, sft):
    (tmp_path / "en.jsonl").write_bytes(b'{"text": "x", "lang": "en"}\n' * 100)
    (tmp_path / "mix.toml").write_text(
        f'budget = 60\n[[source]]\nname = "sft"\nfiles = "{sft}"\n[[source]]\nname = "en"\n'
        f'files = "{tmp_path / "en.jsonl"}"\n[[phase]]\nshare = 1\nweights = {{ sft = 3, en = 1 }}\n'
    )
    rows, _ = plan(sea, "--plan", tmp_path / "mix.toml", "--unit", "docs", "--balance", "lang")
    assert {name: row["emitted_docs"] for name, row in rows.items()} == {
        "sft.en": 15, "sft.lo": 15, "sft.th": 15, "en.en": 15,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("sizes", "budget", "emitted"),
    [
        # en 40, lo 10, th 10 documents of one source, each up to 4 times.
        ({"sft": "sft"}, 90, {"sft.en": 30, "sft.lo": 30, "sft.th": 30}),
        ({"sft": "sft"}, 200, {"sft.en": 120, "sft.lo": 40, "sft.th": 40}),
        ({"sft": "sft"}, 240, {"sft.en": 160, "sft.lo": 40, "sft.th": 40}),
        # Two sources share the budget, the languages of one its share: 60 of each, then 120 - 2 * 40 = 40 for en.
        ({"sft": "sft", "text": "text"}, 120, {"sft.en": 20, "sft.lo": 20, "sft.th": 20, "text.en": 60}),
        ({"sft": "sft", "text": "text"}, 300, {"sft.en": 70, "sft.lo": 40, "sft.th": 40, "text.en": 150}),
        # The source of 20 * 4 documents leaves the other 320.
        ({"sft": "sft", "small": "small"}, 300, {"sft.en": 140, "sft.lo": 40, "sft.th": 40, "small.en": 80}),
    ],
)
def test_unimax_fills_the_budget_by_sources_and_their_languages(sea, tmp_path, sft, sizes, budget, emitted):
    for name, count in (("text", 60), ("small", 20)):
        (tmp_path / f"{name}.jsonl").write_bytes(b'{"text": "x", "lang": "en"}\n' * count)
    sources = [f"{name}={tmp_path / file}.jsonl" for name, file in sizes.items()]
    rows, stderr = plan(sea, *sources, "--unit", "docs", "--unimax", "--balance", "lang", "--budget", budget)
    assert {name: row["emitted"] for name, row in rows.items()} == emitted
    assert "not reached" not in stderr and "used up" not in stderr


ESCAPE = "\x1b]0;gotcha\x07\x1b[31m"


def test_a_lang_cannot_drive_the_terminal(sea, tmp_path, byte_tokenizer, template_path):
    langs = [
        ESCAPE,
        "en/us",
        "Old High German",
        "\u202eht\x85\u2028",
        "x" * 500,
        "x" * 499 + "y",
        "ไทย",
        "a\\x20b",
        "a b",
    ]
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    rows = [{"messages": turns, "lang": lang} for lang in langs]
    (tmp_path / "a.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    options = ["--tokenizer", byte_tokenizer, "--chat-template", template_path, "--balance", "lang", "--unit", "docs"]
    rows, stderr = plan(sea, f"s={tmp_path / 'a.jsonl'}", *options)
    assert len(rows) == len(langs)
    for text in (*rows, *stderr.splitlines()):
        assert text.isprintable()
    assert all(len(name) <= 42 and " " not in name and "/" not in name for name in rows)
    assert {"s.\\x1b]0;gotcha\\x07\\x1b[31m", "s.en\\x2fus", "s.Old\\x20High\\x20German", "s.ไทย"} <= set(rows)
    assert "s.\\u202eht\\x85\\u2028" in rows and {"s.a\\x5cx20b", "s.a\\x20b"} <= set(rows)
