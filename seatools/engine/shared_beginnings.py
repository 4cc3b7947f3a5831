"""What the prompts of a group begin with in common, as a tree: few-shot examples, an instruction, a whole prompt that
is answered several times. Beginnings of fewer than 16 tokens are left with the prompts: a call for them costs more."""

from __future__ import annotations

from collections.abc import Sequence

from seatools.engine.row_attention import Beginning

SHORTEST = 16


def shared_beginnings(prompts: Sequence[Sequence[int]]) -> list[Beginning | None]:
    """What each prompt hangs on. The rest of it, never empty, is its own."""
    order = sorted(range(len(prompts)), key=lambda row: (tuple(prompts[row]), row))
    common = [0] * len(order)
    for place in range(1, len(order)):
        common[place] = _common(prompts[order[place - 1]], prompts[order[place]])
    found: list[Beginning | None] = [None] * len(prompts)
    todo: list[tuple[int, int, Beginning | None]] = [(0, len(order), None)]
    while todo:
        first, end, above = todo.pop()
        depth = above.start + len(above.ids) if above is not None else 0
        start = first
        for place in range(first + 1, end + 1):
            if place < end and common[place] >= depth + SHORTEST:
                continue
            if place - start == 1:
                found[order[start]] = above
            else:
                length = min(common[start + 1 : place])
                ids = list(prompts[order[start]][depth:length])
                todo.append((start, place, Beginning(ids, depth, above)))
            start = place
    for last in found:
        for beginning in last.chain() if last is not None else ():
            beginning.users += 1
    return found


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Tokens in common at the beginning, the last token of either not counted."""
    length = min(len(one), len(other)) - 1
    low, high = 0, length  # by halves: comparing slices is fast, comparing tokens is not
    while low < high:
        middle = (low + high + 1) // 2
        if list(one[low:middle]) == list(other[low:middle]):
            low = middle
        else:
            high = middle - 1
    return low
