"""Which records are prompts."""

from __future__ import annotations

import pytest

from seatools.sample.prompts import prompt_of, read_prompts
from seatools.streams.records import BadRecord, Rejects

USER, ASSISTANT = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}


def test_the_prompt_of_a_chat_is_all_before_its_last_answer():
    assert prompt_of({"messages": [USER, ASSISTANT, USER]}) == [USER, ASSISTANT, USER]
    assert prompt_of({"messages": [USER, ASSISTANT]}) == [USER]


def test_prompt_comes_before_messages_as_in_judge_and_dpo():
    assert prompt_of({"messages": [USER], "prompt": "hello"}) == "hello"


def test_lines_of_a_txt_file_become_prompt_records(tmp_path):
    (tmp_path / "a.txt").write_text('one "quoted"\n\ntwo\n')
    records = read_prompts([str(tmp_path / "a.txt")], rejects=Rejects(), limit=None)
    assert [record.raw for record in records] == [b'{"prompt":"one \\"quoted\\""}', b'{"prompt":"two"}']
    assert [record.line for record in records] == [1, 3]


def test_a_text_record_is_no_prompt(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a document"}\n')
    with pytest.raises(BadRecord, match=r"a.jsonl:1: .*jq"):
        read_prompts([str(tmp_path / "a.jsonl")], rejects=Rejects(), limit=None)


def test_the_limit_counts_over_all_files(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text("one\ntwo\n")
    paths = [str(tmp_path / "a.txt"), str(tmp_path / "b.txt")]
    lines = {limit: read_prompts(paths, rejects=Rejects(), limit=limit) for limit in (1, 2, 3, 9)}
    assert {limit: len(found) for limit, found in lines.items()} == {1: 1, 2: 2, 3: 3, 9: 4}
