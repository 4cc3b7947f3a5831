"""The ways in which models turn the coordinates of a head: which two belong together, and which angle is theirs.

RoPE turns pairs of coordinates by an angle that grows with the position. Llama pairs a coordinate with the one half a
head further, Cohere, GLM and GPT-J with its neighbour; Phi, GPT-NeoX and StableLM turn only the first coordinates of a
head; GPT-2 and OPT turn none, nor do single layers of SmolLM 3 and Cohere 2. Models hand on cos and sin of every angle
twice, as halves or as neighbours, and not always in the order of the pairs (GLM). A config does not tell these apart,
so `map_statistics` takes the kind with which softmax(q k^T) v is what the model's own attention gave.
Everything that measures has the first coordinates of all pairs before the second ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RopeKind:
    """Pair i of a head is coordinates (first[i], second[i]), turned by the angle in column `columns[i]`.

    Pairs past the end of `columns` are not turned.
    """

    name: str
    first: tuple[int, ...]
    second: tuple[int, ...]
    columns: tuple[int, ...]

    @property
    def order(self) -> tuple[int, ...]:
        """Coordinate of the model for each of ours, [d]."""
        return self.first + self.second

    @property
    def is_identity(self) -> bool:
        return self.order == tuple(range(len(self.order)))

    def angles(self, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin [.., d / 2] of each pair from the model's [.., width]."""
        columns = torch.tensor(self.columns, dtype=torch.int64, device=cos.device)
        still = (*cos.shape[:-1], len(self.first) - len(self.columns))
        return (
            torch.cat((cos[..., columns], cos.new_ones(still)), -1),
            torch.cat((sin[..., columns], sin.new_zeros(still)), -1),
        )


def rope_kinds(head_dim: int, width: int | None) -> tuple[RopeKind, ...]:
    """What may be meant by cos and sin of `width` columns (None: there are none), the most frequent first.

    No kind for a head of an odd size, or for more columns than a head has coordinates.
    """
    if head_dim % 2:
        return ()
    half = head_dim // 2
    kinds = []
    if width is not None and 0 < width <= head_dim and width % 2 == 0:
        turned = width // 2
        rest = tuple(range(width, head_dim))
        still = rest[: len(rest) // 2], rest[len(rest) // 2 :]
        as_halves, as_neighbours = tuple(range(turned)), tuple(range(0, width, 2))
        split = tuple(range(turned)) + still[0], tuple(range(turned, width)) + still[1]
        beside = tuple(range(0, width, 2)) + still[0], tuple(range(1, width, 2)) + still[1]
        kinds = [
            RopeKind("halves", *split, as_halves),
            RopeKind("neighbours", *beside, as_neighbours),  # Cohere
            RopeKind("neighbours, angles as halves", *beside, as_halves),  # GLM
        ]
    none = RopeKind("none", tuple(range(half)), tuple(range(half, head_dim)), ())
    return (*kinds, none)
