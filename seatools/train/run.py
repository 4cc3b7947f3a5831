"""The steps of one run on packed rows: which rows are read, what is checked before and watched meanwhile."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seatools.engine.device import pick_device, pick_dtype
from seatools.engine.evaluate import EvalSet
from seatools.engine.forgetting import ForgettingGauge
from seatools.engine.fp8 import check_fp8
from seatools.engine.guards import check_data
from seatools.engine.load import check_folder, model_positions
from seatools.engine.loop import run_steps
from seatools.engine.row_order import steps_for_epochs
from seatools.engine.run_guard import LostSteps, check_changed, model_guard
from seatools.engine.trainee import Trainee, make_optimizer
from seatools.engine.training_mode import check_seq_len
from seatools.engine.watch import evaluation
from seatools.engine.world import World
from seatools.streams.errors import SeaError
from seatools.streams.extras import require
from seatools.streams.messages import Messages
from seatools.text.documents import Documents
from seatools.text.packed import PackedData
from seatools.text.packed_shards import PackedShards
from seatools.text.stop_tokens import turn_end_ids
from seatools.text.token_bytes import token_num_bytes
from seatools.train.options import TrainOptions
from seatools.train.step import StepGradients


def check_model_folder(model_path: Path, options: TrainOptions) -> None:
    """Refuse what no data can mend, before any is read: device, number format, damaged folders, row length."""
    device = pick_device(options.device)
    pick_dtype(options.dtype, device)
    if options.fp8:
        check_fp8(device)
        require("torchao")
    if not options.from_config:
        check_folder(model_path)
        check_seq_len(options.seq_len, model_positions(model_path))


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

    guard = model_guard(model, tokenizer.vocab_size, exempt=without_bytes, world=world, out=out)
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
    lost = LostSteps(trainee, optimizer, options, total=total, world=world, messages=messages)
    gradients = StepGradients(
        trainee.root, optimizer, packed, rows, options, tokenizer=tokenizer, token_bytes=token_bytes, world=world,
        lost=lost,
    )  # fmt: skip

    before = optimizer.fingerprint()
    start = run_steps(
        model, optimizer, gradients, options.loop(total), out=out, fingerprint=fingerprint | {"max_steps": total},
        resume=resume, messages=messages, world=world, before_save=guard, on_line=on_line,
        evaluate=evaluation(trainee, eval_sets, gauge, pad_id=tokenizer.pad_id or 0, world=world, messages=messages),
    )  # fmt: skip
    lost.warn()
    check_changed(optimizer, before, total - start, world)
    return {"steps": total, "rows": len(rows), "trained_parameters": optimizer.num_trained()}


def with_row_length(options: TrainOptions, packed: PackedData | PackedShards) -> TrainOptions:
    """The options with the row length that the data has."""
    return dataclasses.replace(options, seq_len=packed.row_length)
