"""Text cut into tokens, as HTML: what each token shows, and that no text gets out of it."""

from __future__ import annotations

import re
from html import unescape

from hypothesis import given
from hypothesis import strategies as st

from seatools.audit.cut_text import byte_spans, cut_html, excerpt, plain_html
from seatools.text.piece_table import PieceTable

_TAGS = re.compile(r'<span( class="n")? title="id \d+">|</span>|</?i>|</?code>')


def boxes(html: str) -> list[str]:
    """What stands in each box, without its inner tags."""
    return [unescape(re.sub(r"</?(i|code)>", "", box)) for box in re.findall(r"<span[^>]*>(.*?)</span>", html, re.S)]


def cut(tiny, text: str) -> str:
    return cut_html(tiny.encode(text), PieceTable(tiny))


def test_a_box_a_token(tiny):
    assert cut(tiny, "the a<b") == (
        '<span title="id 257">the</span><span title="id 32"><i>·</i></span><span title="id 97">a</span>'
        '<span title="id 60">&lt;</span><span title="id 98">b</span>'
    )


def test_bytes_of_a_cut_character_are_hexadecimal(tiny):
    assert boxes(cut(tiny, "ก")) == ["E0", "B8", "81"]
    assert "<code>E0</code>" in cut(tiny, "ก")


def test_a_mark_without_its_letter_stands_on_a_dotted_circle(shared):
    from seatools.text.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(shared / "tokenizers" / "mistral-v1-spm")
    table = PieceTable(tokenizer)
    assert boxes(cut_html(tokenizer.encode("กี"), table)) == ["·", "ก", "\u25ccี"]
    assert boxes(cut_html(tokenizer.encode("é"), table)) == ["·é"]


def test_unknown_text_is_named(shared):
    from seatools.text.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(shared / "tokenizers" / "t5-v1_1-spm-unigram")
    assert "<code>UNK</code>" in cut_html(tokenizer.encode("ກ"), PieceTable(tokenizer))


def test_what_would_not_be_seen_or_moves_others_is_shown_by_name():
    assert plain_html("a\u202eb\u0007\ue000\ufffe\u200bc\ufeff") == (
        "a<code>U+202E</code>b<code>U+0007</code><code>U+E000</code><code>U+FFFE</code>\u200bc<code>BOM</code>"
    )


@given(st.text(max_size=40))
def test_no_text_gets_out_of_its_box(tiny, text):
    html = cut(tiny, text)
    rest = _TAGS.sub("", html)
    assert not re.search(r"[<>\"']", rest.replace("&#x27;", "").replace("&quot;", ""))
    assert len(boxes(html)) == len(tiny.encode(text)) == html.count("</span>")
    assert not re.search(r"[<>\u202a-\u202e\u2066-\u2069\x00-\x08]", re.sub(r"</?code>", "", plain_html(text)))


@given(st.text(min_size=1, max_size=60), st.integers(1, 30))
def test_an_excerpt_begins_the_text_and_cuts_no_cluster(text, most):
    import regex

    found, whole = excerpt(text, most)
    assert text.startswith(found) and whole == (found == text) and found
    clusters = regex.findall(r"\X", found)
    assert len(clusters) <= most or whole
    if len(text) < 20 * most:  # beyond, the text is cut by characters before it is looked at
        assert clusters == regex.findall(r"\X", text)[: len(clusters)]


def test_an_excerpt_ends_at_a_white_space_that_is_near():
    assert excerpt("one two three four", 12) == ("one two", False)
    assert excerpt("one two three", 30) == ("one two three", True)
    assert excerpt("x" * 100, 30) == ("x" * 30, False)


def test_where_tokens_stand_in_the_text(tiny, shared):
    from seatools.text.tokenizer import load_tokenizer

    assert byte_spans(tiny.encode("thea"), PieceTable(tiny), "thea") == [(0, 3), (3, 4)]
    assert byte_spans(tiny.encode("the"), PieceTable(tiny), "tha") is None
    prefixed = load_tokenizer(shared / "tokenizers" / "mistral-v1-spm")
    assert byte_spans(prefixed.encode("house"), PieceTable(prefixed), "house") == [(0, 5)]
