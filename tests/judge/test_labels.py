"""Labels as tokens: one each where the tokenizer allows, compared whole where not, and never mixed up."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_sentencepiece

from seatools.judge.instructions import InstructionBook
from seatools.judge.labels import POINTS, check_template, comparison_labels, labelled
from seatools.streams.errors import SeaError
from seatools.text.chat import ChatTemplate, load_chat_template
from seatools.text.documents import Documents
from seatools.text.tokenizer import load_tokenizer

WORDS = [InstructionBook().of(lang) for lang in ("en", "th", "id")]


def test_a_text_is_read_up_to_the_label_and_no_end_is_counted(byte_judge):
    tokenizer = load_tokenizer(byte_judge)
    (docs,) = labelled(Documents(tokenizer), ["Answer"], "AB")
    for doc, label in zip(docs, "AB", strict=True):
        assert doc.ids.tolist() == [tokenizer.bos_id, *tokenizer.encode(f"Answer {label}")]
        assert np.flatnonzero(doc.loss_mask).tolist() == [len(doc.ids) - 1]


def test_a_chat_is_read_up_to_the_label_and_no_end_of_turn_is_counted(chat_judge):
    tokenizer = load_tokenizer(chat_judge)
    documents = Documents(tokenizer, load_chat_template(chat_judge))
    for doc, label in zip(labelled(documents, ["Answer"], POINTS)[0], POINTS, strict=True):
        assert doc.ids.tolist() == [tokenizer.bos_id, *tokenizer.encode(f"<|user|>Answer<|assistant|>{label}")]
        assert np.flatnonzero(doc.loss_mask).tolist() == [len(doc.ids) - 1]


def test_what_a_template_writes_around_the_label_is_not_counted(byte_judge):
    tokenizer = load_tokenizer(byte_judge)
    source = "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% else %}A: {{ m.content }}!B{% endif %}"
    template = ChatTemplate(source + "{% endfor %}", "t.jinja")
    for doc, label in zip(labelled(Documents(tokenizer, template), ["Answer"], "AB")[0], "AB", strict=True):
        assert doc.ids.tolist() == [tokenizer.bos_id, *tokenizer.encode(f"AnswerA: {label}")]
        assert np.flatnonzero(doc.loss_mask).tolist() == [len(doc.ids) - 1]


def without(tmp_path, *missing, **more):
    pieces = [piece for piece in tiny_sentencepiece.PIECES if piece not in missing]
    return load_tokenizer(tiny_sentencepiece.write_sentencepiece(tmp_path / "t", pieces, **more))


def test_labels_of_one_token_are_preferred_to_those_of_several(tmp_path, piece_judge):
    assert comparison_labels(Documents(load_tokenizer(piece_judge)), WORDS) == (("A", "B"), True)
    documents = Documents(without(tmp_path, "▁B"))
    labels, single = comparison_labels(documents, WORDS)
    if single:
        (docs,) = labelled(documents, ["abc"], labels)
        assert labels != ("A", "B")
        assert [doc.num_targets for doc in docs] == [1, 1]
    else:
        assert labels == ("A", "B")


def test_a_label_of_several_tokens_is_counted_whole(tmp_path):
    tokenizer = without(tmp_path, "▁B")
    a, b = labelled(Documents(tokenizer), ["abc"], "AB")[0]
    assert [tokenizer.piece(int(id_)) for id_ in a.ids[a.loss_mask == 1]] == ["▁A"]
    assert [tokenizer.piece(int(id_)) for id_ in b.ids[b.loss_mask == 1]] == ["▁", "B"]


def test_labels_that_are_the_same_tokens_are_refused(tmp_path):
    folder = tiny_sentencepiece.write_sentencepiece(tmp_path / "t", ["▁", "c"], byte_fallback=False)
    documents = Documents(load_tokenizer(folder))
    with pytest.raises(SeaError, match="cannot tell the labels A and B apart"):
        comparison_labels(documents, WORDS)
    with pytest.raises(SeaError, match="cannot tell the labels 0, 1, 2, 3, 4 and 5 apart"):
        labelled(documents, ["c"], POINTS)


def test_a_template_that_drops_the_system_turn_loses_nothing_and_one_that_drops_the_user_is_refused(byte_judge):
    tokenizer = load_tokenizer(byte_judge)
    source = "{% for m in messages if m.role == 'ROLE' %}{{ m.content }}{% endfor %}"
    check_template(Documents(tokenizer, ChatTemplate(source.replace("ROLE", "user"), "t.jinja")))
    with pytest.raises(SeaError, match="leaves out what the user says"):
        check_template(Documents(tokenizer, ChatTemplate(source.replace("ROLE", "system"), "t.jinja")))
