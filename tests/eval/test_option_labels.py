"""Which option the data's answer names: indices, numbers, letters of any script, labels written into options."""

from __future__ import annotations

import pytest

from seatools.eval.option_labels import (
    answer_index,
    index_of,
    label_place,
    letter_index,
    number_index,
    option_label,
    own_labels,
    text_index,
    without_label,
)
from seatools.streams.records import BadRecord


@pytest.mark.parametrize("answer, index", [(1, 1), ("B", 1), ("b", 1), ("dog", 0), (" cat ", 1)])
def test_an_answer_is_an_index_a_letter_or_the_choice(answer, index):
    assert answer_index(answer, ("dog", "cat")) == index


@pytest.mark.parametrize("answer", [2, -1, "C", "bird", None, True, 1.0, ""])
def test_an_answer_that_names_no_choice_is_refused(answer):
    with pytest.raises(BadRecord):
        answer_index(answer, ("dog", "cat"))


def test_an_answer_that_names_two_choices_is_refused():
    with pytest.raises(BadRecord, match="may mean several"):
        answer_index("A", ("B", "A"))


@pytest.mark.parametrize("label, index", [("C", 2), (" d ", 3), ("ဂ", 2), ("ข", 1), ("ឃ", 3)])
def test_letters_of_several_scripts(label, index):
    assert letter_index(label, 4) == index


@pytest.mark.parametrize("label", ["E", "", "AB", None, 2, "2", "စ"])
def test_a_letter_out_of_range_is_refused(label):
    with pytest.raises(BadRecord, match="none of the 4 options A-D"):
        letter_index(label, 4)


@pytest.mark.parametrize("number, index", [(1, 0), ("4", 3), ("๓", 2), ("၂", 1)])
def test_numbers_from_one(number, index):
    assert number_index(number, 4) == index


@pytest.mark.parametrize("number", [0, 5, "five", True, 1.0, None])
def test_a_number_out_of_range_is_refused(number):
    with pytest.raises(BadRecord, match="none of 1 to 4"):
        number_index(number, 4)


def test_an_index_may_be_a_cell_of_a_table():
    assert index_of("1", 2) == 1
    with pytest.raises(BadRecord, match="no index"):
        index_of("B", 2)


def test_the_text_of_a_choice_names_it_once():
    assert text_index(" cat", ("dog", "cat")) == 1
    with pytest.raises(BadRecord, match="is 2 of the choices"):
        text_index("cat", ("cat", "cat"))


@pytest.mark.parametrize(
    "option, label, text",
    [
        ("๓. นภา", "๓", "นภา"),
        ("(A) cat", "A", "cat"),
        ("b) cat", "b", "cat"),
        ("4.", "4", ""),
        ("C.cat", "C", "cat"),
        ("1.5 m", "", "1.5 m"),  # a number, no label
        ("A cat", "", "A cat"),
        ("", "", ""),
    ],
)
def test_the_label_of_an_option(option, label, text):
    assert (option_label(option), without_label(option)) == (label, text)


@pytest.mark.parametrize(
    "options, labels",
    [
        (["๑. a", "๒. b"], ["๑", "๒"]),
        (["A. a", "C. b", "B. c"], ["A", "C", "B"]),  # out of order, but each is another one
        (["๑. a", "๓. b", "๓. c", "๔. d"], ["๑", "๒", "๓", "๔"]),  # M3Exam th dev
        (["A. a", "B. b", "C. c", "A. d"], ["A", "B", "C", "D"]),  # M3Exam vi test
        (["A. a", "B $x$", "C. c"], ["A", "B", "C"]),
        (["a. x", "a. y"], ["a", "b"]),
        (["A. a", "В. b"], ["A", "В"]),  # a Cyrillic letter: as it is written
    ],
)
def test_labels_are_those_written_or_by_place(options, labels):
    assert own_labels(options) == labels


def test_options_without_labels_are_refused():
    with pytest.raises(BadRecord, match="carry no labels"):
        own_labels(["cat", "dog"])


@pytest.mark.parametrize(
    "answer, labels, place",
    [
        ("3", "๑๒๓", 2), ("๓", "123", 2), ("c", "ABC", 2), ("(B)", "ABC", 1), (2, "123", 1), ("B", "AВC", 1),
        ("C", "ACB", 1), ("ข", "กขค", 1),
    ],
)  # fmt: skip
def test_the_place_of_a_label_in_any_digits(answer, labels, place):
    assert label_place(answer, list(labels)) == place


@pytest.mark.parametrize("answer", ["5", "E", "", None, "AB", True])
def test_a_label_that_no_option_has_is_refused(answer):
    with pytest.raises(BadRecord, match="none of the labels"):
        label_place(answer, list("ABC"))
