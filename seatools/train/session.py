"""One run of `sea train` from its arguments to its folder: data packed, model loaded, steps taken, model exported.

With several processes the first one makes what is on the disk (the packed data, checkpoints, the exported folder) and
the others wait for it; all of them load the model and take the steps.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatools.engine.eval_data import eval_paths
from seatools.engine.run_folder import METRICS, RunFolder
from seatools.engine.run_outcome import tracked, write_outcome
from seatools.engine.run_request import RunRequest
from seatools.engine.train_spec import parse_train
from seatools.engine.watch import read_watch
from seatools.engine.world import World
from seatools.streams.digests import folder_digest
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.manifest import Manifest
from seatools.streams.quarantine import rejects_policy
from seatools.streams.subcommands import check_model_exists
from seatools.text.documents import Documents, load_documents
from seatools.text.own_tokenizer import other_pieces
from seatools.text.packed import PackedData, read_packed
from seatools.text.packed_shards import PackedShards, read_packed_files
from seatools.train.checks import check_request
from seatools.train.data import (
    SPOOL,
    Source,
    check_spool,
    made_from,
    order_of,
    packed_paths,
    parse_sources,
    spool_note,
    spool_packed,
)
from seatools.train.options import TrainOptions


@dataclass(frozen=True, kw_only=True)
class Request(RunRequest):
    """What a run reads and writes, and what its options leave open."""

    data: tuple[str, ...]
    seq_len: int | None
    """--seq-len, if it was typed."""


@dataclass(frozen=True)
class Inputs:
    """A request's data, looked at but not read: enough for a dry run."""

    documents: Documents
    sources: list[Source]
    given: list[Path]
    """Packed files that DATA names."""
    begun: PackedData | None
    """The packed data of a run that is resumed."""
    others: list[Path]
    """Other input files."""
    options: TrainOptions
    """With the order of rows decided."""

    @property
    def files(self) -> list[str | Path]:
        """All input files but the model's."""
        return [*self.others, *(path for source in self.sources for path in source.paths)]


def look_at(request: Request, options: TrainOptions) -> Inputs:
    """Check what the request names. Raises UsageError or SeaError; writes nothing."""
    messages, out = request.messages, request.out
    check_model_exists(request.model_path)
    documents = load_documents(
        request.tokenizer_path, pattern=request.pattern, chat_template=request.chat_template, note=messages.debug
    )
    if other := other_pieces(documents.tokenizer, request.model_path):
        messages.warn(other)
    sources = parse_sources(request.data, outside=out.resolve() if request.resume else None)
    given = packed_paths(sources)
    if given and request.limit is not None:
        raise UsageError("--limit counts records; a packed file has none", fix="leave --limit out, or use --max-steps")
    others = [Path(name) for name in parse_train(options.train).neurons]
    others += [Path(path) for paths in eval_paths(request.eval_data).values() for path in paths]
    others += [request.chat_template] if request.chat_template is not None else []
    resumed = request.resume and (out / SPOOL).exists()
    begun = read_packed(out / SPOOL) if resumed else None
    options = dataclasses.replace(options, order=order_of(options.order, sources, begun))
    return Inputs(documents, sources, given, begun, others, options)


def open_folder(request: Request, inputs: Inputs) -> RunFolder:
    """The run's folder, checked, with nothing written yet."""
    read = [request.model_path, request.tokenizer_path, *inputs.files]
    return RunFolder(
        request.out, resume=request.resume, force=request.force, inputs=read, begun_by=[SPOOL], cleared=[SPOOL]
    )


def origin_of(request: Request, inputs: Inputs) -> dict[str, Any]:
    """What decides the rows of the run's own packed data (`made_from`)."""
    options, template = inputs.options, inputs.documents.template
    return made_from(
        inputs.sources, seq_len=options.seq_len, seed=options.seed, limit=request.limit,
        template=None if template is None else template.source, order=options.order,
    )  # fmt: skip


def run_session(request: Request, options: TrainOptions, world: World) -> None:
    """Train once, by one process of `world`; every one of them calls it."""
    inputs = look_at(request, options)
    world.barrier()  # all have seen what was there before the main process writes
    folder = open_folder(request, inputs) if world.is_main else None
    check_request(request, inputs, world.size)
    from seatools.train.run import check_model_folder

    check_model_folder(request.model_path, inputs.options)
    if folder is None:
        _train(request, inputs, None, world)
    else:
        with folder as opened:
            _train(request, inputs, opened, world)
    world.barrier()  # or the launcher would take the first to leave for the last, and end the export


