"""Line-aligned files: pairs of languages, lines that are missing, files that do not fit."""

from __future__ import annotations

import pytest
from made_rows import source

from seatools.eval.line_pairs import aligned, chosen_pairs, parse_pair, sentence_pairs
from seatools.eval.sources import Source
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.records import BadRecord, Record, Rejects


def lines(lang: str, *texts: str) -> Source:
    """A file of lines; an empty one is no record, but counts."""
    records = [Record(b"", {"text": text}, f"{lang}.txt", line) for line, text in enumerate(texts, 1) if text]
    return Source(lang, (f"{lang}.txt",), records)


@pytest.mark.parametrize(
    "text, pair",
    [("en-th", ("en", "th")), ("eng_Latn-tha_Thai", ("eng_Latn", "tha_Thai")), ("zho-CN>th", ("zho-CN", "th"))],
)
def test_a_pair_of_languages(text, pair):
    assert parse_pair(text) == pair


@pytest.mark.parametrize("text", ["en", "en-", "-th", "en>", ""])
def test_what_is_no_pair(text):
    with pytest.raises(UsageError, match="is no pair of languages"):
        parse_pair(text)


def test_an_empty_line_drops_that_line_and_shifts_nothing():
    found = aligned([lines("en", "a", "b", "c"), lines("th", "ก", "", "ค")])
    with pytest.raises(BadRecord, match="line 2 of th is empty") as caught:
        list(sentence_pairs(found, ("en", "th"), Rejects(), None))
    assert caught.value.where == "en.txt:2"
    rejects = Rejects("skip")
    pairs = [(a, b) for _, a, b in sentence_pairs(found, ("en", "th"), rejects, None)]
    assert pairs == [("a", "ก"), ("c", "ค")] and rejects.counts == {"empty line": 1}


def test_files_of_different_lengths_are_refused():
    with pytest.raises(SeaError, match="th ends at line 1, en at line 2: the files are not line-aligned") as caught:
        aligned([lines("en", "a", "b"), lines("th", "ก")])
    assert caught.value.where == "th.txt"


def test_one_language_and_two_files_of_one_are_refused():
    with pytest.raises(UsageError, match="needs two languages"):
        aligned([lines("en", "a")])
    with pytest.raises(UsageError, match="one file a language"):
        aligned([lines("en", "a"), lines("en", "b")])


def test_pairs_name_languages_by_tag_or_by_language():
    langs = ["eng_Latn", "th", "vi"]
    assert len(chosen_pairs(langs, None)) == 6
    assert chosen_pairs(langs, [("en", "th"), ("en", "tha_Thai")]) == [("eng_Latn", "th")]
    for pair in (("en", "lo"), ("th", "tha")):
        with pytest.raises(UsageError, match="no data for the pair"):
            chosen_pairs(langs, [pair])


def test_records_of_another_file_keep_their_lines():
    found = aligned([source({"text": "a"}, lang="en", path="e.txt"), source({"text": "ก"}, lang="th", path="t.txt")])
    assert [record.where for record, _, _ in sentence_pairs(found, ("th", "en"), Rejects(), None)] == ["t.txt:1"]
