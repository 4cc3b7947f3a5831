"""The model side of one run: the model made ready, what of it is trained, the optimiser, the steps, the export.

Order matters where several processes share a model: layers are wrapped (recomputation, compile) before FSDP2 sees them,
what is frozen is decided before it cuts them, and the optimiser is made from what it leaves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from seatools.engine.device import pick_device, pick_dtype
from seatools.engine.evaluate import EvalSet, evaluate_sets
from seatools.engine.guards import check_data, check_model
from seatools.engine.load import build_model, check_folder, check_vocabulary, load_model, model_positions
from seatools.engine.loop import run_steps
from seatools.engine.loss import target_log_probs
from seatools.engine.muon import muon_names
from seatools.engine.optimise import MasterAdamW
from seatools.engine.row_order import steps_for_epochs
from seatools.engine.selected import Selection
from seatools.engine.shard import LossModule, shard
from seatools.engine.training_mode import check_seq_len, prepare_for_training
from seatools.engine.world import World
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.messages import Messages
from seatools.text.documents import Documents
from seatools.text.packed import PackedData
from seatools.text.packed_shards import PackedShards
from seatools.text.stop_tokens import turn_end_ids
from seatools.text.token_bytes import token_num_bytes
from seatools.text.tokenizer import Tokenizer
from seatools.train.forgetting import ForgettingGauge
from seatools.train.options import TrainOptions
from seatools.train.step import StepGradients
from seatools.train.train_spec import parse_train
from seatools.train.trained_parts import Part, choose_parts

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_STATES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def check_model_folder(model_path: Path, options: TrainOptions) -> None:
    """Refuse what no data can mend, before any is read: device, number format, damaged folders, row length."""
    pick_dtype(options.dtype, pick_device(options.device))
    if not options.from_config:
        check_folder(model_path)
        check_seq_len(options.seq_len, model_positions(model_path))


@dataclass(frozen=True)
class Trainee:
    """A model ready to be trained: `root` computes its loss, `parts` are what is trained of it."""

    model: PreTrainedModel
    root: LossModule
    parts: list[Part]
    shared: bool
    """Its weights are cut over the processes (FSDP2)."""
    dtype: torch.dtype
    """In which it is multiplied and exported."""


def load_trainee(
    model_path: Path, tokenizer: Tokenizer, options: TrainOptions, world: World, messages: Messages
) -> Trainee:
    """The model on its device, ready to be trained, checked against its tokenizer."""
    device = world.device or pick_device(options.device)
    dtype = pick_dtype(options.dtype, device)
    spec = parse_train(options.train)
    shared = world.size > 1 and options.parallel != "ddp" and not (spec.neurons or spec.new_rows)
    # Shared weights are fp32, and moved to the device layer by layer by FSDP2.
    place, kept = (torch.device("cpu"), torch.float32) if shared and not options.fp8 else (device, dtype)
    if options.from_config:
        model = build_model(
            model_path, vocab_size=None, seed=options.seed, device=place, dtype=kept, attention=options.attention
        )
    else:
        model = load_model(model_path, device=place, dtype=kept, attention=options.attention)
    check_vocabulary(model, tokenizer.vocab_size, str(tokenizer.path))
    prepare_for_training(
        model, seq_len=options.seq_len, recompute=options.activation_checkpointing, compile_blocks=options.compile,
        fp8=options.fp8, announce=lambda: messages.info("compiling the layers: the first step takes longer"),
    )  # fmt: skip
    parts = choose_parts(
        model, spec, model_path=model_path, neuron_langs=options.neuron_langs, first_new_row=options.first_new_row,
        messages=messages, vocab_size=tokenizer.vocab_size,
    )  # fmt: skip
    root = LossModule(model)
    if shared:
        shard(root, world, dtype)
        parameters = dict(model.named_parameters())
        parts = [(name, parameters[name]) for name, _ in parts]
    return Trainee(model, root, parts, shared, dtype)


def make_optimizer(trainee: Trainee, options: TrainOptions) -> MasterAdamW:
    """The optimiser of what is trained, with the learning rates of its parts."""
    modules = [trainee.model.get_input_embeddings(), trainee.model.get_output_embeddings()]
    vocabulary = {id(parameter) for module in modules if module is not None for parameter in module.parameters()}
    scales: dict[str, float] = {}
    if options.embedding_lr is not None:
        for name, part in trainee.parts:
            if id(part.param if isinstance(part, Selection) else part) in vocabulary:
                scales[name] = options.embedding_lr / options.lr
    whole = {name for name, part in trainee.parts if not isinstance(part, Selection)}
    inside = frozenset(muon_names(trainee.model) & whole if options.optimizer == "muon" else ())
    if options.optimizer == "muon" and not inside:  # else refused by `checks`
        raise UsageError("--optimizer muon: this model has no matrices for it in its layers", fix="--optimizer adamw")
    return MasterAdamW(
        trainee.parts, lr_scales=scales, weight_decay=options.weight_decay, masters=options.masters,
        state_dtype=_STATES[options.optimizer_states],
        muon=inside,
    )  # fmt: skip


def rows_with_targets(packed: PackedData | PackedShards) -> np.ndarray:
    """Numbers int64 of the rows that hold a trained token; a row of a long prompt alone has nothing to teach."""
    firsts = np.cumsum([0, *(part.num_rows for part in packed.shards)])
    parts = [first + _rows_with_targets(part) for first, part in zip(firsts, packed.shards, strict=False)]
    return np.concatenate(parts)


def _rows_with_targets(packed: PackedData) -> np.ndarray:
    lengths = np.diff(packed.row_tokens.astype(np.int64))
    filled = np.flatnonzero(lengths)
    if not len(filled):
        return filled
    return filled[np.maximum.reduceat(packed.loss_mask, packed.row_tokens[filled].astype(np.int64)) > 0]


def train(
    trainee: Trainee,
    packed: PackedData | PackedShards,
    documents: Documents,
    options: TrainOptions,
    *,
    out: Path,
    fingerprint: dict[str, Any],
    resume: bool,
    messages: Messages,
    world: World,
    eval_sets: Sequence[EvalSet] = (),
    gauge: ForgettingGauge | None = None,
    on_line: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Take the steps that train the trainee's parts; returns counts for the manifest.

    The `order` of the options is "file" or "shuffled".
    """
    model, tokenizer = trainee.model, documents.tokenizer
    rows = rows_with_targets(packed)
    if not len(rows):
        raise SeaError("nothing to train: no token in it is a target", where=packed.path)
    total = options.max_steps or steps_for_epochs(options.epochs, batch_size=options.batch_size, num_rows=len(rows))
    token_bytes = token_num_bytes(tokenizer)
    without_bytes = frozenset(np.flatnonzero(token_bytes == 0).tolist())  # special tokens and ids that no piece has

    def guard() -> None:
        """On all ranks or none, with the words of the rank that found the fault in its own rows."""
        fault = None
        try:
            check_model(model, tokenizer.vocab_size, exempt=without_bytes)
        except SeaError as error:
            fault = error.what, error.fix
        said = world.first(fault)
        if said is not None:
            raise SeaError(said[0], where=str(out) if world.size > 1 else None, fix=said[1])

    guard()
    seen = check_data(
        packed, turn_end_ids(documents), num_rows=model.config.get_text_config().vocab_size, warn=messages.warn
    )
    masked = [name for name, source in seen.items() if source.masked]
    if masked and documents.template is None:  # prompt + completion needs none; packed data does not say what it was
        messages.warn(f"{', '.join(masked)}: prompts are masked, and the model has no chat template to talk with")
    optimizer = make_optimizer(trainee, options)
    left_out = packed.num_rows - len(rows)
    messages.info(
        f"{len(rows):,} rows of {packed.row_length} tokens, {total:,} steps of {options.batch_size} rows: "
        f"{total * options.batch_size / len(rows):.2f} epochs"
        + (", in the order of the data" if options.order == "file" else ", shuffled")
        + (f"; {left_out:,} rows without a trained token left out" if left_out else "")
    )
    loop = options.loop(total)
    gradients = StepGradients(
        trainee.root, optimizer, packed, rows, options, tokenizer=tokenizer, token_bytes=token_bytes, world=world,
        measured_step=min(total, loop.warmup_steps + 1) if _loses_small_steps(trainee, options) else None,
        messages=messages,
    )  # fmt: skip

    def evaluate(step: int, stop: Callable[[], bool]) -> dict[str, Any] | None:
        figures: dict[str, Any] | None = evaluate_sets(
            model, eval_sets, pad_id=tokenizer.pad_id or 0, rank=world.rank, ranks=world.size, sum_over_ranks=world.sum,
            stop=stop, log_probs=trainee.root.log_probs if trainee.shared else target_log_probs,
        )  # fmt: skip
        if figures is None:
            return None
        shown = ", ".join(f"{name} {row['bits_per_byte']:.4f}" for name, row in figures.items())
        messages.info(f"step {step}: {shown} bits per byte")
        return figures if gauge is None else gauge.see(step, figures)

    before = optimizer.fingerprint()
    start = run_steps(
        model, optimizer, gradients, loop, out=out, fingerprint=fingerprint | {"max_steps": total}, resume=resume,
        messages=messages, world=world, evaluate=evaluate if eval_sets else None, before_save=guard, on_line=on_line,
    )  # fmt: skip
    gradients.warn_of_lost_steps()
    if start < total and not world.any(optimizer.fingerprint() != before):
        raise SeaError(
            f"{total - start} steps changed no weight", fix="a higher --lr, or --dtype fp32: the step rounds to nothing"
        )
    return {"steps": total, "rows": len(rows), "trained_parameters": optimizer.num_trained()}


def _loses_small_steps(trainee: Trainee, options: TrainOptions) -> bool:
    return not options.masters and not trainee.shared and trainee.dtype != torch.float32


def with_row_length(options: TrainOptions, packed: PackedData | PackedShards) -> TrainOptions:
    """The options with the row length that the data has."""
    return dataclasses.replace(options, seq_len=packed.row_length)
