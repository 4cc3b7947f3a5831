"""Quality rules: real text passes, its corrupted copies do not, and the data file says what is meant."""

from __future__ import annotations

import json
import random

import pytest

from seatools.streams.errors import UsageError
from seatools.text.cleaning.quality import RULES, load_rules, measure
from seatools.text.text_warnings import normaliser

GOOD = {
    "mono/vi_wiki.jsonl": 0.01, "mono/my_voa.jsonl": 0.01, "mono/my_shn_wiki.jsonl": 0.01, "mono/id_tldr.jsonl": 0.01,
    "mono/th_tldr.jsonl": 0.01, "mono/km_prompts.jsonl": 0.01, "ntrex/lao.txt": 0.01, "ntrex/khm.txt": 0.01,
    "ntrex/tam.txt": 0.01, "flores200/dev/zho_Hans.txt": 0.01, "flores200/dev/jpn_Jpan.txt": 0.01,
    "flores200/dev/ind_Latn.txt": 0.01, "mono/vi_commonvoice.txt": 0.01,
}  # fmt: skip


def documents(shared, file, most=400):
    path = shared / "data" / file
    lang = path.stem.split("_")[0]
    mend = normaliser("zawgyi")
    lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    step = len(lines) // most + 1
    rows = (json.loads(line) if file.endswith("jsonl") else {"text": line} for line in lines[::step] if line.strip())
    return [(mend(row["text"]), row.get("lang", lang)) for row in rows]


@pytest.mark.parametrize("file", GOOD)
def test_good_text_passes(shared, file):
    rules = load_rules()
    found = [rules.check(text, lang) for text, lang in documents(shared, file)]
    assert sum(why is not None for why in found) <= GOOD[file] * len(found), found


def menu(text, numbers):
    words = [word[:18] for word in text.split() if len(word) > 1][:60]
    numbers.shuffle(words)
    return "\n".join(words)


def bar(text, numbers):
    return menu(text, numbers).replace("\n", " | ")


def repeated_lines(text, numbers):
    return "\n".join([line for line in text.splitlines() if line.strip()][:3] * 8)


def markup(text, numbers):
    lines = [line for line in text.splitlines() if line.strip()]
    return "".join(
        f'<div class="row"><a href="/news/{at}?id=3" title="x">{line[:40]}</a></div>' for at, line in enumerate(lines)
    )


def mojibake(text, numbers):
    return text.encode("utf-8").decode("latin-1")


def one_phrase(text, numbers):
    return f"{text[:30]} " * 40


@pytest.mark.parametrize("spoil", [menu, bar, repeated_lines, markup, mojibake, one_phrase])
@pytest.mark.parametrize("file", ["mono/vi_wiki.jsonl", "mono/th_thaigov.jsonl", "mono/my_voa.jsonl"])
def test_corrupted_text_does_not(shared, file, spoil):
    numbers, rules = random.Random(0), load_rules()
    bad = [(spoil(text, numbers), lang) for text, lang in documents(shared, file, 60)]
    passed = [text[:80] for text, lang in bad if rules.check(text, lang) is None]
    assert passed == []


def test_a_reject_says_rule_version_value_and_limit():
    why = load_rules().check("Selamat datang di rumah kami. " * 100, "id")
    assert (why.reason, why.limit) == ("repeated_ngrams.v1", 0.6) and why.value > 0.9
    assert load_rules().check("ภาษาไทย" * 3, "en").reason == "script_share.v1"
    assert load_rules().check("ภาษาไทย" * 3, "th") is None
    assert load_rules().check("ok", None).as_dict() == {"reason": "chars.v1", "value": 2.0, "limit": 5}


def test_measures_of_a_small_text():
    found = measure("ab 12 $$", "en")
    assert found == {
        "chars": 8.0, "script_share": 1.0, "letters_share": 2 / 6, "digits_share": 2 / 6, "symbols_share": 2 / 6,
        "mojibake_share": 0.0, "markup_share": 0.0, "mean_word": 2.0,
    }  # fmt: skip
    lines = measure("\n".join(["same line"] * 5 + [f"line {at}" for at in range(5)]), None)
    assert lines["repeated_lines"] == 36 / 75 and lines["short_lines"] == 1.0
    assert measure("", "th") == {
        "chars": 0.0, "letters_share": 0.0, "digits_share": 0.0, "symbols_share": 0.0, "mojibake_share": 0.0,
        "markup_share": 0.0,
    }  # fmt: skip
    assert set(measure("word " * 100 + "\n" * 3, "en")) <= set(RULES)


def test_khmer_word_breaks_are_no_symbols():
    assert measure("ភា\u200bសា\u200bខ្មែរ", "km")["symbols_share"] == 0


def test_compression_is_the_same_for_scripts_of_two_and_three_bytes():
    numbers = random.Random(0)
    latin = "".join(numbers.choice("abcdefghijklmnop") for _ in range(5000))
    thai = latin.translate({ord("a") + at: 0x0E01 + at for at in range(16)})
    ratio = measure(thai, None)["zlib_ratio"] / measure(latin, None)["zlib_ratio"]
    assert 0.95 < ratio < 1.05


def test_a_users_file_changes_single_limits(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text("[default]\nchars = { min = 50 }\nmean_word = false\n[tha_Thai]\nchars = { min = 2 }\n")
    rules = load_rules(str(path))
    assert rules.check("a short text", "en").reason == "chars.v1"
    assert rules.check("ภาษา", "th") is None
    assert rules.limits("vi")["zlib_ratio"] == load_rules().limits("vi")["zlib_ratio"]
    assert rules.check("x" * 100, "en") is None  # one word of 100 characters


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[default]\nlenght = { min = 1 }", "no quality rule"),
        ("[default]\nchars = 5", "chars = 5"),
        ("[th]\nchars = { least = 5 }", "th.chars"),
        ("[th]\nchars = { min = true }", "th.chars"),
        ("[th]\nchars = { min = nan }", "nothing can meet that"),
        ("[th]\nchars = { min = 50, max = 2 }", "nothing can meet that"),
        ("chars = 5", "not a table"),
        ("[-o]\nchars = { min = 5 }", '"-o" is not a table of a language'),
        ("[", "not TOML"),
    ],
)
def test_a_file_that_says_something_else(tmp_path, text, said):
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(UsageError, match=said):
        load_rules(str(tmp_path / "own.toml"))
