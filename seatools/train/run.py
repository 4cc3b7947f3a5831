"""One training run: model, what of it is trained, the steps, the exported folder.

The loss of a step is the sum over its trained tokens divided by their number, however the step is cut into
micro-batches (transformers#34191 and its many relatives), so gradient accumulation changes nothing but memory.
With neurons only the selected rows and columns are optimised: their fp32 masters and moments are all the optimiser
state there is, clipping sees only them (the released PLND code clips by the norm of all gradients and so shrinks
them), and every other weight stays as it was to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seatools.engine.device import pick_device, pick_dtype
from seatools.engine.load import build_model, check_folder, check_vocabulary, load_model, model_positions
from seatools.engine.loop import fingerprint_weights, run_steps
from seatools.engine.loss import summed_loss
from seatools.engine.neurons import NeuronSet, check_architecture, load_neurons, selections, union
from seatools.engine.optimise import MasterAdamW, Selection
from seatools.engine.row_order import rows_of_step, steps_for_epochs
from seatools.engine.rows import make_batch
from seatools.engine.training_mode import check_seq_len, prepare_for_training
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.messages import Messages
from seatools.text.packed import PackedData
from seatools.text.packed_shards import PackedShards
from seatools.text.tokenizer import Tokenizer
from seatools.train.options import TrainOptions

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def check_before_data(model_path: Path, options: TrainOptions) -> None:
    """Refuse what no data can mend, before any is read: device, row length, languages without neurons."""
    pick_dtype(options.dtype, pick_device(options.device))
    if not options.from_config:
        check_folder(model_path)
        check_seq_len(options.seq_len, model_positions(model_path))
    if options.neurons_path is not None:
        chosen_langs(load_neurons(options.neurons_path)[0], options)


def chosen_langs(sets: NeuronSet, options: TrainOptions) -> tuple[str, ...]:
    """The languages whose neurons are trained: those asked for, or all in the file."""
    langs = options.neuron_langs or tuple(sorted(sets))
    missing = [lang for lang in langs if lang not in sets]
    if missing:
        fix = f"it has {', '.join(sorted(sets))}"
        raise UsageError(f"{options.neurons_path}: no neurons for {missing[0]}", fix=fix)
    return langs


def load_for_training(model_path: Path, tokenizer: Tokenizer, options: TrainOptions) -> PreTrainedModel:
    """The model on its device, ready to be trained, checked against its tokenizer."""
    device = pick_device(options.device)
    dtype = pick_dtype(options.dtype, device)
    if options.from_config:
        model = build_model(model_path, vocab_size=None, seed=options.seed, device=device, dtype=dtype)
    else:
        model = load_model(model_path, device=device, dtype=dtype)
    check_vocabulary(model, tokenizer.vocab_size, str(tokenizer.path))
    prepare_for_training(model, seq_len=options.seq_len, gradient_checkpointing=options.gradient_checkpointing)
    return model


def trained_parts(model: PreTrainedModel, options: TrainOptions, messages: Messages) -> list[tuple[str, Any]]:
    """(name, Parameter or Selection) of everything that is trained; all else is frozen."""
    parameters = dict(model.named_parameters())
    if options.neurons_path is None:
        return list(parameters.items())
    sets, metadata = load_neurons(options.neurons_path)
    check_architecture(metadata, model)
    langs = chosen_langs(sets, options)
    for parameter in parameters.values():
        parameter.requires_grad_(False)
    parts: list[tuple[str, Any]] = []
    for name, dim, index in selections(model, union(sets, langs)):
        parameters[name].requires_grad_(True)
        parts.append((name, Selection(parameters[name], dim, index)))
    if not parts:
        raise SeaError(f"{options.neurons_path}: no neurons for {', '.join(langs)}: nothing to train")
    trained = sum(part.index.numel() * part.param.numel() // part.param.shape[part.dim] for _, part in parts)
    total = sum(parameter.numel() for parameter in parameters.values())
    messages.info(f"neurons of {', '.join(langs)}: {trained:,} of {total:,} parameters ({100 * trained / total:.2f} %)")
    return parts


def rows_with_targets(packed: PackedData | PackedShards) -> np.ndarray:
    """Numbers int64 of the rows that hold a trained token; a row of a long prompt alone has nothing to teach."""
    firsts = np.cumsum([0, *(shard.num_rows for shard in packed.shards)])
    parts = [first + _rows_with_targets(shard) for first, shard in zip(firsts, packed.shards, strict=False)]
    return np.concatenate(parts)


def _rows_with_targets(packed: PackedData) -> np.ndarray:
    lengths = np.diff(packed.row_tokens.astype(np.int64))
    filled = np.flatnonzero(lengths)
    if not len(filled):
        return filled
    return filled[np.maximum.reduceat(packed.loss_mask, packed.row_tokens[filled].astype(np.int64)) > 0]


def train(
    model: PreTrainedModel,
    parts: Sequence[tuple[str, Any]],
    packed: PackedData | PackedShards,
    options: TrainOptions,
    *,
    out: Path,
    pad_id: int,
    fingerprint: dict[str, Any],
    resume: bool,
    messages: Messages,
) -> dict[str, Any]:
    """Take the steps that train `parts` (of `trained_parts`); returns counts for the manifest.

    The `order` of the options is "file" or "shuffled".
    """
    rows = rows_with_targets(packed)
    if not len(rows):
        raise SeaError("nothing to train: no token in it is a target", where=packed.path)
    total = options.max_steps or steps_for_epochs(options.epochs, batch_size=options.batch_size, num_rows=len(rows))
    optimizer = MasterAdamW(parts, weight_decay=options.weight_decay)
    left_out = packed.num_rows - len(rows)
    messages.info(
        f"{len(rows):,} rows of {packed.row_length} tokens, {total:,} steps of {options.batch_size} rows: "
        f"{total * options.batch_size / len(rows):.2f} epochs"
        + (", in the order of the data" if options.order == "file" else ", shuffled")
        + (f"; {left_out:,} rows without a trained token left out" if left_out else "")
    )
    before = fingerprint_weights(model)
    gradients = step_gradients(model, packed, rows, options, pad_id)
    start = run_steps(
        model, optimizer, gradients, options.loop(total), out=out, fingerprint=fingerprint | {"max_steps": total},
        resume=resume, messages=messages,
    )  # fmt: skip
    if start < total and fingerprint_weights(model) == before:
        raise SeaError(
            f"{total - start} steps changed no weight", fix="a higher --lr, or --dtype fp32: the step rounds to nothing"
        )
    return {"steps": total, "rows": len(rows), "trained_parameters": optimizer.num_trained()}


def step_gradients(
    model: PreTrainedModel, packed: PackedData | PackedShards, rows: np.ndarray, options: TrainOptions, pad_id: int
) -> Callable[[int], dict[str, Any]]:
    """The function of a step's number that leaves its gradients in `model` and returns what to log.

    `rows` are the numbers of the rows of `packed` that are read, each once an epoch.
    """
    micro = options.micro_batch or options.batch_size
    shuffled = options.order != "file"

    def gradients(step: int) -> dict[str, Any]:
        order = rows_of_step(
            step, batch_size=options.batch_size, num_rows=len(rows), seed=options.seed, shuffled=shuffled
        )
        numbers = [int(rows[place]) for place in order]
        documents = [packed.row(number) for number in numbers]
        targets = sum(int(np.count_nonzero(mask[1:])) for row in documents for _, mask in row)
        tokens = sum(len(ids) for row in documents for ids, _ in row)
        if targets == 0:
            raise SeaError(f"step {step}: no trained token in its rows {numbers}", where=packed.path)
        loss = 0.0
        for first in range(0, len(documents), micro):
            batch = make_batch(documents[first : first + micro], packed.row_length, pad_id, model.device)
            loss_sum, _ = summed_loss(model, batch)
            (loss_sum / targets).backward()
            loss += float(loss_sum.detach())
        epoch = round(step * options.batch_size / len(rows), 4)
        return {"loss": loss / targets, "tokens": tokens, "targets": targets, "epoch": epoch, "rows": numbers}

    return gradients
