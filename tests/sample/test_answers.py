"""What makes the text of an answer: seeds from the record alone, exact continuations, no torn characters."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatools.engine.generate import Generated
from seatools.engine.generator import OwnLoop
from seatools.sample.answers import Answerer, continuation_decoder
from seatools.sample.options import SampleOptions
from seatools.sample.questions import Asker, Question, answer_seed
from seatools.streams.messages import Messages
from seatools.text.documents import Documents
from seatools.text.tokenizer import load_tokenizer

EGYPTIAN = "𓀀𓀁"  # two characters of four bytes


@pytest.fixture(params=["byte_model", "piece_model", "fallback_tokenizer"])
def tokenizer(request):
    """Byte-level, SentencePiece with byte fallback, and byte fallback from a tokenizer.json."""
    return load_tokenizer(request.getfixturevalue(request.param))


@pytest.fixture
def text_of(tokenizer):
    """`text_of(ids, finish, prompt)`: the answer that a model which made `ids` gives."""

    def run(ids, finish="stop", prompt="abc"):
        asker = Asker(SampleOptions(), Documents(tokenizer))
        answerer = Answerer(asker, frozenset(), Path(), "", "cpu", "fp32", Messages())
        answerer._generator = OwnLoop(None)
        answerer._generator.run = lambda group, _: [Generated(ids, finish, answerer.decode(ids)) for _ in group]
        question = Question("key", prompt, tuple(tokenizer.encode("abc")), "p.jsonl:1")
        return answerer.answer([question])[0].responses[0]

    return run


def test_the_seed_depends_on_seed_prompt_and_number():
    base = answer_seed(0, [1, 2], 0)
    others = {answer_seed(1, [1, 2], 0), answer_seed(0, [1, 3], 0), answer_seed(0, [12], 0), answer_seed(0, [1, 2], 1)}
    assert base == answer_seed(0, [1, 2], 0)
    assert len(others | {base}) == 5
    assert 0 <= base < 2**63


@pytest.mark.parametrize("continued", [" the cat", "the cat", "  two spaces", "\nline", "กข", ""])
def test_a_continuation_keeps_its_leading_space(tokenizer, text_of, continued):
    whole = tokenizer.encode("abc" + continued)
    ids = whole[len(tokenizer.encode("abc")) :]
    assert text_of(ids) == continued


@given(data=st.data(), prompt=st.text("abc ก\n", min_size=1, max_size=6).filter(str.strip))
def test_prompt_and_continuation_decode_to_what_the_model_made(model, data, prompt):
    tokenizer = load_tokenizer(model)
    ids = data.draw(st.lists(st.integers(3, tokenizer.vocab_size - 1), max_size=8))
    before = tokenizer.encode(prompt)
    assert tokenizer.decode(before) + continuation_decoder(tokenizer)(ids) == tokenizer.decode(before + ids)


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_an_answer_cut_inside_a_character_ends_before_it(tokenizer, text_of, lost):
    ids = tokenizer.encode("abc" + EGYPTIAN)[len(tokenizer.encode("abc")) :]
    assert text_of(ids, "length") == EGYPTIAN
    assert text_of(ids[:-lost], "length") == EGYPTIAN[0]


def test_a_torn_character_that_the_model_ended_on_stays(tokenizer, text_of):
    ids = tokenizer.encode("abc" + EGYPTIAN)[len(tokenizer.encode("abc")) :]
    assert "\ufffd" in text_of(ids[:-1], "stop")


def test_an_answer_that_is_all_torn_is_empty(tokenizer, text_of):
    ids = tokenizer.encode("abc" + EGYPTIAN)[len(tokenizer.encode("abc")) :]
    assert text_of(ids[:2], "length") == ""


def test_an_answer_in_a_chat_has_no_white_space_around_it(tokenizer, text_of):
    ids = tokenizer.encode("abc the cat\n")[len(tokenizer.encode("abc")) :]
    assert text_of(ids) == " the cat\n"
    assert text_of(ids, prompt=[{"role": "user", "content": "abc"}]) == "the cat"


def test_an_option_that_is_out_of_range_is_a_usage_error(sea, byte_model):
    for option, value in {"--temperature": -1, "--top-p": 0, "--top-k": -1, "--min-p": 2, "--stop": ""}.items():
        result = sea("sample", byte_model, option, value, stdin=b'{"prompt": "a"}')
        assert result.code == 2, (option, result.stderr)
        assert result.stdout == b""
