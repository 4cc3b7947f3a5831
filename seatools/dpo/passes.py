"""How the pairs of a step are cut into forward passes: by their tokens, so that long pairs make no pass larger.

Without --micro-batch a pass takes pairs, in the order of the step, until the next would bring it over its tokens, and
one pair at least; with it, so many pairs whatever their length. The cut changes no figure but by rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from seatools.engine.row_order import micro_batches

PASS_TOKENS_CPU = 512
PASS_TOKENS_GPU = 16384


def pass_tokens(on_cpu: bool) -> int:
    """The tokens of a pass where the user has not said how many pairs."""
    return PASS_TOKENS_CPU if on_cpu else PASS_TOKENS_GPU


def passes(
    numbers: Sequence[int], sizes: Mapping[int, int], *, micro_batch: int, on_cpu: bool, rank: int = 0, ranks: int = 1
) -> list[list[int]]:
    """The passes of rank `rank` of `ranks` over the pairs `numbers` of a step; `sizes`: the tokens of each.

    All ranks get the same number of passes, for under FSDP each is a collective call; the last ones may be empty.
    """
    if micro_batch:
        return micro_batches(numbers, micro_batch, rank=rank, ranks=ranks)
    each = [_filled(numbers[first::ranks], sizes, pass_tokens(on_cpu)) for first in range(ranks)]
    missing = max(map(len, each)) - len(each[rank])
    return each[rank] + [[] for _ in range(missing)]


def largest_pass(sizes: Sequence[int], *, batch_size: int, micro_batch: int, on_cpu: bool, ranks: int = 1) -> int:
    """The most tokens that a pass can have, where a step has `batch_size` of pairs of these sizes."""
    own = -(-batch_size // ranks)
    together = sum(sorted(sizes)[-min(own, micro_batch or own) :])
    return together if micro_batch else min(together, max(pass_tokens(on_cpu), max(sizes)))


def _filled(numbers: Sequence[int], sizes: Mapping[int, int], most: int) -> list[list[int]]:
    found: list[list[int]] = []
    room = 0
    for number in numbers:
        if not found or sizes[number] > room:
            found.append([])
            room = most
        found[-1].append(number)
        room -= sizes[number]
    return found
