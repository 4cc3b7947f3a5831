"""One run of `sea train` from its arguments to its folder: data packed, model loaded, steps taken, model exported.

With several processes the first one makes what is on the disk (the packed data, checkpoints, the exported folder) and
the others wait for it; all of them load the model and take the steps.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seatools.engine.patch import save_patch
from seatools.engine.run_folder import CHECKPOINTS, METRICS, RunFolder
from seatools.streams.digests import folder_digest
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.manifest import Manifest
from seatools.streams.messages import Messages
from seatools.streams.quarantine import rejects_policy
from seatools.text.documents import Documents, load_documents
from seatools.text.packed import PackedData, read_packed
from seatools.text.packed_shards import PackedShards, read_packed_files
from seatools.text.tokenizer import Tokenizer
from seatools.train.checks import check_request
from seatools.train.curves import PICTURE, save_curves
from seatools.train.data import (
    SPOOL,
    Source,
    check_spool,
    made_from,
    order_of,
    packed_paths,
    parse_sources,
    spool_packed,
)
from seatools.train.eval_data import eval_paths, read_eval_sets
from seatools.train.forgetting import ForgettingGauge, ForgettingOptions, read_baseline
from seatools.train.new_rows import NEW_ROWS, NEW_TOKENS
from seatools.train.options import TrainOptions
from seatools.train.trackers import open_tracker
from seatools.train.train_spec import parse_train

if TYPE_CHECKING:
    from seatools.engine.evaluate import EvalSet
    from seatools.engine.world import World


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a run reads and writes, and what its options leave open."""

    model_path: Path
    data: tuple[str, ...]
    out: Path
    tokenizer_path: Path
    seq_len: int | None
    """--seq-len, if it was typed."""
    resume: bool
    force: bool
    limit: int | None
    workers: int
    on_error: str
    quarantine: str | None
    pattern: str | None
    chat_template: Path | None
    eval_data: tuple[str, ...]
    track: tuple[str, ...]
    plot: bool | None
    """--plot or --no-plot; None: where matplotlib is there."""
    save_patch: Path | None
    messages: Messages
    baseline: Path | None = None
    """The metrics whose first evaluation forgetting is measured by, if not the run's own: a schedule's first stage."""


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
    documents = load_documents(
        request.tokenizer_path, pattern=request.pattern, chat_template=request.chat_template, note=messages.debug
    )
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
    return RunFolder(request.out, resume=request.resume, force=request.force, inputs=read, begun_by=[SPOOL])


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
    from seatools.engine.export import export_folder
    from seatools.engine.load import model_positions
    from seatools.engine.shard import unshared_copy
    from seatools.train.run import load_trainee, train, with_row_length
    from seatools.train.trained_parts import trained_slices

    options, out, messages, tokenizer = inputs.options, request.out, request.messages, inputs.documents.tokenizer
    manifest = Manifest(command="train", options=options, seed=options.seed)
    # Before the data is packed, which may take hours.
    positions = model_positions(request.model_path, has_weights=not options.from_config)
    eval_sets, gauge = _evaluation(request, inputs, positions)
    packed = None if folder is None else _packed(request, inputs, folder, manifest)
    if packed is not None:
        options = with_row_length(options, packed)
    elif inputs.given:  # before the model is loaded, which checks the length of its rows
        options = with_row_length(options, read_packed_files(inputs.given))
    trainee = load_trainee(request.model_path, tokenizer, options, world, messages)
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
    with contextlib.ExitStack() as closing:
        trackers = [
            open_tracker(name, out, options=dataclasses.asdict(options)) for name in request.track if world.is_main
        ]
        for tracker in trackers:
            closing.callback(tracker.close)

        def track(line: dict[str, Any]) -> None:
            for tracker in trackers:
                tracker(line)

        manifest.counts = train(
            trainee, packed, inputs.documents, options, out=out, fingerprint=fingerprint, resume=request.resume,
            messages=messages, world=world, eval_sets=eval_sets, gauge=gauge, on_line=track if trackers else None,
        )  # fmt: skip
    manifest.counts["tokens"] = packed.num_tokens
    slices = trained_slices(trainee.model, trainee.parts) if request.save_patch is not None else []
    model = unshared_copy(trainee.model, world, trainee.dtype) if trainee.shared else trainee.model
    if not world.is_main or model is None:
        return
    manifest.add_input(request.model_path, model_digest)
    if request.tokenizer_path != request.model_path:
        manifest.add_input(request.tokenizer_path)
    for path in inputs.others:
        manifest.add_input(path)
    export_folder(
        model, out, base=request.model_path, add_files=lambda folder: _add_files(request, tokenizer, folder),
        chat_template=request.chat_template,
    )  # fmt: skip
    if request.plot is not False:
        save_curves(out / METRICS, out / PICTURE, messages, asked_for=request.plot is True)
    manifest.write(out)
    if request.save_patch is not None:
        save_patch(
            request.save_patch, request.model_path, slices, base_digest=model_digest,
            tokenizer_digest=tokenizer.digest(), trained=options.train, languages=_languages(options),
            messages=messages, force=request.force or request.resume,
        )  # fmt: skip
        messages.info(f"{request.save_patch}: what was trained, as a patch of {request.model_path}")
    messages.info(f"{out}: the model after {manifest.counts['steps']:,} steps; metrics in {out / METRICS}")


