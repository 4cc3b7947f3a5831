"""Multiple choice as documents: prompt, delimiter and choice are tokenised together, the choice's tokens scored.

The boundary is the longest common prefix with the prompt alone, as in training. In a chat the choice follows the header
of the assistant's turn, and what a template writes after a turn is no part of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seatools.eval.items import ChoiceItem
from seatools.eval.requests import Config, Document, ScoreRequest, Setup
from seatools.streams.errors import SeaError
from seatools.streams.records import BadRecord


def choice_requests(items: Sequence[ChoiceItem], config: Config, setup: Setup) -> list[ScoreRequest]:
    """The items that the model can read; the others go to `setup.refuse`."""
    plain = [item for item in items if isinstance(item.prompt, str)]
    asked = [
        {"prompt": item.prompt, "completion": f"{item.delimiter}{choice}"}
        for item in plain if isinstance(item.prompt, str) for choice in item.choices
    ]  # fmt: skip
    encoded = iter(setup.documents.encode(asked, workers=setup.workers)) if asked else iter(())
    found = []
    for item in items:
        try:
            if isinstance(item.prompt, str):
                made = [next(encoded) for _ in item.choices]
                docs = [_checked(doc if isinstance(doc, SeaError) else doc.document, setup.positions) for doc in made]
            else:
                docs = [_checked(doc, setup.positions) for doc in _chat_documents(item, setup)]
        except BadRecord as error:
            setup.refuse(item, error)
            continue
        found.append(ScoreRequest(item=item, config=config, docs=tuple(docs), result=_result_of(item)))
    return found


def _result_of(item: ChoiceItem):  # type: ignore[no-untyped-def]
    def result(values: np.ndarray) -> dict[str, object]:
        return {"logprobs": values.tolist(), "bytes": list(item.num_bytes), "gold": item.gold}

    return result


def _chat_documents(item: ChoiceItem, setup: Setup) -> list[Document]:
    template, tokenizer = setup.documents.template, setup.tokenizer
    if template is None:
        raise SeaError(
            f"{item.task} is asked as a chat, and {tokenizer.path} has no chat template",
            fix="give one with --chat-template FILE, or leave out --chat",
        )
    try:
        before = template.render(item.prompt, add_generation_prompt=True)  # type: ignore[arg-type]
    except SeaError as error:
        raise BadRecord("bad prompt", error.what, fix=error.fix) from error
    texts = [before, *(before + choice for choice in item.choices)]
    rows = [np.array(ids, dtype=np.int64) for ids in tokenizer.encode_batch(texts, special=True, workers=setup.workers)]
    bos = tokenizer.bos_id
    if bos is not None:
        rows = [row if len(row) and row[0] == bos else np.concatenate([[bos], row]) for row in rows]
    documents = []
    for row in rows[1:]:
        length = min(len(row), len(rows[0]))
        different = row[:length] != rows[0][:length]
        shared = int(different.argmax()) if different.any() else length
        mask = np.zeros(len(row), dtype=np.uint8)
        mask[max(shared, 1) :] = 1
        documents.append((row, mask))
    return documents


def _checked(doc: Document | SeaError, positions: int | None) -> Document:
    if isinstance(doc, SeaError):
        raise BadRecord("bad text", doc.what, fix=doc.fix)
    if not np.asarray(doc[1]).any():
        raise BadRecord("bad text", "a choice has no token of its own behind the prompt")
    if positions is not None and len(doc[0]) > positions:
        raise BadRecord(
            "too long",
            f"the question has {len(doc[0]):,} tokens, the model takes {positions:,}",
            fix="fewer --shots, or --on-error skip",
        )
    return doc
