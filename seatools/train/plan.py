"""`sea train --dry-run`: what a run would do, whether it fits, how long it would take; by arithmetic, without torch.

Reads config.json, safetensors headers, neuron indices, and the small tensors of packed data; of records that are not
packed yet it tokenises the first 200 KB or so and scales up by the size of the files. Memory: `memory.py`; FLOPs:
`engine/flops.py`. A machine's memory is what nvidia-smi or /proc/meminfo says, if nobody states another.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seatools.engine.flops import CONVENTION, token_work
from seatools.engine.machine import this_machine
from seatools.engine.memory import Memory, MemoryOptions, plan_memory
from seatools.engine.memory_verdict import available_memory, does_fit, memory_lines, weight_width
from seatools.engine.planned_model import model_shapes, planned_parts, text_config
from seatools.engine.row_order import steps_for_epochs
from seatools.engine.train_spec import TrainSpec, parse_train
from seatools.streams.sizes import human_count
from seatools.train.options import rows_of_pass
from seatools.train.planned_data import PlannedData, packed_data, sampled_data

if TYPE_CHECKING:
    from seatools.text.documents import Documents
    from seatools.train.data import Source
    from seatools.train.options import TrainOptions


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What decides the plan besides model and data; names as in `sea train`."""

    spec: TrainSpec = TrainSpec(all=True)
    neuron_langs: tuple[str, ...] = ()
    first_new_row: int | None = None
    from_config: bool = False
    seq_len: int = 1024
    batch_size: int = 8
    micro_batch: int = 0
    epochs: float = 1.0
    max_steps: int | None = None
    device: str = "auto"
    dtype: str = "auto"
    recompute: str = "none"
    attention: str = "auto"
    state_dtype: str = "fp32"
    masters: bool = True
    muon: bool = False
    ranks: int = 1
    memory: int | None = None
    """Bytes of each device; None: what the machine says."""
    rate: float | None = None
    """Tokens a second of each device."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run would do. Counts are over the whole run, memory is of each device."""

    model: str
    parameters: int
    trained_parameters: int
    train: str
    dtype: str
    memory: Memory
    memory_total: int
    memory_available: int | None
    available_is: str
    fits: bool | None
    rows: int | None
    """Of one pass over the data."""
    steps: int | None
    batch_size: int
    seq_len: int
    tokens: int | None
    epochs: float | None
    sources: list[dict[str, Any]]
    most_repeated: str | None
    estimated: bool
    """Tokens are estimated from a sample."""
    flops_per_token: float
    flops: float | None
    flops_convention: str
    hours: float | None

    def as_json(self) -> dict[str, Any]:
        """For --json: plain values by name."""
        return dataclasses.asdict(self)


def describe(
    model_path: Path, options: PlanOptions, data: PlannedData | None, *, vocab_size: int | None = None
) -> Plan:
    """The plan of a run on `data` (None: not known, as from a pipe).

    `vocab_size`: of the tokenizer, where --first-new-row needs it. Raises SeaError or UsageError for a model, a neuron
    file or a spec that cannot be trained so.
    """
    shapes = model_shapes(model_path, from_config=options.from_config)
    config = text_config(model_path)
    parts = planned_parts(
        shapes, options.spec, model_path=model_path, neuron_langs=options.neuron_langs,
        first_new_row=options.first_new_row, vocab_size=vocab_size,
    )  # fmt: skip
    machine = this_machine(options.device)
    width = weight_width(options.dtype, machine)
    seq_len = data.row_length if data is not None and data.row_length else options.seq_len
    micro = rows_of_pass(
        options.micro_batch, options.batch_size, ranks=options.ranks, seq_len=seq_len, on_cpu=not machine.is_cuda
    )
    memory = plan_memory(
        shapes, config, parts,
        MemoryOptions(
            width=width, rows=micro, seq_len=seq_len, recompute=options.recompute,
            attention=options.attention, state_width=2 if options.state_dtype == "bf16" else 4,
            masters=options.masters, muon=options.muon, ranks=options.ranks,
            sharded=options.ranks > 1 and all(part.dim is None for part in parts.values()), on_cuda=machine.is_cuda,
        ),
    )  # fmt: skip
    available, said = available_memory(options.memory, machine, options.ranks)
    rows, tokens_per_row = (data.rows, data.tokens / max(data.rows, 1)) if data is not None else (None, float(seq_len))
    steps = options.max_steps
    if steps is None and rows:
        steps = steps_for_epochs(options.epochs, batch_size=options.batch_size, num_rows=rows)
    epochs = steps * options.batch_size / rows if steps and rows else None
    tokens = round(steps * options.batch_size * tokens_per_row) if steps else None
    trained = {name: part.count for name, part in parts.items()}
    context = data.context if data is not None else seq_len
    share = data.target_share if data is not None else 1.0
    work = token_work(shapes, config, trained, context=context, target_share=share).total
    sources = _source_rows(data, epochs)
    repeated = max(sources, key=lambda row: row["epochs"] or 0, default=None)
    return Plan(
        model=str(model_path), parameters=sum(map(math.prod, shapes.values())),
        trained_parameters=sum(trained.values()), train=options.spec.text,
        dtype="fp32" if width == 4 else "bf16", memory=memory, memory_total=memory.total, memory_available=available,
        available_is=said,
        fits=does_fit(memory, available, machine),
        rows=rows, steps=steps, batch_size=options.batch_size, seq_len=seq_len, tokens=tokens, epochs=epochs,
        sources=sources,
        most_repeated=repeated["name"] if repeated and repeated["epochs"] else None,
        estimated=data is not None and data.estimated, flops_per_token=work,
        flops=None if tokens is None else work * tokens, flops_convention=CONVENTION,
        hours=tokens / (options.rate * options.ranks) / 3600 if tokens and options.rate else None,
    )  # fmt: skip


