"""What every training command refuses before it reads data or weights: what could only fail hours later.

Answers come from the options, config.json, headers and the tokenizer's size; torch is not imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seatools.engine.eval_data import eval_paths
from seatools.engine.run_request import RunRequest
from seatools.engine.trackers import TRACKERS
from seatools.engine.train_spec import check_spec, parse_train
from seatools.engine.training_options import TrainingOptions
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.extras import require
from seatools.streams.outputs import check_output
from seatools.streams.plot_style import check_plot
from seatools.streams.weight_headers import read_json_object, vocabulary_config


def check_run(
    request: RunRequest,
    options: TrainingOptions,
    ranks: int,
    *,
    vocab_size: int,
    files: Sequence[str | Path],
    from_config: bool = False,
    rows: str = "rows",
) -> None:
    """Raise UsageError or SeaError for a run that cannot come to its end. Writes nothing.

    `vocab_size`: of the tokenizer; `files`: all that is read, where the patch must not go; `rows`: what a step has.
    """
    check_spec(
        parse_train(options.train), request.model_path, neuron_langs=options.neuron_langs,
        first_new_row=options.first_new_row,
    )  # fmt: skip
    if request.out.resolve().is_relative_to(request.model_path.resolve()):
        raise UsageError(f"{request.out} lies inside the model {request.model_path}", fix="write to another folder")
    check_rows(request, vocab_size)
    _check_parts(options)
    if options.batch_size < ranks:
        raise UsageError(f"{options.batch_size} {rows} in a step for {ranks} processes", fix=f"--batch-size {ranks}")
    _check_evaluation(request, options)
    for name in request.track:
        if name not in TRACKERS:
            raise UsageError(f"unknown --track {name!r}", fix=f"one of {', '.join(TRACKERS)}")
        require(name)
    check_picture(request, files)
    if request.save_patch is not None:
        _check_patch(request, request.save_patch, files, from_config=from_config)


def check_rows(request: RunRequest, vocab_size: int) -> None:
    """Refuse a tokenizer with more ids than the model has rows, by config.json."""
    rows = vocabulary_config(read_json_object(request.model_path / "config.json")).get("vocab_size")
    if isinstance(rows, int) and vocab_size > rows:
        raise SeaError(
            f"the tokenizer has ids up to {vocab_size - 1}, the model has {rows} embedding rows",
            where=str(request.tokenizer_path),
            fix="give the model that belongs to this tokenizer, or make its rows with sea embed-init",
        )


def _check_parts(options: TrainingOptions) -> None:
    """Options that need something to be trained which --train leaves out."""
    spec = parse_train(options.train)
    selects = spec.neurons or spec.new_rows
    if options.parallel == "fsdp" and selects:
        raise UsageError("--parallel fsdp shares whole weights; selected rows are small", fix="--parallel ddp, or auto")
    if options.fp8 and selects:
        raise UsageError("--fp8 replaces the layers that selected rows are trained in", fix="leave --fp8 out")
    if options.embedding_lr is not None and not (spec.all or spec.embeddings or spec.new_rows):
        raise UsageError(f"--embedding-lr, and --train {options.train} trains no embedding", fix="leave it out")
    if options.optimizer == "muon" and not (spec.all or spec.layers):
        raise UsageError(
            f"--optimizer muon, and --train {options.train} trains no whole matrix", fix="--optimizer adamw"
        )


def _check_evaluation(request: RunRequest, options: TrainingOptions) -> None:
    if options.source_lang is not None and options.source_lang not in eval_paths(request.eval_data):
        fix = f"--eval-data {options.source_lang}=FILE"
        raise UsageError(f"--source-lang {options.source_lang} has no text to be watched on", fix=fix)
    if options.eval_every and not request.eval_data:
        raise UsageError("--eval-every needs something to evaluate", fix="--eval-data LANG=FILE")


def check_picture(request: RunRequest, files: Sequence[str | Path]) -> None:
    """Refuse --plot FILE where none could be made. It may go into OUT, which need not be there yet."""
    if not request.plot:
        return
    inside = request.plot.resolve().parent == request.out.resolve()
    place = Path(request.plot.name) if inside else request.plot
    check_plot(place, force=inside or request.force or request.resume, inputs=files)


def _check_patch(request: RunRequest, patch: Path, files: Sequence[str | Path], *, from_config: bool) -> None:
    """The patch is written when all else is done: what is wrong with its place has to be said now."""
    if from_config:
        raise UsageError("--save-patch holds what changed in MODEL, and --from-config begins afresh", fix="drop one")
    for folder, what in ((request.out, "which holds the model"), (request.model_path, "the model that it is of")):
        if patch.resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"{patch} lies in {folder}, {what}", fix=f"{request.out}.patch.safetensors")
    if patch.is_dir():
        raise UsageError(f"{patch} is a folder", fix=f"--save-patch {patch / 'patch.safetensors'}")
    read = [request.tokenizer_path, *files]
    check_output(patch, force=request.force or request.resume, inputs=read)
