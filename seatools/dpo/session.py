"""One run of `sea dpo` from its arguments to its folder: pairs read, reference computed, steps taken, model exported.

With several processes the first one reads the preferences, and writes what is on the disk; the others take the tokens
from a file that is there for as long. All compute their part of the reference and of each step.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from seatools.dpo.options import DPOOptions
from seatools.dpo.pairs import Pair, load_pairs, pairs_digest, read_sources, save_pairs
from seatools.dpo.reference import compute_reference, load_reference, reference_metadata, save_reference
from seatools.dpo.sources import Source, identity, mixed, parse_sources
from seatools.engine.eval_data import eval_paths
from seatools.engine.run_checks import check_run
from seatools.engine.run_folder import METRICS, RunFolder
from seatools.engine.run_outcome import tracked, write_outcome
from seatools.engine.run_request import RunRequest
from seatools.engine.train_spec import parse_train
from seatools.engine.training_options import positions_in
from seatools.engine.watch import read_watch
from seatools.streams.digests import folder_digest, sha256_file
from seatools.streams.errors import UsageError
from seatools.streams.inputs import shown_together
from seatools.streams.manifest import Manifest
from seatools.streams.outputs import check_output
from seatools.streams.quarantine import rejects_policy
from seatools.streams.spool import spooled
from seatools.text.documents import Documents, load_documents
from seatools.text.own_tokenizer import other_pieces

if TYPE_CHECKING:
    import numpy as np

    from seatools.engine.world import World

SPOOL = "preferences.jsonl"
REFERENCE = "reference.safetensors"


@dataclass(frozen=True, kw_only=True)
class Request(RunRequest):
    """What a run reads and writes, and what its options leave open."""

    preferences: tuple[str, ...]
    reference: Path | None
    """Reference log-probabilities made before."""
    reference_only: bool


@dataclass(frozen=True)
class Inputs:
    """A request's preferences, looked at but not read."""

    documents: Documents
    sources: list[Source]
    others: list[Path]
    """Other input files."""
    spool: Path | None
    """Where what came by stdin is, in a run that is resumed."""

    @property
    def files(self) -> list[str | Path]:
        """All input files but the model's."""
        return [*self.others, *self.paths]

    @property
    def paths(self) -> list[str]:
        """The preference files."""
        return [path for source in self.sources for path in source.paths]

    def with_stdin(self, spool: Sequence[str]) -> list[Source]:
        """The sources, read from the file in `spool`, where there is one, instead of from stdin."""
        return [_from_spool(source, Path(spool[0])) for source in self.sources] if spool else self.sources


def look_at(request: Request, options: DPOOptions) -> Inputs:
    """Check what the request names. Raises UsageError or SeaError; writes nothing."""
    messages = request.messages
    documents = load_documents(
        request.tokenizer_path, pattern=request.pattern, chat_template=request.chat_template, note=messages.debug
    )
    if other := other_pieces(documents.tokenizer, request.model_path):
        messages.warn(other)
    spool = request.out / SPOOL if request.resume and (request.out / SPOOL).is_file() else None
    sources = parse_sources(request.preferences)
    if spool is not None:  # what came by stdin comes from there now, named again or not
        sources = [_from_spool(source, spool) for source in sources] or [Source(None, (str(spool),))]
    others = [Path(name) for name in parse_train(options.train).neurons]
    others += [Path(path) for paths in eval_paths(request.eval_data).values() for path in paths]
    others += [path for path in (request.reference, request.chat_template) if path is not None]
    return Inputs(documents, sources, others, spool)


def _from_spool(source: Source, spool: Path) -> Source:
    return dataclasses.replace(source, paths=tuple(str(spool) if path == "-" else path for path in source.paths))


def open_folder(request: Request, inputs: Inputs) -> RunFolder | None:
    """The run's folder, checked, with nothing written yet; None for --reference-only, whose OUT is a file."""
    read: list[str | Path] = [request.model_path, request.tokenizer_path, *inputs.others]
    read += [path for path in inputs.paths if path != str(inputs.spool)]
    if request.reference_only:
        check_output(request.out, force=request.force, inputs=read)
        return None
    begun_by = [SPOOL, REFERENCE]
    return RunFolder(request.out, resume=request.resume, force=request.force, inputs=read, begun_by=begun_by)


