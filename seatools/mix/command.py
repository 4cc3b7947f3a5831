"""`sea mix`: flags in, a weighted stream of documents (or packed rows) out."""

from __future__ import annotations

import contextlib
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from seatools.streams.errors import UsageError
from seatools.streams.flags import (
    Config,
    Debug,
    DryRun,
    ErrorPolicy,
    Force,
    Json,
    Limit,
    OnError,
    Output,
    Pattern,
    Quarantine,
    Quiet,
    Seed,
    Verbose,
    Workers,
    new_app,
    prints_jsonl,
    run_app,
)

if TYPE_CHECKING:
    from seatools.mix.options import MixOptions
    from seatools.streams.messages import Messages


class UnitChoice(StrEnum):
    """What weights and budget count."""

    tokens = "tokens"
    loss_tokens = "loss-tokens"
    bytes = "bytes"
    docs = "docs"


class ExhaustChoice(StrEnum):
    """What to do when a source runs out."""

    stop = "stop"
    renormalize = "renormalize"
    error = "error"


class ShuffleChoice(StrEnum):
    """The order inside a source."""

    none = "none"
    all = "global"


app = new_app()


@app.command()
def mix(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME=GLOB[:WEIGHT[@MAX_EPOCHS]]",
            help="a name, a file, glob, folder, @list.txt or - (stdin), its weight [default: 1], its epochs at most",
            show_default=False,
        ),
    ],
    tokenizer: Annotated[
        str | None, typer.Option("--tokenizer", metavar="TOK", help="folder or file; counts tokens and packs")
    ] = None,
    unit: Annotated[UnitChoice, typer.Option("--unit", help="what the weights and the budget count")] = (
        UnitChoice.tokens
    ),
    budget: Annotated[
        str | None,
        typer.Option("--budget", metavar="2M", help="end with the document that reaches so many units"),
    ] = None,
    max_epochs: Annotated[
        int | None,
        typer.Option(
            "--max-epochs", min=1, metavar="N", help="read a source at most N times [default: 4 with --budget, else 1]"
        ),
    ] = None,
    on_exhaust: Annotated[
        ExhaustChoice,
        typer.Option("--on-exhaust", help="a source runs out: end there, go on without it, or fail before writing"),
    ] = ExhaustChoice.stop,
    shuffle: Annotated[
        ShuffleChoice, typer.Option("--shuffle", help="order inside a source: of its files, or all of it permuted")
    ] = ShuffleChoice.all,
    chat_template: Annotated[
        str | None, typer.Option("--chat-template", metavar="FILE", help="Jinja; default: that of the tokenizer")
    ] = None,
    pack: Annotated[
        int | None, typer.Option("--pack", min=2, metavar="N", help="write packed rows of N tokens (safetensors)")
    ] = None,
    pack_window: Annotated[
        int, typer.Option("--pack-window", min=1, metavar="N", help="documents packed together")
    ] = 10_000,
    pattern: Pattern = None,
    output: Output = None,
    force: Force = False,
    seed: Seed = 0,
    limit: Limit = None,
    workers: Workers = 0,
    dry_run: DryRun = False,
    json: Json = False,
    on_error: OnError = ErrorPolicy.fail,
    quarantine: Quarantine = None,
    config: Config = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> None:
    """Weighted, packed training data from many sources.

    \b
    examples:
      sea mix en=en.jsonl.zst:1 th=th.jsonl.gz:3 --tokenizer TOK --budget 2M -o mixed.jsonl
      sea mix web=th/*.jsonl:3 chat=sft.jsonl:1@2 --tokenizer TOK --pack 4096 -o packed.safetensors

    \b
    Text and chat records may be mixed; documents leave byte for byte as they came (a line of a .txt
    as {"text": ...}). At every point the source with the fewest emitted units for its weight gives
    the next document, so the ratio holds all along. Without --budget the mix ends where the first
    source is used up. The plan goes to stderr before anything is written; --dry-run ends there and
    gives it as JSONL on stdout.
    """
    from seatools.mix.document_store import DocumentStore
    from seatools.mix.emission import emit
    from seatools.mix.options import MixOptions
    from seatools.mix.packed_mix import write_packed_mix
    from seatools.mix.plan import as_records, make_plan, plan_table, plan_warnings
    from seatools.mix.source_index import build_index
    from seatools.mix.source_specs import parse_sources
    from seatools.streams.manifest import Manifest
    from seatools.streams.messages import Messages
    from seatools.streams.outputs import check_output, open_output
    from seatools.streams.quarantine import rejects_policy
    from seatools.streams.records import dump
    from seatools.streams.sizes import parse_count
    from seatools.text.documents import load_documents

    messages = Messages(quiet, verbose)
    options = MixOptions(
        sources=tuple(parse_sources(sources)),
        unit=unit.value,
        budget=parse_count(budget) if budget is not None else None,
        max_epochs=max_epochs or (1 if budget is None else 4),
        on_exhaust=on_exhaust.value,
        shuffle=shuffle.value,
        seed=seed,
        limit=limit,
        pack=pack,
        pack_window=pack_window,
    )
    to_stdout = output is None or output == "-"
    if pack is not None and (to_stdout or str(output).endswith((".gz", ".zst"))):
        raise UsageError("--pack writes a safetensors file", fix="-o FILE.safetensors")
    if json and not dry_run:
        raise UsageError("--json gives the plan on stdout, where the documents go", fix="add --dry-run")
    if tokenizer is None:
        _refuse_without_tokenizer(options, chat_template, pattern)
    manifest = Manifest("mix", options, seed)
    given = [path for path in (tokenizer, chat_template) if path is not None]
    check_output(output, force=force, inputs=[*_input_paths(options, messages), *given])
    documents = None
    if tokenizer is not None:
        documents = load_documents(tokenizer, pattern=pattern, chat_template=chat_template, note=messages.debug)

    with DocumentStore() as store, contextlib.ExitStack() as stack:
        rejects = stack.enter_context(
            rejects_policy(on_error.value, quarantine, output, messages, force=force, dry_run=dry_run)
        )
        indexes = [
            build_index(spec, store, rejects, documents=documents, workers=workers, limit=limit, quiet=quiet)
            for spec in options.sources
        ]
        store.check_unchanged()
        plan = make_plan(indexes, options)
        messages.info(plan_table(plan))
        for warning in (*(text for index in indexes for text in index.warnings()), *plan_warnings(plan)):
            messages.warn(warning)
        if dry_run:
            if prints_jsonl(json):
                sys.stdout.buffer.write(b"".join(dump(row) + b"\n" for row in as_records(plan)))
            return
        with open_output(output, force=force, binary=pack is not None) as stream:
            if pack is not None and documents is not None:
                manifest.counts["packed"] = write_packed_mix(plan, documents, stream, workers=workers, quiet=quiet)
            else:
                emit(plan, stream, quiet=quiet)
            store.check_unchanged()
    if not to_stdout:
        for index in indexes:
            for file in index.stored_files:
                manifest.add_input(file.path, file.sha256, source=index.spec.name)
        if tokenizer is not None and documents is not None:
            manifest.add_input(tokenizer, tokenizer_digest=documents.tokenizer.digest())
        if chat_template is not None:
            manifest.add_input(chat_template)
        manifest.counts |= {"unit": options.unit, "emitted": plan.schedule.total, "sources": as_records(plan)}
        manifest.rejects = rejects.counts
        manifest.write(output)


def _refuse_without_tokenizer(options: MixOptions, chat_template: str | None, pattern: str | None) -> None:
    """Name the first option that needs a tokenizer."""
    for option, is_given in (
        (f"--unit {options.unit}", options.unit in ("tokens", "loss-tokens")),
        ("--pack", options.pack is not None),
        ("--chat-template", chat_template is not None),
        ("--pattern", pattern is not None),
    ):
        if is_given:
            fix = "--tokenizer TOK" + (", or --unit bytes or docs" if option.startswith("--unit") else "")
            raise UsageError(f"{option} needs a tokenizer", fix=fix)


def _input_paths(options: MixOptions, messages: Messages) -> list[str]:
    """Every file of every source, so that a missing one is said before any work; warns of one in two sources."""
    from seatools.streams.inputs import expand

    owner: dict[str, str] = {}
    for spec in options.sources:
        for path in expand(spec.glob):
            if path in owner:
                messages.warn(f"{path} is in source {owner[path]} and in source {spec.name}")
            owner[path] = spec.name
    return list(owner)


def main(argv: list[str]) -> int:
    """Run `sea mix`."""
    return run_app(app, "mix", argv)