def _source_rows(data: PlannedData | None, epochs: float | None) -> list[dict[str, Any]]:
    """name, tokens of one pass, share of the tokens, epochs of each source."""
    if data is None:
        return []
    return [
        {
            "name": source.name, "documents": source.documents, "tokens": source.tokens,
            "share": source.tokens / max(data.tokens, 1), "epochs": None if epochs is None else epochs * source.repeats,
        }
        for source in data.sources
    ]  # fmt: skip


def plan_text(plan: Plan) -> str:
    """The table that `--dry-run` prints on stderr."""
    about = "about " if plan.estimated else ""
    share = 100 * plan.trained_parameters / plan.parameters
    lines = [
        f"model: {plan.model}",
        f"parameters: {human_count(plan.parameters)}; trained ({plan.train}): {human_count(plan.trained_parameters)} "
        f"({share:.3g} %), weights in {plan.dtype}",
    ]
    lines += memory_lines(plan.memory, plan.memory_available, plan.available_is, plan.fits)
    if plan.steps is None:
        lines.append("steps: not known before the data is read (or give --max-steps)")
    else:
        passes = "" if plan.epochs is None else f", {plan.epochs:.2f} epochs"
        if plan.rows is not None:
            lines.append(
                f"data: {about}{plan.rows:,} rows of {plan.seq_len}, {plan.steps:,} steps of {plan.batch_size} rows"
            )
        lines.append(f"steps: {about}{plan.steps:,}, {about}{human_count(plan.tokens or 0)} tokens{passes}")
    for row in plan.sources:
        passes = "" if row["epochs"] is None else f", {row['epochs']:.2f} epochs"
        lines.append(
            f"  {row['name']}: {about}{human_count(row['tokens'])} tokens ({100 * row['share']:.1f} %){passes}"
        )
    if plan.most_repeated is not None and len(plan.sources) > 1:
        lines.append(f"most repeated: {plan.most_repeated}")
    if plan.flops is not None:
        lines.append(
            f"compute: {about}{plan.flops:.3g} FLOPs, {plan.flops_per_token:.3g} a token ({plan.flops_convention})"
        )
    if plan.hours is not None:
        lines.append(f"time: {about}{plan.hours:.2f} hours at the stated rate")
    return "\n".join(lines)


def planned_data(
    sources: Sequence[Source], given: Sequence[Path], options: TrainOptions, documents: Documents | None
) -> PlannedData | None:
    """The data of a run: packed files as they are, records by a sample; None where neither can be looked at."""
    if given:
        return packed_data(given)
    paths = {source.name: source.paths for source in sources}
    if documents is None or not paths or any(path == "-" for own in paths.values() for path in own):
        return None
    return sampled_data(paths, documents, row_length=options.seq_len)


def plan_options(options: TrainOptions, *, ranks: int, memory: int | None, rate: float | None) -> PlanOptions:
    """What decides the plan of a run with `options`."""
    names = {field.name for field in dataclasses.fields(PlanOptions)}
    same: dict[str, Any] = {name: getattr(options, name) for name in names if hasattr(options, name)}
    return PlanOptions(
        **same, spec=parse_train(options.train), recompute=options.activation_checkpointing,
        state_dtype=options.optimizer_states, muon=options.optimizer == "muon", ranks=ranks, memory=memory, rate=rate,
    )  # fmt: skip
