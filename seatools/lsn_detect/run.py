"""From a model and texts to a table of statistics: what `sea lsn-detect` and `sea lsn-detect stats` have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seatools.engine.world import SINGLE, World
from seatools.lsn_detect.options import StatsOptions
from seatools.lsn_detect.table import LanguageStats, StatsTable
from seatools.streams.inputs import shown
from seatools.streams.manifest import Manifest
from seatools.streams.messages import Messages

Agreement = Callable[[StatsTable], Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to read and with what."""

    model: Path
    corpora: Mapping[str, Sequence[str]]
    """lang -> files; at most one of them stdin."""
    out: Path
    tokenizer: Path
    pattern: str | None
    workers: int
    on_error: str
    quarantine: str | None
    force: bool
    messages: Messages

    def on(self, world: World) -> Request:
        """The request as a process of `world` has it: only the main one speaks."""
        return self if world.is_main else replace(self, messages=replace(self.messages, silent=True))

    @property
    def inputs(self) -> list[str]:
        return [path for paths in self.corpora.values() for path in paths]


def measured_table(
    request: Request,
    options: StatsOptions,
    manifest: Manifest,
    *,
    world: World = SINGLE,
    agreement: Agreement | None = None,
) -> StatsTable:
    """The statistics of every language; `manifest` learns of inputs and rejects. The same on every rank.

    Raises SeaError for text or a model that cannot be read or measured.
    """
    from seatools.lsn_detect.corpora import corpora_digests
    from seatools.streams.quarantine import rejects_policy
    from seatools.streams.spool import spooled

    inputs = request.inputs
    # One rank keeps the bad lines; all meet the same ones.
    on_error = request.on_error if world.is_main or request.on_error != "quarantine" else "skip"
    with contextlib.ExitStack() as stack:
        rejects = stack.enter_context(
            rejects_policy(on_error, request.quarantine if world.is_main else None, request.out, request.messages,
                           force=request.force)
        )  # fmt: skip
        files, stdin_digest = stack.enter_context(spooled(inputs))
        spool = dict(zip(inputs, files, strict=True))
        corpora = {lang: [spool[path] for path in paths] for lang, paths in request.corpora.items()}
        digests = corpora_digests(corpora)
        table = _measure(request, options, corpora, digests, rejects, manifest, world, agreement)
        manifest.rejects = rejects.counts
    manifest.add_inputs(inputs, stdin_digest)
    return table


def bare_table(request: Request, manifest: Manifest) -> StatsTable:
    """The places of the model and no statistics, for the random control."""
    from seatools.engine.load import open_model
    from seatools.engine.neuron_layers import find_layers
    from seatools.engine.neurons import architecture
    from seatools.streams.digests import folder_digest

    model = open_model(request.model, device="cpu", dtype="auto", packing=False)
    layers = find_layers(model)
    digest = folder_digest(request.model)
    manifest.add_input(request.model, digest)
    metadata = {
        "model_digest": digest, "tokenizer_digest": "", "architecture": architecture(model),
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()), "options": {},
    }  # fmt: skip
    return StatsTable({}, layers.all_places(), metadata)


def _measure(
    request: Request, options: StatsOptions, corpora: Mapping[str, list[str]], digests: Mapping[str, str],
    rejects: Any, manifest: Manifest, world: World, agreement: Agreement | None,
) -> StatsTable:  # fmt: skip
    from seatools.engine.load import check_vocabulary, max_positions, open_model
    from seatools.engine.neuron_layers import find_layers
    from seatools.engine.neurons import architecture
    from seatools.lsn_detect.corpora import Context, CorpusCounts, Part, check_has_text, contexts
    from seatools.lsn_detect.measure import Measured, measure
    from seatools.lsn_detect.script_check import script_warning
    from seatools.streams.digests import folder_digest
    from seatools.streams.progress import Progress
    from seatools.text.documents import Documents
    from seatools.text.own_tokenizer import other_pieces
    from seatools.text.tokenizer import load_tokenizer

    messages = request.messages
    tokenizer = load_tokenizer(request.tokenizer, pattern=request.pattern)
    if other := other_pieces(tokenizer, request.model):
        messages.warn(other)
    for line in tokenizer.notes:
        messages.debug(line)
    documents = Documents(tokenizer, add_eos=False)
    for lang, paths in corpora.items():
        check_has_text(
            lang, paths, documents, min_doc_tokens=options.min_doc_tokens, limit=options.limit,
            on_error=rejects.on_error,
        )  # fmt: skip
    model_digest = folder_digest(request.model) if world.is_main else None
    model_digest = str(world.first(model_digest))
    device = str(world.device) if world.size > 1 else options.device
    model = open_model(request.model, device=device, dtype=options.dtype)
    check_vocabulary(model, tokenizer.vocab_size, request.tokenizer)
    options, seq_len = options.fitted(max_positions(model.config))
    layers = find_layers(model)
    parts = options.parts
    if not any(ffn.part == "shared" for ffn in layers.ffn) and len(parts) > 1:
        parts = tuple(part for part in parts if part != "shared")
    places = layers.places(parts)
    manifest.add_input(request.model, model_digest)
    part = Part(*options.shard, world.rank, world.size)
    every = options.check_every if options.stop_jaccard is not None else None
    shard = f"{options.shard[0]}/{options.shard[1]}" if options.shard[1] > 1 else None
    metadata: dict[str, Any] = {
        "model_digest": model_digest,
        "tokenizer_digest": tokenizer.digest(),
        "architecture": architecture(model),
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "options": options.recorded(parts, str(model.dtype).removeprefix("torch.")),
    }

    def windows(lang: str, counts: CorpusCounts) -> Iterator[Sequence[Context]]:
        return contexts(
            corpora[lang], documents, counts, seq_len=seq_len, min_doc_tokens=options.min_doc_tokens,
            max_tokens=options.max_tokens, rejects=rejects, limit=options.limit, part=part, every=every,
            workers=request.workers,
        )  # fmt: skip

    def as_table(found: Mapping[str, Measured]) -> StatsTable:
        langs = {
            lang: LanguageStats(
                one.tokens,
                one.docs,
                one.values,
                digests[lang],
                shard,
                tuple(map(shown, request.corpora[lang])),
                limits=options.limits,
            )
            for lang, one in found.items()
        }
        return StatsTable(langs, places, metadata)

    with Progress("statistics", unit="tokens", quiet=messages.quiet or not world.is_main) as progress:
        found, counts = measure(
            model, layers, list(corpora), windows, options, parts=parts, pad_id=tokenizer.pad_id or 0, world=world,
            agreement=None if agreement is None else lambda halves: agreement(as_table(halves)),
            advance=lambda tokens: progress.advance(tokens * world.size), messages=messages,
        )  # fmt: skip
    table = as_table(found)
    for lang, count in counts.items():
        warning = script_warning(lang, count.sample)
        if warning is not None:
            table.langs[lang].warnings.append(warning)
            messages.warn(warning)
        if count.num_short:
            messages.info(f"{lang}: {count.num_short:,} contexts of under {options.min_doc_tokens} tokens left out")
    return table
