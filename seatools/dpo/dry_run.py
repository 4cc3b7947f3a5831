"""`sea dpo --dry-run`: the pairs that are there, and whether their training fits; by arithmetic, without torch.

Preferences are read and tokenised whole, so that the rejects are known. Memory is that of `engine/memory.py` for a
pass as large as these pairs can make one, without shared prompts: an upper bound.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections import Counter
from collections.abc import Sequence

from seatools.dpo.options import DPOOptions
from seatools.dpo.pairs import Pair, read_sources
from seatools.dpo.passes import largest_pass
from seatools.dpo.session import Request, check_request, look_at, open_folder
from seatools.dpo.sources import identity, mixed
from seatools.engine.launch import num_processes
from seatools.engine.machine import this_machine
from seatools.engine.memory import Memory, MemoryOptions, plan_memory
from seatools.engine.memory_verdict import available_memory, does_fit, memory_lines, weight_width
from seatools.engine.planned_model import model_shapes, planned_parts, text_config
from seatools.engine.row_order import steps_for_epochs
from seatools.engine.train_spec import parse_train
from seatools.streams.errors import UsageError
from seatools.streams.quarantine import rejects_policy
from seatools.streams.records import dump
from seatools.streams.sizes import human_count
from seatools.streams.spool import spooled


def dry_run(
    request: Request, options: DPOOptions, *, memory: float | None, nproc: str | None, as_json: bool
) -> None:  # fmt: skip
    """Print what would be done. `memory` in GB (10**9 bytes) of each device. Raises what the run itself would."""
    if memory is not None and not memory > 0:
        raise UsageError(f"--memory {memory:g} is not positive")
    ranks = 1 if nproc is None else num_processes(nproc)
    inputs = look_at(request, options)
    open_folder(request, inputs)
    check_request(request, inputs, options, ranks)
    with (
        rejects_policy(request.on_error, request.quarantine, request.out, request.messages, dry_run=True) as rejects,
        spooled([path for path in inputs.paths if path == "-"]) as (files, _),
    ):
        found = read_sources(
            inputs.with_stdin(files), inputs.documents, max_length=options.max_length, rejects=rejects,
            limit=request.limit, workers=request.workers,
        )  # fmt: skip
    pairs = [pair for own in found for pair in own]
    counts = [len(own) for own in found]
    epoch = len(mixed(inputs.sources, counts))
    longest = _longest(pairs)
    together = sum(len(pair.chosen.ids) + len(pair.rejected.ids) for pair in pairs)
    shared = sum(max(0, pair.shared - 1) for pair in pairs) / together
    batch_size = min(options.batch_size, epoch)
    steps = options.max_steps or steps_for_epochs(options.epochs, batch_size=batch_size, num_rows=epoch)
    trained, total, needed = _memory(request, options, pairs, ranks, inputs.documents.tokenizer.vocab_size)
    machine = this_machine(options.device)
    available, said = available_memory(None if memory is None else int(memory * 1e9), machine, ranks)
    fits = does_fit(needed, available, machine)
    langs = dict(Counter(pair.lang for pair in pairs))
    plan = {
        "model": str(request.model_path), "parameters": total, "trained_parameters": trained, "train": options.train,
        "pairs": len(pairs), "pairs_an_epoch": epoch, "mix": identity(inputs.sources, counts), "langs": langs,
        "rejects": dict(rejects.counts), "longest": longest, "tokens": together,
        "shared_share": round(shared, 4), "steps": steps, "batch_size": batch_size,
        "memory": dataclasses.asdict(needed), "memory_total": needed.total, "memory_available": available,
        "fits": fits,
    }  # fmt: skip
    if as_json:
        sys.stdout.buffer.write(dump(plan) + b"\n")
        return
    spoken = ", ".join(f"{lang} {count:,}" for lang, count in langs.items())
    lines = [
        f"model: {request.model_path}",
        f"parameters: {human_count(total)}; trained ({options.train}): {human_count(trained)} "
        f"({100 * trained / total:.3g} %)",
        *memory_lines(needed, available, said, fits),
        f"{len(pairs):,} pairs ({spoken}), {rejects.total} rejected; {plan['mix']}: {epoch:,} an epoch, "
        f"{steps:,} steps of {batch_size}",
        f"longest side {longest} tokens; {human_count(together)} tokens a pass over the pairs, "
        f"{100 * shared:.0f} % of them prompts that need be computed once only",
        "nothing is written",
    ]
    request.messages.info("\n".join(lines))


def _memory(
    request: Request, options: DPOOptions, pairs: Sequence[Pair], ranks: int, vocab_size: int
) -> tuple[int, int, Memory]:
    """Trained parameters, all parameters, and bytes on each device."""
    shapes = model_shapes(request.model_path)
    parts = planned_parts(
        shapes, parse_train(options.train), model_path=request.model_path, neuron_langs=options.neuron_langs,
        first_new_row=options.first_new_row, vocab_size=vocab_size,
    )  # fmt: skip
    machine = this_machine(options.device)
    tokens = largest_pass(
        [len(pair.chosen.ids) + len(pair.rejected.ids) for pair in pairs], batch_size=options.batch_size,
        micro_batch=options.micro_batch, on_cpu=not machine.is_cuda, ranks=ranks,
    )  # fmt: skip
    longest = _longest(pairs)
    needed = plan_memory(
        shapes, text_config(request.model_path), parts,
        MemoryOptions(
            width=weight_width(options.dtype, machine), rows=-(-tokens // longest), seq_len=longest,
            recompute=options.activation_checkpointing, attention=options.attention,
            state_width=2 if options.optimizer_states == "bf16" else 4, masters=options.masters,
            muon=options.optimizer == "muon", ranks=ranks,
            sharded=ranks > 1 and options.parallel != "ddp" and all(part.dim is None for part in parts.values()),
            on_cuda=machine.is_cuda, of_answers=True,
        ),
    )  # fmt: skip
    return sum(part.count for part in parts.values()), sum(map(math.prod, shapes.values())), needed


def _longest(pairs: Sequence[Pair]) -> int:
    return max(len(doc.ids) for pair in pairs for doc in (pair.chosen, pair.rejected))
