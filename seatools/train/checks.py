"""What `sea train` refuses before it reads data or weights: everything that could only fail hours later.

A dry run, the parent of several processes and a schedule (for all of its stages, before the first) ask the same
questions here. Answers come from the options, config.json, headers and the tokenizer; torch is not imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from seatools.streams.errors import SeaError, UsageError
from seatools.streams.extras import require
from seatools.streams.outputs import check_output
from seatools.streams.records import RecordReader, Rejects, check_training
from seatools.streams.weight_headers import read_json_object, vocabulary_config
from seatools.train.eval_data import eval_paths
from seatools.train.options import TrainOptions, positions_in
from seatools.train.trackers import TRACKERS
from seatools.train.train_spec import check_spec, parse_train

if TYPE_CHECKING:
    from seatools.train.session import Inputs, Request


def check_request(request: Request, inputs: Inputs, ranks: int) -> None:
    """Raise UsageError or SeaError for a run that cannot come to its end. Writes nothing."""
    options = inputs.options
    if not inputs.sources and inputs.begun is None:
        raise UsageError(f"{request.out} holds no data to resume with", fix="repeat the DATA of the first command")
    check_spec(
        parse_train(options.train), request.model_path, neuron_langs=options.neuron_langs,
        first_new_row=options.first_new_row,
    )  # fmt: skip
    if request.out.resolve().is_relative_to(request.model_path.resolve()):
        raise UsageError(f"{request.out} lies inside the model {request.model_path}", fix="write to another folder")
    _check_model(request, inputs)
    _check_parts(options)
    if options.batch_size < ranks:
        raise UsageError(f"{options.batch_size} rows in a step for {ranks} processes", fix=f"--batch-size {ranks}")
    _check_evaluation(request, options)
    for name in request.track:
        if name not in TRACKERS:
            raise UsageError(f"unknown --track {name!r}", fix=f"one of {', '.join(TRACKERS)}")
        require(name)
    if request.plot:
        require("matplotlib")
    if request.save_patch is not None:
        _check_patch(request, inputs, options)


def check_first_records(request: Request, inputs: Inputs) -> None:
    """Raise SeaError where the first record of a file cannot be trained on, as chat without a template; a run would
    find out by itself, a later stage only after the earlier ones. With --on-error skip or quarantine nothing is asked.
    """
    if inputs.begun is not None or inputs.given or request.on_error != "fail":
        return
    for path in [path for source in inputs.sources for path in source.paths if path != "-"]:
        for record in RecordReader([path], check=check_training, rejects=Rejects("fail"), limit=1):
            (document,) = inputs.documents.encode([record.value])
            if isinstance(document, SeaError):
                raise SeaError(document.what, where=record.where, fix=document.fix)


def _check_model(request: Request, inputs: Inputs) -> None:
    """Rows of tokens and of the vocabulary, by config.json; what it does not tell is checked on the model itself."""
    options, tokenizer = inputs.options, inputs.documents.tokenizer
    rows = vocabulary_config(read_json_object(request.model_path / "config.json")).get("vocab_size")
    if isinstance(rows, int) and tokenizer.vocab_size > rows:
        raise SeaError(
            f"the tokenizer has ids up to {tokenizer.vocab_size - 1}, the model has {rows} embedding rows",
            where=str(tokenizer.path),
            fix="give the model that belongs to this tokenizer, or make its rows with sea embed-init",
        )
    positions = positions_in(request.model_path)
    packed = inputs.given or inputs.begun is not None  # which have a row length of their own
    if not packed and positions is not None and options.seq_len > positions:
        what = f"rows of {options.seq_len} tokens are beyond the model's {positions} positions"
        raise UsageError(what, fix=f"--seq-len {positions} or less")


def _check_parts(options: TrainOptions) -> None:
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


def _check_evaluation(request: Request, options: TrainOptions) -> None:
    if options.source_lang is not None and options.source_lang not in eval_paths(request.eval_data):
        fix = f"--eval-data {options.source_lang}=FILE"
        raise UsageError(f"--source-lang {options.source_lang} has no text to be watched on", fix=fix)
    if options.eval_every and not request.eval_data:
        raise UsageError("--eval-every needs something to evaluate", fix="--eval-data LANG=FILE")


def _check_patch(request: Request, inputs: Inputs, options: TrainOptions) -> None:
    """The patch is written when all else is done: what is wrong with its place has to be said now."""
    patch = request.save_patch
    assert patch is not None
    if options.from_config:
        raise UsageError("--save-patch holds what changed in MODEL, and --from-config begins afresh", fix="drop one")
    for folder, what in ((request.out, "which holds the model"), (request.model_path, "the model that it is of")):
        if patch.resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"{patch} lies in {folder}, {what}", fix=f"{request.out}.patch.safetensors")
    if patch.is_dir():
        raise UsageError(f"{patch} is a folder", fix=f"--save-patch {patch / 'patch.safetensors'}")
    read = [request.tokenizer_path, *inputs.files]
    check_output(patch, force=request.force or request.resume, inputs=read)
