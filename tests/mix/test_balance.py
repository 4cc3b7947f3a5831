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
