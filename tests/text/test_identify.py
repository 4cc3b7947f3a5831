"""Language identification by the `lid` extra, on real sentences."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("pycld2")

from seatools.text.identify import identify, same_language


def test_tags_of_one_language_are_one():
    assert same_language("tha_Thai") == same_language("th-TH") == "th"
    assert same_language("zsm_Latn") == same_language("id") == "id"


def test_control_characters_do_not_stop_it():
    assert identify("สวัสดีครับ\x00\x85 วันนี้อากาศดีมาก") == "th"
    assert identify("") is None


@pytest.mark.parametrize("name", ["tha_Thai", "lao_Laoo", "khm_Khmr", "mya_Mymr", "vie_Latn", "ind_Latn", "eng_Latn"])
def test_flores_sentences_are_identified(shared, name):
    lines = (shared / f"data/flores200/dev/{name}.txt").read_text()
    texts = lines.splitlines()[:200]
    right = sum(identify(text) == same_language(name) for text in texts)
    assert right / len(texts) >= 0.9


def test_audit_says_when_text_is_not_in_its_language(sea, shared):
    flores = shared / "data/flores200/dev"
    result = sea(
        "audit", shared / "models/stories260K", f"th={flores}/tha_Thai.txt", f"vi={flores}/eng_Latn.txt", "--identify",
        "--limit", 50, "--json",
    )  # fmt: skip
    assert result.code == 0, result.stderr
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    match = {row["lang"]: row["value"] for row in rows if row["metric"] == "language_match"}
    assert match["th"] > 0.9
    assert match["vi"] < 0.1