def check_request(request: Request, inputs: Inputs, options: DPOOptions, ranks: int) -> None:
    """Raise UsageError or SeaError for a run that cannot come to its end. Writes nothing, imports no torch."""
    if not inputs.sources:
        what = f"{request.out} holds no preferences to resume with"
        raise UsageError(what, fix="repeat the PREFS of the first command")
    if request.reference is not None and not request.reference.is_file():
        raise UsageError(f"{request.reference}: no such file", fix="make it with --reference-only")
    positions = positions_in(request.model_path)
    if positions is not None and options.max_length > positions:
        what = f"--max-length {options.max_length} is beyond the model's {positions} positions"
        raise UsageError(what, fix=f"--max-length {positions} or less")
    check_run(
        request, options, ranks, vocab_size=inputs.documents.tokenizer.vocab_size, files=inputs.files, rows="pairs"
    )  # fmt: skip


def run_session(request: Request, options: DPOOptions, world: World) -> None:
    """Align once, by one process of `world`; every one of them calls it."""
    inputs = look_at(request, options)
    world.barrier()  # all have seen what was there before the main process writes
    folder = open_folder(request, inputs) if world.is_main else None
    check_request(request, inputs, options, world.size)
    from seatools.engine.device import pick_device, pick_dtype
    from seatools.engine.load import check_folder

    pick_dtype(options.dtype, pick_device(options.device))
    check_folder(request.model_path)
    with folder or contextlib.nullcontext() as opened:
        _align(request, inputs, options, opened, world)
    world.barrier()  # or the launcher would take the first to leave for the last, and end the export


def _align(request: Request, inputs: Inputs, options: DPOOptions, folder: RunFolder | None, world: World) -> None:
    """`folder`: that of the main process, which alone writes."""
    from seatools.dpo.run import align, shares_prompts
    from seatools.engine.load import model_positions
    from seatools.engine.trainee import load_trainee

    out, messages, tokenizer = request.out, request.messages, inputs.documents.tokenizer
    manifest = Manifest(command="dpo", options=options, seed=options.seed)
    positions = model_positions(request.model_path)
    eval_sets, gauge = read_watch(request, options, tokenizer, inputs.paths, positions=positions)
    found = _read(request, inputs, options, folder, manifest) if world.is_main else []
    pairs, counts = _shared_with_all(found, folder.path if folder is not None else out.parent, world)
    numbers = mixed(inputs.sources, counts)
    model_digest = world.first(folder_digest(request.model_path) if world.is_main else None)
    assert model_digest is not None  # the main process has it
    metadata = _metadata(request, inputs, options, pairs, model_digest, world)
    values = _known_reference(request, metadata)
    trainee = load_trainee(
        request.model_path, options, seq_len=options.max_length, vocab_size=tokenizer.vocab_size,
        tokenizer_path=tokenizer.path, world=world, messages=messages, option="--max-length",
        lengths_vary=True,
    )  # fmt: skip
    share_prompt = shares_prompts(trainee, pairs, options)
    if folder is not None:
        folder.start()
    world.barrier()
    if values is None:
        values = compute_reference(
            trainee, pairs, pad_id=tokenizer.pad_id or 0, share_prompt=share_prompt, world=world, messages=messages
        )
        if world.is_main:
            save_reference(out if request.reference_only else out / REFERENCE, values, metadata)
    manifest.add_input(request.model_path, model_digest)
    if request.tokenizer_path != request.model_path:
        manifest.add_input(request.tokenizer_path)
    for path in inputs.others:
        manifest.add_input(path)
    if request.reference_only:
        manifest.counts = {"pairs": len(pairs)}
        if world.is_main:
            manifest.write(out)
            messages.info(f"{out}: the reference of {len(pairs):,} pairs")
        return
    fingerprint = {
        "pairs": metadata["pairs"], "mix": identity(inputs.sources, counts), "model": model_digest,
        "dtype": metadata["dtype"], **options.identity(), "train": parse_train(options.train).fingerprint(),
    }  # fmt: skip
    with tracked(request, options, world) as track:
        manifest.counts = align(
            trainee, [pairs[number] for number in numbers], {key: array[numbers] for key, array in values.items()},
            options, out=out, tokenizer=tokenizer, share_prompt=share_prompt, fingerprint=fingerprint,
            resume=request.resume, messages=messages, world=world, eval_sets=eval_sets, gauge=gauge, on_line=track,
        )  # fmt: skip
    manifest.options = dataclasses.replace(options, share_prompt=share_prompt)
    manifest.counts |= {"pairs": len(pairs), "pairs_an_epoch": len(numbers), "mix": fingerprint["mix"]}
    if write_outcome(
        request, options, trainee, manifest, tokenizer=tokenizer, model_digest=model_digest, world=world
    ):  # fmt: skip
        messages.info(f"{out}: the model after {manifest.counts['steps']:,} steps; metrics in {out / METRICS}")


