"""Tiny training runs that any number of processes can do, for `test_shard.py`: here alone, there as a script in two.

`python rank_runs.py OUT` with a rank in the environment does all cases and writes OUT/results-RANK.json.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from tiny_families import VOCABULARY, tiny

from seatools.engine.loop import run_steps
from seatools.engine.loop_options import LoopOptions
from seatools.engine.loss import batch_loss
from seatools.engine.optimise import MasterAdamW
from seatools.engine.recompute import recompute_blocks
from seatools.engine.row_order import micro_batches
from seatools.engine.rows import Batch, make_batch
from seatools.engine.selected import select
from seatools.engine.shard import LossModule, add_gradients, shard, unshared_copy
from seatools.engine.world import World, join_world
from seatools.streams.errors import CheckFailed, SeaError
from seatools.streams.messages import Messages

ROWS, MICRO, LENGTH, STEPS = 5, 2, 12, 4  # rank 0 gets 3 rows in micro-batches of 2 and 1, rank 1 gets 2 and none
CASES: dict[str, dict[str, Any]] = {
    "tied": dict(family="qwen2", tie_word_embeddings=True),
    "untied": dict(family="llama", tie_word_embeddings=False, recompute="full"),
    "bf16": dict(family="llama", tie_word_embeddings=True, dtype=torch.bfloat16),
    "layers": dict(family="llama", trained="model.layers.2."),  # all else frozen
    "selection": dict(family="llama", tie_word_embeddings=True, selected=True),
}


def row(step: int, number: int) -> list[tuple[list[int], list[int]]]:
    """Two documents, of lengths that differ from row to row, so that no rank has as many targets as another."""
    generator = torch.Generator().manual_seed(100 * step + number)
    ids = torch.randint(3, VOCABULARY, (LENGTH - number,), generator=generator).tolist()
    cut = 3 + number // 2
    return [(ids[:cut], [1] * cut), (ids[cut:], [1] * (len(ids) - cut))]


class Case:
    """One run: model, what is trained, steps. `steps(...)` may be called once."""

    def __init__(self, name: str, world: World) -> None:
        changes = dict(CASES[name])
        self.dtype = changes.pop("dtype", torch.float32)
        trained, selected = changes.pop("trained", ""), changes.pop("selected", False)
        recompute = changes.pop("recompute", "none")
        self.world, self.model = world, tiny(dtype=self.dtype, **changes)
        recompute_blocks(self.model, recompute)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(trained in name and not selected)
        self.losses: Any = lambda batch: batch_loss(self.model, batch)
        if selected:
            index = torch.tensor([1, 4])
            parts: list[Any] = select(
                self.model,
                [("model.layers.1.mlp.down_proj.weight", 1, index), ("model.embed_tokens.weight", 0, index + 5)],
            )
        else:
            if world.size > 1:
                self.losses = LossModule(self.model)
                shard(self.losses, world, self.dtype)
            parts = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        self.optimizer = MasterAdamW(parts)
        self.disturb: Any = lambda step: None

    def gradients(self, step: int) -> dict[str, Any]:
        world = self.world
        rows = [row(step, number) for number in range(ROWS)]
        targets = sum(sum(mask[1:]) for documents in rows for _, mask in documents)
        loss = torch.zeros(())
        for numbers in micro_batches(range(ROWS), MICRO, rank=world.rank, ranks=world.size):
            batch: Batch = make_batch([rows[number] for number in numbers] or [[]], LENGTH)
            total = self.losses(batch).total / targets
            total.backward()
            loss += total.detach()
        add_gradients(self.optimizer, world)
        self.disturb(step)
        return {"loss": float(world.sum(loss)), "tokens": ROWS * LENGTH, "targets": targets}

    def steps(self, out: Path, *, resume: bool = False, evaluate: Any = None, **options: Any) -> int:
        if self.world.is_main:
            out.mkdir(parents=True, exist_ok=True)
        self.world.barrier()
        loop = LoopOptions(**({"max_steps": STEPS, "lr": 1e-2, "save_every": 2, "keep": 9} | options))
        return run_steps(
            self.model, self.optimizer, self.gradients, loop, out=out, fingerprint={"data": 1}, resume=resume,
            messages=Messages(quiet=True), world=self.world, evaluate=evaluate,
        )  # fmt: skip


def only_step_2(source: Path, target: Path) -> Path:
    """A copy of a finished run as it was when step 2 had been saved."""
    shutil.copytree(source, target)
    shutil.rmtree(target / "checkpoints" / f"step-{STEPS}")
    return target


def what_is_raised(call: Any) -> str:
    try:
        call()
    except SeaError as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def main(out: Path) -> None:
    torch.set_num_threads(1)
    world = join_world("cpu")
    results: dict[str, Any] = {"rank": world.rank, "agree": world.agree(False, world.rank == 1)}
    results["first"] = [world.first(f"of {world.rank}" if world.rank == only else None) for only in (1, 0, 7)]
    results["sum"] = float(world.sum(torch.tensor(world.rank + 1.0)))
    for name in CASES:
        case = Case(name, world)
        case.steps(out / "two" / name, async_save=name == "untied")
        plain = unshared_copy(case.model, world, case.dtype)
        if plain is not None:
            plain.save_pretrained(out / "exported" / name)
        results[name] = Case(name, world).steps(out / "one-two" / name, resume=True)

    case = Case("bf16", world)

    def forgets(step: int, stop: Any) -> dict[str, Any]:
        case.losses.log_probs(case.model, make_batch([row(9, 0)], LENGTH))
        if step == 3:
            raise CheckFailed("forgotten")
        return {}

    results["forgotten"] = what_is_raised(lambda: case.steps(out / "forgotten", evaluate=forgets, eval_every=1))
    results["remembered"] = Case("bf16", world).steps(out / "forgotten", resume=True)

    # As where one process looked for the run after another had made its folder.
    results["uneven"] = Case("selection", world).steps(out / "uneven", resume=world.rank == 1)

    case = Case("tied", world)
    before = world.rank
    probe = make_batch([row(9, 0)], LENGTH)
    results["log_probs"] = case.losses.log_probs(case.model, probe).values.tolist()
    case.disturb = lambda step: os.kill(os.getpid(), signal.SIGTERM) if step == 3 and before == 1 else None
    results["signal"] = what_is_raised(lambda: case.steps(out / "signal"))

    case = Case("tied", world)

    def poison(step: int) -> None:
        if step == 3 and world.rank == 1:
            case.model.model.norm.weight.grad.to_local()[0] = float("nan")

    case.disturb = poison
    results["nan"] = what_is_raised(lambda: case.steps(out / "nan"))

    import safetensors.torch

    real = safetensors.torch.save_file

    def full_disk(tensors: Any, path: Path, metadata: Any = None) -> None:
        if world.rank == 1 and "step-4" in str(path):
            raise OSError(28, "No space left on device")
        real(tensors, path, metadata)

    safetensors.torch.save_file = full_disk  # type: ignore[assignment]
    results["full"] = what_is_raised(lambda: Case("untied", world).steps(out / "full", async_save=True))
    (out / f"results-{world.rank}.json").write_text(json.dumps(results))
    world.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