def _train(request: Request, inputs: Inputs, folder: RunFolder | None, world: World) -> None:
    """`folder`: that of the main process, which alone writes."""
    from seatools.engine.load import model_positions
    from seatools.engine.trainee import load_trainee
    from seatools.train.run import train, with_row_length

    options, out, messages, tokenizer = inputs.options, request.out, request.messages, inputs.documents.tokenizer
    manifest = Manifest(command="train", options=options, seed=options.seed)
    # Before the data is packed, which may take hours.
    positions = model_positions(request.model_path, has_weights=not options.from_config)
    trained_files = [path for source in inputs.sources for path in source.paths]
    eval_sets, gauge = read_watch(request, options, tokenizer, trained_files, positions=positions)
    packed = None if folder is None else _packed(request, inputs, folder, manifest)
    if packed is not None:
        options = with_row_length(options, packed)
    elif inputs.given:  # before the model is loaded, which checks the length of its rows
        options = with_row_length(options, read_packed_files(inputs.given))
    trainee = load_trainee(
        request.model_path, options, seq_len=options.seq_len, vocab_size=tokenizer.vocab_size,
        tokenizer_path=tokenizer.path, world=world, messages=messages, from_config=options.from_config,
    )  # fmt: skip
    # By the main process for all: each digest reads whole files. Its packed file is moved into its place after that.
    model_digest = world.first(folder_digest(request.model_path) if world.is_main else None)
    digest = world.first(packed.digest() if world.is_main and packed is not None else None)
    assert model_digest is not None and digest is not None  # the main process has both
    if folder is not None:
        folder.start()
    world.barrier()
    if packed is None:
        packed = read_packed_files(inputs.given) if inputs.given else read_packed(out / SPOOL)
    manifest.options = options
    fingerprint = {
        "model": model_digest, "data": digest, "dtype": str(trainee.dtype),
        **options.identity(), "train": parse_train(options.train).fingerprint(),
    }  # fmt: skip
    with tracked(request, options, world) as track:
        manifest.counts = train(
            trainee, packed, inputs.documents, options, out=out, fingerprint=fingerprint, resume=request.resume,
            messages=messages, world=world, eval_sets=eval_sets, gauge=gauge, on_line=track,
        )  # fmt: skip
    manifest.counts["tokens"] = packed.num_tokens
    if world.is_main:
        manifest.add_input(request.model_path, model_digest)
        if request.tokenizer_path != request.model_path:
            manifest.add_input(request.tokenizer_path)
        for path in inputs.others:
            manifest.add_input(path)
    if write_outcome(
        request, options, trainee, manifest, tokenizer=tokenizer, model_digest=model_digest, world=world
    ):  # fmt: skip
        messages.info(f"{out}: the model after {manifest.counts['steps']:,} steps; metrics in {out / METRICS}")


def _packed(request: Request, inputs: Inputs, folder: RunFolder, manifest: Manifest) -> PackedData | PackedShards:
    """The run's rows: those it began with, packed files as they are, or records packed now."""
    messages, tokenizer = request.messages, inputs.documents.tokenizer
    origin = origin_of(request, inputs)
    packed: PackedData | PackedShards
    if inputs.begun is not None:
        packed = inputs.begun
        check_spool(packed, origin)
        manifest.inputs = spool_note(packed, "inputs")
        manifest.rejects = spool_note(packed, "rejects")
    elif inputs.given:
        packed = read_packed_files(inputs.given)
        if request.seq_len is not None and request.seq_len != packed.row_length:
            raise UsageError(
                f"{packed.path} has rows of {packed.row_length} tokens, not {request.seq_len}",
                fix="leave out --seq-len",
            )
        for path in inputs.given:
            manifest.add_input(path, source=inputs.sources[0].name)
    else:
        if tokenizer.eos_id is None:
            messages.warn(f"{tokenizer.path} names no EOS token, so no document ends with one")
        with rejects_policy(
            request.on_error, request.quarantine, request.out, messages, force=request.force
        ) as rejects:
            for source in inputs.sources:
                for name in source.paths:
                    manifest.add_input(name, source=source.name)
            packed = spool_packed(
                inputs.sources, inputs.documents, folder.path / SPOOL, origin=origin, inputs=manifest.inputs,
                digest=tokenizer.digest(), rejects=rejects, limit=request.limit, workers=request.workers,
                messages=messages,
            )  # fmt: skip
        manifest.rejects = rejects.counts
    packed.check_tokenizer(tokenizer.digest())
    if packed.num_targets == 0:
        raise SeaError("nothing to train: no token in it is a target", where=packed.path)
    return packed
