"""A mix from its request: index the sources, plan, say the plan, write."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from seatools.mix.balance import balanced_by_lang
from seatools.mix.document_store import DocumentStore
from seatools.mix.emission import emit
from seatools.mix.index_sidecar import Sidecars
from seatools.mix.join_turns import join_turns
from seatools.mix.options import MixOptions
from seatools.mix.packed_mix import write_packed_mix
from seatools.mix.plan import Plan, make_plan
from seatools.mix.plan_report import as_records, plan_table, plan_warnings
from seatools.mix.rendered_example import first_masked, rendered_example
from seatools.mix.requests import MixRequest
from seatools.mix.shards import shard_span, write_packed_shards, write_shards
from seatools.mix.source_cleaning import SourceCleaning, cleaned_away
from seatools.mix.source_index import SourceIndex, build_index
from seatools.streams.colour import wants_colour
from seatools.streams.errors import SeaError
from seatools.streams.free_space import check_space
from seatools.streams.inputs import expand
from seatools.streams.manifest import Manifest
from seatools.streams.messages import Messages
from seatools.streams.outputs import check_output, is_special, open_output, output_folder, refuse_inputs_inside
from seatools.streams.plot_style import check_plot, kind_of
from seatools.streams.quarantine import rejects_policy
from seatools.streams.records import Rejects, dump
from seatools.text.documents import Documents, load_documents

MAX_UNK = 0.2
"""A source of which more tokens than this share are <unk> is not mixed, unless it is allowed: that text is lost."""


def run_mix(request: MixRequest, messages: Messages, *, json: bool) -> None:
    """Mix. With `dry_run` nothing is written, and with `json` the plan goes to stdout as JSONL then."""
    options = request.options
    manifest = Manifest("mix", options, options.seed)
    given = [path for path in (request.tokenizer, request.chat_template, request.plan) if path is not None]
    given += [] if options.cleaning is None else options.cleaning.files_used()
    inputs = [*_input_paths(options, messages), *given]
    check_output(request.place, force=request.force, inputs=inputs)
    if request.shard_bytes is not None:
        refuse_inputs_inside(Path(str(request.place)), inputs)
    kept_rejects = request.rejects if request.keeps_rejects else None
    check_output(kept_rejects, force=request.force, inputs=inputs)
    if request.plot is not None:
        check_plot(request.plot, force=request.force, inputs=inputs)
    documents = None
    if request.tokenizer is not None:
        documents = load_documents(
            request.tokenizer, pattern=request.pattern, chat_template=request.chat_template, note=messages.debug
        )
    with DocumentStore() as store, contextlib.ExitStack() as stack:
        policy = rejects_policy(
            request.on_error, request.quarantine, request.place, messages,
            force=request.force, dry_run=request.dry_run or not request.keeps_rejects,
        )  # fmt: skip
        rejects = stack.enter_context(policy)
        cleaning = None
        if options.cleaning is not None:
            rejected = None
            if kept_rejects is not None and not request.dry_run:
                rejected = stack.enter_context(open_output(kept_rejects, force=request.force, inputs=inputs))
            cleaning = stack.enter_context(
                SourceCleaning(options, store, rejects, rejected, workers=request.workers, messages=messages)
            )
        indexes = _indexes(request, store, rejects, documents, cleaning, messages)
        store.check_unchanged()
        plan = _plan(indexes, documents, options, messages)
        if request.plot is not None:
            from seatools.mix.plan_plot import draw_plan

            with open_output(request.plot, force=request.force, inputs=inputs, binary=True) as stream:
                draw_plan(plan, stream, kind_of(request.plot))
        if request.dry_run:
            if json:
                sys.stdout.buffer.write(b"".join(dump(row) + b"\n" for row in as_records(plan)))
            return
        _write(plan, request, documents, manifest, messages)
    if not request.to_stdout or kept_rejects is not None:
        _record_inputs(manifest, request, indexes, documents)
        manifest.counts |= {"unit": options.unit, "emitted": plan.schedule.total, "sources": as_records(plan)}
        manifest.rejects = rejects.counts
        if cleaning is not None:
            manifest.rejects = rejects.counts + cleaning.cleaner.rejected
            manifest.counts["cleaning"] = {name: row.as_dict() for name, row in cleaning.cleaner.counts.items()}
        manifest.write(request.place, kept_rejects)


def _write(
    plan: Plan, request: MixRequest, documents: Documents | None, manifest: Manifest, messages: Messages
) -> None:
    """The documents or rows of the plan, or of a shard of it, to a file, stdout, or a folder of parts."""
    options, quiet, store = request.options, messages.quiet, plan.indexes[0].store
    span = range(len(plan.schedule.order))
    if request.shard is not None:
        span = shard_span(len(span), *request.shard, options.pack_window if options.pack is not None else 1)
        of = f"{request.shard[0]}/{request.shard[1]}"
        manifest.counts["shard"] = {"shard": of, "first": span.start, "documents": len(span)}
        if not request.keeps_rejects and (request.rejects is not None or request.on_error == "quarantine"):
            manifest.counts["shard"]["rejects_kept_by"] = f"0/{request.shard[1]}"
            messages.info(f"shard {of}: what is rejected is kept by shard 0/{request.shard[1]}")
        messages.info(f"shard {of}: {len(span):,} documents from number {span.start:,} on")
        if not span and options.pack is not None:
            messages.warn(
                f"shard {of} is empty: packed shards are whole windows of {options.pack_window:,} documents "
                "(--pack-window)"
            )
    _check_room(plan, request, len(span))
    if request.shard_bytes is not None:
        with output_folder(str(request.place), force=request.force) as folder:
            if options.pack is not None and documents is not None:
                manifest.counts["packed"] = write_packed_shards(
                    plan, documents, folder, shard_bytes=request.shard_bytes, span=span, workers=request.workers,
                    quiet=quiet,
                )  # fmt: skip
            else:
                suffix, size = request.part_suffix, request.shard_bytes
                manifest.counts |= write_shards(plan, folder, shard_bytes=size, suffix=suffix, span=span, quiet=quiet)
            store.check_unchanged()
        return
    with open_output(request.output, force=request.force, binary=options.pack is not None) as stream:
        if options.pack is not None and documents is not None:
            manifest.counts["packed"] = write_packed_mix(
                plan, documents, stream, span=span, workers=request.workers, quiet=quiet
            )
        else:
            hashed = not request.to_stdout and not str(request.output).lower().endswith((".gz", ".zst"))
            sha256 = emit(plan, stream, span=span, digest=hashed, quiet=quiet)
            if sha256 is not None:
                manifest.known[os.path.realpath(str(request.output))] = sha256
        store.check_unchanged()


def _check_room(plan: Plan, request: MixRequest, documents: int) -> None:
    """Refuse a disk that is surely too small: text takes its bytes at least, packed rows five a token."""
    place = Path(str(request.place))
    if request.to_stdout or is_special(place) or place.name.lower().endswith((".gz", ".zst")):
        return
    if request.options.pack is not None:
        needed = sum(5 * (row.emitted_tokens or 0) for row in plan.rows)
    else:
        needed = sum(row.emitted_bytes for row in plan.rows)
    share = documents / max(1, len(plan.schedule.order))
    check_space(
        place, int(share * needed), "the documents of the plan",
        fix="write to another disk, or compress: -o FILE.jsonl.zst" if request.options.pack is None
        else "write to another disk, or a smaller --budget",
    )  # fmt: skip


def _indexes(
    request: MixRequest,
    store: DocumentStore,
    rejects: Rejects,
    documents: Documents | None,
    cleaning: SourceCleaning | None,
    messages: Messages,
) -> list[SourceIndex]:
    """One index a source, each read from end to end."""
    options = request.options
    sidecars = None
    if not request.no_index:
        # A dry run writes nothing, unless it is told where.
        read_only = request.dry_run and request.index_dir is None
        sidecars = Sidecars(
            documents, pattern=request.pattern, folder=request.index_dir, read_only=read_only, warn=messages.warn
        )
    indexes = []
    for spec in options.sources:
        stages = [] if cleaning is None else [cleaning.stage(spec)]
        if options.join_turns is not None:
            stages.append(join_turns(options.join_turns, seed=options.seed, name=spec.name))
        try:
            index = build_index(
                spec, store, rejects, documents=documents, workers=request.workers, limit=options.limit,
                quiet=messages.quiet, stages=stages, sidecars=sidecars,
            )  # fmt: skip
        except SeaError as error:
            nothing = None if cleaning is None else cleaned_away(cleaning.cleaner, [spec])
            if nothing is None:
                raise
            raise SeaError(nothing, fix="leave the source out, or clean less") from error
        indexes.append(index if cleaning is None else cleaning.complete(index))
    if cleaning is not None:
        messages.info(f"cleaning: {cleaning.cleaner.summary()}")
    return indexes


def _plan(indexes: list[SourceIndex], documents: Documents | None, options: MixOptions, messages: Messages) -> Plan:
    """The plan, said on stderr with its warnings and one example of what is trained."""
    for index in indexes:
        _refuse_unknown_text(index, allowed=options.allow_unk)
    warnings = [text for index in indexes for text in index.warnings()]
    if options.balance is not None:
        indexes = balanced_by_lang(indexes, per_group_cap=options.per_group_cap, seed=options.seed)
        if options.unit != "loss-tokens":
            text = f"--balance makes the {options.unit} of the languages equal; instruction data is best balanced by "
            warnings.append(text + "what is trained of it: --unit loss-tokens")
    plan = make_plan(indexes, options)
    width = os.get_terminal_size(sys.stderr.fileno()).columns if sys.stderr.isatty() else None
    messages.info(plan_table(plan, width))
    for warning in (*warnings, *plan_warnings(plan)):
        messages.warn(warning)
    found = None if documents is None or messages.quiet else first_masked(indexes)
    if found is not None and documents is not None:
        messages.info(rendered_example(*found, documents, color=wants_colour(sys.stderr)))
    return plan


def _refuse_unknown_text(index: SourceIndex, *, allowed: bool) -> None:
    num_tokens = int(index.num_tokens.sum(dtype="int64")) if index.num_unk else 0
    if not allowed and index.num_unk > MAX_UNK * num_tokens:
        raise SeaError(
            f"source {index.spec.name}: the tokenizer turns {index.num_unk / num_tokens:.0%} of its tokens into <unk>",
            fix="another --tokenizer (sea vocab-extend gives it the script), or --allow-unk to mix it all the same",
        )


def _input_paths(options: MixOptions, messages: Messages) -> list[str]:
    """Every file of every source, so that a missing one is said before any work; warns of one in two sources."""
    owner: dict[str, str] = {}
    for spec in options.sources:
        for path in expand(spec.glob):
            if path in owner:
                messages.warn(f"{path} is in source {owner[path]} and in source {spec.name}")
            owner[path] = spec.name
    return list(owner)


def _record_inputs(
    manifest: Manifest, request: MixRequest, indexes: list[SourceIndex], documents: Documents | None
) -> None:
    for index in indexes:
        for file in index.stored_files:
            digest = {"sha256": file.sha256} if file.identity is None else {}  # a pipe is not there to be read again
            manifest.add_input(file.path, file.sha256, source=index.spec.name, **digest)
    if request.tokenizer is not None and documents is not None:
        manifest.add_input(request.tokenizer, tokenizer_digest=documents.tokenizer.digest())
    for path in (request.chat_template, request.plan):
        if path is not None:
            manifest.add_input(path)
    if request.options.cleaning is not None:
        manifest.add_inputs(request.options.cleaning.files_used())
