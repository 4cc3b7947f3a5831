"""How a text longer than the model's window is read so that each of its tokens is scored exactly once.

Windows of W tokens overlap: the first is scored whole, of each further one the last `stride` tokens, so that they have
at least W - stride - 1 tokens of context (lm-eval's stride of a whole window starts each from nothing). Every window
begins with the context token (BOS, else EOS), without which Gemma's figures explode (lm-eval PR 1465). Work grows as
W / stride. `eval` and the evaluation during training share it, so that their figures are the same figures.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from seatools.streams.errors import UsageError

LONGEST_WINDOW = 2048


def windows(num_tokens: int, window: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """(start, end, scored): the model reads the context token and tokens [start, end), the last `scored` count."""
    room = window - 1  # the context token takes a place
    end = min(room, num_tokens)
    yield 0, end, end
    while end < num_tokens:
        new_end = min(end + stride, num_tokens)
        yield max(0, new_end - room), new_end, new_end - end
        end = new_end


def window_document(ids: np.ndarray, span: tuple[int, int, int], context_id: int) -> tuple[np.ndarray, np.ndarray]:
    """(ids int64 [end - start + 1], loss_mask uint8) of one window."""
    start, end, scored = span
    read = np.concatenate([np.array([context_id], dtype=np.int64), ids[start:end]])
    mask = np.zeros(len(read), dtype=np.uint8)
    mask[len(read) - scored :] = 1
    return read, mask


def default_window(positions: int | None) -> tuple[int, int]:
    """(window, stride) where nobody asks for others: what the model takes, at most 2,048; half of it."""
    window = min(positions or LONGEST_WINDOW, LONGEST_WINDOW)
    return window, max(1, window // 2)


def chosen_window(positions: int | None, seq_len: int | None = None, stride: int | None = None) -> tuple[int, int]:
    """(window, stride) as `--seq-len` and `--stride` ask for them, None: by default, for a model that takes `positions`
    tokens (None: any number). Raises UsageError for what does not fit."""
    for flag, value, least in (("--seq-len", seq_len, 2), ("--stride", stride, 1)):
        if value is not None and value < least:
            why = "one context token, one text" if least == 2 else "a window has to score something new"
            raise UsageError(f"{flag} is {value}; it must be at least {least}", fix=why)
    window = seq_len or default_window(positions)[0]
    if positions is not None and window > positions:
        raise UsageError(f"--seq-len {window} is more than the model's {positions} positions")
    step = stride or max(1, window // 2)
    if step >= window:
        raise UsageError(f"--stride {step} is not less than the window of {window}", fix=f"at most {window - 1}")
    return window, step
