"""The labels that a judge may name, as tokens that continue what it has read.

The same text is encoded with each label, and only the tokens in which these differ are scored: what a template writes
before the label is the same for all, and the end of a turn, or EOS, after it says nothing about the answers. A label of
several tokens, or one that the tokenizer merges with what stands before it, is thereby compared whole; but pieces of
different number are no fair contest, so the first set of labels that are one token each is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from seatools.judge.instructions import Instructions
from seatools.judge.judging_text import Question, comparison_text
from seatools.streams.errors import SeaError
from seatools.text.documents import Documents, TokenizedDoc

PAIRS = (("A", "B"), ("1", "2"), ("X", "Y"))
POINTS = ("0", "1", "2", "3", "4", "5")


def labelled(documents: Documents, texts: Sequence[str], labels: Sequence[str]) -> list[list[TokenizedDoc]]:
    """For each text a document a label: the text with the label as its continuation, through the chat template if
    there is one; `loss_mask` is on in the tokens in which they differ. SeaError where they do not."""
    records: list[dict[str, Any]]
    if documents.template is None:
        records = [{"prompt": text, "completion": f" {label}"} for text in texts for label in labels]
    else:
        turns = [[{"role": "user", "content": text}] for text in texts]
        records = [{"prompt": turn, "completion": label} for turn in turns for label in labels]
    encoded: list[TokenizedDoc] = []
    for doc in documents.encode(records):
        if isinstance(doc, SeaError):
            raise doc
        encoded.append(doc)
    count = len(labels)
    return [_cut([doc.ids for doc in encoded[at : at + count]], labels) for at in range(0, len(encoded), count)]


def _cut(all_ids: list[np.ndarray], labels: Sequence[str]) -> list[TokenizedDoc]:
    """The documents up to the end of their labels."""
    start = min(_num_equal(all_ids[0], ids) for ids in all_ids[1:])
    tails = [ids[start:][::-1] for ids in all_ids]
    after = min(_num_equal(tails[0], tail) for tail in tails[1:])
    found = []
    for ids in all_ids:
        end = len(ids) - after
        mask = np.zeros(end, dtype=np.uint8)
        mask[start:] = 1
        found.append(TokenizedDoc(ids[:end], mask))
    if len({doc.ids[start:].tobytes() for doc in found}) < len(labels) or any(len(doc.ids) == start for doc in found):
        raise SeaError(
            f"the tokenizer cannot tell the labels {', '.join(labels[:-1])} and {labels[-1]} apart",
            fix="another judge, or --judge-url, whose labels are read as text",
        )
    return found


def _num_equal(first: np.ndarray, second: np.ndarray) -> int:
    """How many ids two arrays share at their beginning."""
    length = min(len(first), len(second))
    different = np.flatnonzero(first[:length] != second[:length])
    return int(different[0]) if len(different) else length


def comparison_labels(documents: Documents, words: Iterable[Instructions]) -> tuple[tuple[str, str], bool]:
    """The first of PAIRS that are one token each behind every one of `words`, and True; else A and B, and False.

    Raises SeaError where no pair can be told apart, or the template leaves out what the user says.
    """
    check_template(documents)
    chat = documents.template is not None
    probes = list(dict.fromkeys(words))
    refused: SeaError | None = None
    possible: list[tuple[str, str]] = []
    for labels in PAIRS:
        try:
            made = [
                labelled(documents, [comparison_text(each, Question("q", "x", "y"), labels, chat=chat)], labels)[0]
                for each in probes
            ]
        except SeaError as error:
            refused = refused or error
            continue
        if all(doc.num_targets == 1 for docs in made for doc in docs):
            return labels, True
        possible.append(labels)
    if not possible:
        raise refused or SeaError("no labels")
    return possible[0], False


def check_template(documents: Documents) -> None:
    """SeaError for a template in whose text the user's words do not stand: the judge would read nothing."""
    if documents.template is None:
        return
    probe = "which of these 2 answers is better"
    if probe not in documents.template.render([{"role": "user", "content": probe}], add_generation_prompt=True):
        raise SeaError(
            "the chat template leaves out what the user says",
            where=documents.template.path,
            fix="--no-chat, or another --chat-template FILE",
        )