def _packed(request: Request, inputs: Inputs, folder: RunFolder, manifest: Manifest) -> PackedData | PackedShards:
    """The run's rows: those it began with, packed files as they are, or records packed now."""
    messages, tokenizer = request.messages, inputs.documents.tokenizer
    origin = origin_of(request, inputs)
    packed: PackedData | PackedShards
    if inputs.begun is not None:
        packed = inputs.begun
        check_spool(packed, origin)
        manifest.inputs = json.loads(packed.metadata["inputs"])
        manifest.rejects = json.loads(packed.metadata["rejects"])
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


def _evaluation(
    request: Request, inputs: Inputs, positions: int | None
) -> tuple[list[EvalSet], ForgettingGauge | None]:
    """The held-out texts, tokenised for a model of so many positions, and the watch over one language of them."""
    options, named = inputs.options, eval_paths(request.eval_data)
    trained = {os.path.realpath(path) for source in inputs.sources for path in source.paths}
    for path in [path for paths in named.values() for path in paths if os.path.realpath(path) in trained]:
        request.messages.warn(f"{path} is trained on and evaluated: its bits per byte say nothing of other text")
    sets = read_eval_sets(named, inputs.documents.tokenizer, positions=positions, workers=request.workers)
    if options.source_lang is None:
        return sets, None
    watch = ForgettingOptions(
        lang=options.source_lang, limit=options.forget_limit, policy=options.on_forgetting,  # type: ignore[arg-type]
    )  # fmt: skip
    begun = request.baseline or (request.out / METRICS if request.resume else None)
    baseline = read_baseline(begun, watch.lang) if begun is not None else None
    if baseline is None and request.resume and any((request.out / CHECKPOINTS).glob("step-*")):
        raise UsageError(
            f"{watch.lang} was not evaluated before the first step of this run, so its forgetting cannot be told",
            fix="leave out --source-lang, or start afresh with --force",
        )
    return sets, ForgettingGauge(watch, request.messages, baseline)


def _languages(options: TrainOptions) -> tuple[str, ...]:
    """The languages whose neurons were trained; all that the files have, if none was chosen."""
    if options.neuron_langs:
        return options.neuron_langs
    from seatools.engine.neurons import load_neurons

    return tuple(sorted({lang for name in parse_train(options.train).neurons for lang in load_neurons(name)[0]}))


def _add_files(request: Request, tokenizer: Tokenizer, folder: Path) -> None:
    """The tokenizer, and the lists by which a further run knows the new rows."""
    tokenizer.save(folder)
    for name in (NEW_ROWS, NEW_TOKENS):
        if (request.model_path / name).is_file():
            shutil.copyfile(request.model_path / name, folder / name)