def _metadata(
    request: Request, inputs: Inputs, options: DPOOptions, pairs: Sequence[Pair], model_digest: str, world: World
) -> dict[str, str]:
    """What ties the reference to this run."""
    from seatools.engine.device import pick_device, pick_dtype

    template = inputs.documents.template
    return reference_metadata(
        model=model_digest, tokenizer=inputs.documents.tokenizer.digest(), pairs=pairs_digest(pairs),
        template="none" if template is None else hashlib.sha256(template.source.encode()).hexdigest(),
        num_pairs=len(pairs), dtype=str(pick_dtype(options.dtype, world.device or pick_device(options.device))),
        names={"model": str(request.model_path), "pairs": shown_together(inputs.paths)},
    )  # fmt: skip


def _known_reference(request: Request, metadata: Mapping[str, str]) -> dict[str, np.ndarray] | None:
    """That of --reference, or of the run that is resumed; before the model is loaded, as it may be another's."""
    if request.reference is not None:
        return load_reference(request.reference, metadata, request.messages)
    own = request.out / REFERENCE
    if not (request.resume and own.exists()):
        return None
    fix = "repeat the PREFS and options of the first run, or start afresh with --force"
    return load_reference(own, metadata, request.messages, fix=fix)


def _read(
    request: Request, inputs: Inputs, options: DPOOptions, folder: RunFolder | None, manifest: Manifest
) -> list[list[Pair]]:
    """The pairs of each source. What comes by stdin is kept in the folder, so that --resume needs no pipe."""
    messages, tokenizer = request.messages, inputs.documents.tokenizer
    if tokenizer.eos_id is None:
        messages.warn(f"{tokenizer.path} names no EOS token, so no plain answer ends with one")
    inside = folder.path if folder is not None else None
    piped = [path for path in inputs.paths if path == "-"]
    with (
        rejects_policy(
            request.on_error, request.quarantine, request.out, messages, force=request.force or request.resume
        ) as rejects,
        spooled(piped, inside) as (files, stdin_digest),
    ):
        found = read_sources(
            inputs.with_stdin(files), inputs.documents, max_length=options.max_length, rejects=rejects,
            limit=request.limit, workers=request.workers,
        )  # fmt: skip
        if files and inside is not None:
            os.replace(files[0], inside / SPOOL)
    manifest.rejects = rejects.counts
    for source in inputs.sources:
        more = {} if source.name is None else {"source": source.name}
        for path in source.paths:
            if inputs.spool is not None and path == str(inputs.spool):
                manifest.add_input("-", sha256_file(path), **more)
            else:
                manifest.add_input(path, stdin_digest if path == "-" else None, **more)
    return found


def _shared_with_all(found: Sequence[Sequence[Pair]], folder: Path, world: World) -> tuple[list[Pair], list[int]]:
    """All pairs, and how many each source has, on every rank; the main one has `found` them."""
    pairs, counts = [pair for own in found for pair in own], [len(own) for own in found]
    if world.size == 1:
        return pairs, counts
    path = folder / f".pairs-{os.getpid()}.safetensors"
    try:
        if world.is_main:
            save_pairs(path, pairs)
        said = world.first((str(path.absolute()), counts) if world.is_main else None)
        assert said is not None
        if not world.is_main:
            pairs, counts = load_pairs(Path(said[0])), said[1]
        world.barrier()
    finally:
        if world.is_main:
            path.unlink(missing_ok=True)
    return pairs, counts
