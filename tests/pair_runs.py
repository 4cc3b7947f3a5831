"""Steps on tiny pairs that any number of processes can take: in `test_step.py` by one, as a script by two.

`python pair_runs.py OUT` with a rank in the environment takes steps 1 and 2 of every case; the main rank writes them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny_families import VOCABULARY, tiny

from seatools.dpo.step import PairGradients
from seatools.engine import attention
from seatools.engine.optimise import MasterAdamW
from seatools.engine.selected import select
from seatools.engine.shard import LossModule, shard
from seatools.engine.world import World, join_world
from seatools.streams.messages import Messages
from seatools.text.documents import TokenizedDoc

CASES: dict[str, dict[str, Any]] = {
    "full": dict(family="llama", tie_word_embeddings=True),
    "untied": dict(family="qwen2", tie_word_embeddings=False),
    "selection": dict(family="llama", tie_word_embeddings=True, selected=True),
}
SHARING = {"full": True, "untied": False, "selection": True}


@dataclass(frozen=True)
class Options:
    """What a step reads of the options of `sea dpo`."""

    beta: float = 0.2
    loss: str = "sigmoid"
    label_smoothing: float = 0.0
    sft_weight: float = 0.0
    batch_size: int = 5
    micro_batch: int = 2  # rank 0 gets 3 pairs in micro-batches of 2 and 1, rank 1 gets 2 and none
    seed: int = 3
    share_prompt: bool = False


@dataclass(frozen=True)
class TinyPair:
    """As `seatools.dpo.pairs.Pair`."""

    chosen: TokenizedDoc
    rejected: TokenizedDoc
    lang: str
    shared: int


def pair_of(number: int) -> TinyPair:
    """Lengths and language differ from pair to pair."""
    draw = np.random.default_rng(number)
    prompt = draw.integers(3, VOCABULARY, 1 + 2 * number)

    def answer(length: int) -> TokenizedDoc:
        ids = np.concatenate([prompt, draw.integers(3, VOCABULARY, length)]).astype(np.uint32)
        return TokenizedDoc(ids, (np.arange(len(ids)) >= len(prompt)).astype(np.uint8))

    return TinyPair(answer(2 + number % 3), answer(7 - number), ("th", "lo")[number % 2], len(prompt))


class Run:
    """A model, its optimiser and the gradients of steps on 7 pairs."""

    def __init__(self, name: str, world: World, options: Options) -> None:
        attention.register()
        changes = dict(CASES[name])
        selected = changes.pop("selected", False)
        self.model = tiny(attention=attention.NAME, **changes)
        self.root = LossModule(self.model)
        if selected:
            for parameter in self.model.parameters():
                parameter.requires_grad_(False)
            index = torch.tensor([1, 4])
            parts: list[Any] = select(
                self.model,
                [("model.layers.1.mlp.down_proj.weight", 1, index), ("model.embed_tokens.weight", 0, index + 5)],
            )
        else:
            if world.size > 1:
                shard(self.root, world, torch.float32)
            parts = list(self.model.named_parameters())
        self.optimizer = MasterAdamW(parts)
        self.pairs: Any = [pair_of(number) for number in range(7)]
        draw = np.random.default_rng(99)
        self.reference = {key: draw.normal(-20, 5, 7).astype(np.float32) for key in ("chosen", "rejected")}
        self.gradients = PairGradients(
            self.root, self.optimizer, self.pairs, self.reference, options, pad_id=0, world=world,
            messages=Messages(quiet=True),
        )  # fmt: skip

    def forget(self) -> None:
        """Leave no gradient, as an update does."""
        for _, tensor in trained(self):
            tensor.grad = None


def trained(run: Run) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for entry in run.optimizer.entries:
        selection = entry.selection
        found.append((entry.name, entry.param if selection is None else selection.values))
    return found


def gradients_of(run: Run) -> dict[str, torch.Tensor]:
    """The gradients that a step has left, whole."""
    return {
        name: getattr(tensor.grad, "full_tensor", lambda grad=tensor.grad: grad)().clone()
        for name, tensor in trained(run)
    }


def main(out: Path) -> None:
    torch.set_num_threads(1)
    world = join_world("cpu")
    for name, share in SHARING.items():
        run = Run(name, world, Options(share_prompt=share, sft_weight=0.2))
        rows = [run.gradients(1)]
        gradients = gradients_of(run)
        run.forget()
        rows.append(run.gradients(2))
        if world.is_main:
            torch.save({"rows": rows, "gradients": gradients}, out / f"{name}.pt")
    world.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
