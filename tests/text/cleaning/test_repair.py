"""Records repaired: which texts, in which order, and what stays."""

from __future__ import annotations

import json

import orjson

from seatools.streams.records import Record
from seatools.text.cleaning.repair import joined_text, repair_record, repairer
from seatools.text.zawgyi import is_zawgyi


def record(raw: str) -> Record:
    return Record(raw.encode(), orjson.loads(raw), "x.jsonl", 1)


def test_a_record_that_needs_nothing_is_the_same_object():
    came = record('{"id": 1.0, "text": "caf\\u00e9"}')
    assert repair_record(came, repairer("nfc", "repair")) is came


def test_chat_is_repaired_turn_by_turn_and_roles_are_left():
    came = record(
        '{"messages":[{"role":"user","content":"e\u0301"},{"content":"ok","role":"e\u0301"}],"note":"e\u0301"}'
    )
    got = repair_record(came, repairer("nfc", "none"))
    assert got.raw.decode() == came.raw.decode().replace('"content":"e\u0301"', '"content":"\u00e9"')
    assert got.value == orjson.loads(got.raw)
    assert joined_text(got.value) == "\u00e9\n\nok"


def test_prompt_and_completion_of_both_kinds():
    mend = repairer("nfc", "repair")
    got = repair_record(record('{"prompt":"a\u200b","completion":[{"role":"assistant","content":"b\u200b"}]}'), mend)
    assert got.raw == b'{"prompt":"a","completion":[{"role":"assistant","content":"b"}]}'


def test_invisible_characters_go_before_nfc():
    assert repairer("nfc", "repair")("e\u00ad\u0301") == "\u00e9"


def test_zawgyi_of_real_news_becomes_unicode(shared):
    lines = (shared / "data/mono/my_voa.jsonl").read_text(encoding="utf-8").rstrip("\n").split("\n")
    mend = repairer("zawgyi", "repair")
    for line in lines[:20]:
        got = repair_record(record(line), mend)
        assert is_zawgyi(json.loads(line)["text"]) and not is_zawgyi(got.value["text"])
        assert got.value | {"text": ""} == json.loads(line) | {"text": ""}
