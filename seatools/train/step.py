"""What one optimiser step computes: the rows of its number, their loss and gradients, and what is logged of them.

The loss of a step is the sum over its trained tokens divided by their number over all processes, however the step is
cut into micro-batches and ranks (transformers#34191 and its many relatives), so neither changes anything but memory and
time. Every process reads the row table and so knows that number without asking. Losses stay on the device until the
step is over.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from seatools.engine.flops import mean_context
from seatools.engine.optimise import MasterAdamW
from seatools.engine.row_order import micro_batches, rows_of_step
from seatools.engine.rows import make_batch
from seatools.engine.run_guard import LostSteps
from seatools.engine.shard import LossModule, add_gradients
from seatools.engine.source_losses import SourceLosses, source_map
from seatools.engine.world import World
from seatools.streams.errors import SeaError
from seatools.text.packed import PackedData
from seatools.text.packed_shards import PackedShards
from seatools.text.tokenizer import Tokenizer
from seatools.train.options import TrainOptions, rows_of_pass

_SHOWN_CHARS = 2000


class StepGradients:
    """`gradients(step)` leaves the gradients of a step with the optimiser and returns its row of metrics.

    `rows` are the numbers of the rows of `packed` that are read, each once an epoch. `token_bytes`: uint16 [V].
    """

    def __init__(
        self,
        root: LossModule,
        optimizer: MasterAdamW,
        packed: PackedData | PackedShards,
        rows: np.ndarray,
        options: TrainOptions,
        *,
        tokenizer: Tokenizer,
        token_bytes: np.ndarray,
        world: World,
        lost: LostSteps | None = None,
    ) -> None:
        self.root, self.optimizer, self.packed, self.rows, self.options = root, optimizer, packed, rows, options
        self.tokenizer, self.world, self.lost = tokenizer, world, lost
        self.device = root.model.device if world.device is None else world.device
        num_rows = root.model.config.get_text_config().vocab_size  # a model may have more rows than ids
        padded = np.zeros(max(num_rows, len(token_bytes)), dtype=token_bytes.dtype)
        padded[: len(token_bytes)] = token_bytes
        self.adds_in_place = root.add_in_place()
        self.losses = SourceLosses(packed.sources, padded, self.device)
        self.pad_id = tokenizer.pad_id or 0

    def __call__(self, step: int) -> dict[str, Any]:
        options, packed, world = self.options, self.packed, self.world
        if self.lost is not None:
            self.lost.before(step)
        began = time.perf_counter()
        numbers = self.row_numbers(step)
        documents = {number: packed.row(number) for number in numbers}
        targets = sum(int(np.count_nonzero(mask[1:])) for number in numbers for _, mask in documents[number])
        lengths = [len(ids) for number in numbers for ids, _ in documents[number]]
        if targets == 0:
            raise SeaError(f"step {step}: no trained token in its rows {numbers}", where=packed.path)
        micro = rows_of_pass(
            options.micro_batch, options.batch_size, ranks=world.size, seq_len=packed.row_length,
            on_cpu=self.device.type == "cpu",
        )  # fmt: skip
        self.losses.start()
        if self.adds_in_place:
            self.root.begin()
        waited = time.perf_counter() - began
        for part in micro_batches(numbers, micro, rank=world.rank, ranks=world.size):
            began = time.perf_counter()
            # Without a row it is another rank's turn: the same collective calls, nothing learned.
            rows = [documents[number] for number in part] or [[]]
            batch = make_batch(rows, packed.row_length, self.pad_id, self.device)
            lens, owners = ([read(number) for number in part] for read in (packed.row_lens, packed.row_sources))
            sources = source_map(lens, owners, packed.row_length, self.device)
            waited += time.perf_counter() - began
            loss = self.root(batch, 1 / targets if self.adds_in_place else None)
            (loss.total * (1 / targets)).backward()
            self.losses.add(batch, loss.nll, loss.row, loss.column, sources)
        add_gradients(self.optimizer, world)
        sums = world.sum(self.losses.sums)
        figures = self.losses.total(sums)
        return {
            "loss": figures["loss"],
            "bits_per_byte": figures["bits_per_byte"],
            "sources": self.losses.figures(sums),
            "tokens": sum(lengths),
            "targets": targets,
            "context": round(mean_context(lengths), 1),
            "epoch": round(step * options.batch_size / len(self.rows), 4),
            "data_wait": round(waited, 5),
            "rows": numbers,
            "forensics": lambda out: self.write_documents(step, out),
        }

    def row_numbers(self, step: int) -> list[int]:
        """The rows of `packed` that make up a step, over all ranks."""
        options = self.options
        order = rows_of_step(
            step, batch_size=options.batch_size, num_rows=len(self.rows), seed=options.seed,
            shuffled=options.order != "file",
        )  # fmt: skip
        return [int(self.rows[place]) for place in order]

    def write_documents(self, step: int, out: Path) -> str:
        """Write what was read in a step to OUT/step-N.documents.jsonl, for eyes; returns the file's name."""
        path = out / f"step-{step}.documents.jsonl"
        with open(path, "w", encoding="utf-8") as stream:
            for number in self.row_numbers(step):
                owners = self.packed.row_sources(number)
                for (ids, mask), owner in zip(self.packed.row(number), owners, strict=True):
                    text = self.tokenizer.decode([int(id_) for id_ in ids])[:_SHOWN_CHARS]
                    record = {
                        "row": number, "source": self.packed.sources[int(owner)], "tokens": len(ids),
                        "targets": int(np.count_nonzero(mask[1:])), "text": text,
                    }  # fmt: skip
                    stream.write(json.dumps(record, ensure_ascii=False) + "\n")
        return str(path)
