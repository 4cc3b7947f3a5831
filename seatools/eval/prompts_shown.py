"""With -v, one prompt of each task as the model reads it: its text, its tokens, and how many BOS it has."""

from __future__ import annotations

import numpy as np

from seatools.eval.requests import AnswerRequest, CountRequest, Request, ScoreRequest, Setup

_IDS = 400


def show_prompt(request: Request, setup: Setup, *, private: bool) -> None:
    """Tell `setup.messages` what the model reads first; of harmful text the tokens are counted only."""
    if isinstance(request, CountRequest):
        return
    tokenizer = setup.tokenizer
    ids = request.ids if isinstance(request, AnswerRequest) else ()
    scored = 0
    if isinstance(request, ScoreRequest):
        first, mask = request.docs[0]
        ids, scored = tuple(int(id_) for id_ in first), int(np.asarray(mask).sum())
    bos = sum(id_ == tokenizer.bos_id for id_ in ids)
    what = f"{request.item.task}, {request.item.lang}, first prompt: {len(ids)} tokens, {bos} BOS"
    what += f", the last {scored} scored" if scored else ""
    if bos > 1:
        setup.messages.warn(f"{what}: the template writes BOS once more")
    if private:
        setup.messages.debug(f"{what}; its text is not shown: it may be harmful")
        return
    spelled = [str(id_) for id_ in ids]
    if len(ids) > _IDS:
        spelled[_IDS // 2 : -_IDS // 2] = ["..."]
    setup.messages.debug(f"{what}, [{', '.join(spelled)}]:")
    setup.messages.debug(tokenizer.decode(list(ids), skip_special=False))
