"""Stop strings: what is seen in the end of a text is what a search of the whole text at every token sees."""

from __future__ import annotations

import random

import pytest

from seatools.engine.sampling import SamplingOptions
from seatools.engine.stop_strings import Answer, Generated, cut_at_stop
from seatools.text.tokenizer import load_tokenizer

TEXT = "Jawaban: 18 telur. Soalan baru:\nคำตอบทีละขั้นตอน: เป็ดวางไข่ 16 ฟอง 🦆🦆 ចម្លើយ ຄຳຕອບ\n\nQuestion: how many"


def by_whole_text(ids, options, decode) -> Generated:
    for end in range(1, len(ids) + 1):
        found = cut_at_stop(list(ids[:end]), options, decode)
        if found is not None:
            return found
    return Generated(list(ids), "length", decode(list(ids)))


@pytest.mark.parametrize("name", ["gpt2-thai", "openllama"])
def test_equal_to_a_search_of_the_whole_text(shared, name):
    tokenizer = load_tokenizer(shared / "tokenizers" / name)
    draw = random.Random(1)
    for _ in range(40):
        ids = tokenizer.encode("".join(draw.choices(TEXT.split(" "), k=30)) if draw.random() < 0.5 else TEXT * 2)
        text = tokenizer.decode(ids)
        start = draw.randrange(len(text))
        stops = (text[start : start + draw.randrange(1, 12)], "never there")
        options = SamplingOptions(max_new_tokens=len(ids), stop_strings=stops)
        answer, made = Answer(options, tokenizer.decode), None
        for token in ids:
            if (made := answer.add(token)) is not None:
                break
        assert made == by_whole_text(ids, options, tokenizer.decode)


def test_the_work_grows_with_the_text_and_not_with_its_square():
    decoded = 0

    def decode(ids: list[int]) -> str:
        nonlocal decoded
        decoded += len(ids)
        return "".join(chr(97 + token) for token in ids)

    answer = Answer(SamplingOptions(max_new_tokens=3000, stop_strings=("zz",)), decode)
    for number in range(3000):
        answer.add(number % 25)
    assert decoded < 40 * 3000


def test_what_the_tail_cannot_see_is_settled_at_the_end():
    """A decoder that writes its text anew once it has ten tokens: no tail shows what the whole text holds."""

    def decode(ids: list[int]) -> str:
        return "x" * len(ids) if len(ids) < 10 else "xxSTOPxxxx"

    options = SamplingOptions(max_new_tokens=10, stop_strings=("STOP",))
    answer = Answer(options, decode)
    made = [answer.add(1) for _ in range(10)][-1]
    assert made is not None
    assert (made.text, made.finish) == ("xx", "stop")


def test_tokens_without_text_do_not_end_the_search():
    answer = Answer(
        SamplingOptions(max_new_tokens=200, stop_strings=("ab",)),
        lambda ids: "".join({1: "a", 2: "b"}.get(token, "") for token in ids),
    )
    assert answer.add(1) is None
    assert all(answer.add(0) is None for _ in range(100))
    assert answer.add(2) == Generated([], "stop", "")
