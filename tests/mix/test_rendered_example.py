"""The example on stderr: all of the document, with what is trained between marks."""

from __future__ import annotations

import re
import sys

import orjson
import pytest

from seatools.mix.document_store import DocumentStore
from seatools.mix.rendered_example import first_masked, rendered_example
from seatools.mix.source_index import build_index
from seatools.streams.records import Rejects
from seatools.streams.source_specs import SourceSpec
from seatools.text.documents import load_documents


def turns(*contents):
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(contents)]


@pytest.fixture
def example(tmp_path, byte_tokenizer, template_path):
    documents = load_documents(byte_tokenizer, chat_template=template_path)

    def render(*records, color=False):
        path = tmp_path / "c.jsonl"
        path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))
        with DocumentStore() as store:
            index = build_index(SourceSpec(name="c", glob=str(path)), store, Rejects(), documents=documents)
            found = first_masked([index])
            return None if found is None else rendered_example(*found, documents, color=color)

    return render


def test_special_tokens_are_spelled_and_trained_parts_marked(example):
    text = example({"text": "plain"}, {"messages": turns("hi", "ສະບາຍ\ndee", "and", "so")})
    assert text.split("\n") == [
        "example from c: 35 tokens, 23 trained, between ⟦ and ⟧",
        "<s><|user|>hi<|end|><|assistant|>⟦ສະບາຍ↵⟧",
        "⟦dee<|end|>⟧<|user|>and<|end|><|assistant|>⟦so<|end|>⟧",
    ]


def test_in_colour(example):
    text = example({"prompt": "hi ", "completion": "there"}, color=True)
    assert text.split("\n")[1] == "<s>hi \x1b[32mthere</s>\x1b[0m" and "in green" in text


def test_there_is_none_without_a_masked_document(example):
    assert example({"text": "plain"}, {"text": "x"}) is None


def test_long_ones_are_cut_to_their_ends(example):
    answer = "\n".join(f"line {i} {'x' * 300 if i == 99 else ''}" for i in range(100))
    lines = example({"messages": turns("hi", answer)}, color=True).split("\n")
    assert len(lines) == 21 and "... 81 lines ..." in lines
    bare = [re.sub(r"\x1b\[\d+m", "", line) for line in lines]
    assert max(map(len, bare)) < 140 and bare[-1].startswith("line 99 xxx") and bare[-1].endswith("xxx<|end|>")
    assert all(line.count("\x1b[32m") == line.count("\x1b[0m") for line in lines)


def test_no_document_drives_the_terminal(example):
    text = example({"messages": turns("a\x1b[2J\u202eb\tc\r", "x")})
    assert "a\\x1b[2J\\u202eb\\x09c\\x0d" in text and "\x1b" not in text


def test_it_is_on_stderr_once_and_not_with_quiet(sea, tmp_path, byte_tokenizer, template_path, monkeypatch):
    path = tmp_path / "c.jsonl"
    path.write_bytes(
        orjson.dumps({"messages": turns("hi", "ok")}) + b"\n" + orjson.dumps({"messages": turns("1", "2")})
    )
    options = [f"c={path}", f"d={path}", "--tokenizer", byte_tokenizer, "--chat-template", template_path, "--dry-run"]
    result = sea("mix", *options)
    assert result.stderr.count("example from ") == 1 and "<|assistant|>⟦ok<|end|>⟧" in result.stderr
    assert "example from" not in sea("mix", *options, "-q").stderr


@pytest.mark.parametrize(
    ("terminal", "variables", "expected"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
    ],
)
def test_colour_is_for_terminals_that_want_it(monkeypatch, terminal, variables, expected):
    from seatools.streams.colour import wants_colour

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    assert wants_colour(sys.stderr) is expected
