"""`sea embed-init`: flags in, a plan, the new model folder out."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from seatools.streams.errors import SeaError, UsageError
from seatools.streams.flags import (
    Config,
    Debug,
    Device,
    DryRun,
    Force,
    OutputPath,
    Quiet,
    Seed,
    Verbose,
    new_app,
    run_app,
)
from seatools.streams.messages import Messages
from seatools.streams.sizes import parse_count

app = new_app()


class MethodChoice(StrEnum):
    """How a new row is made: `options.METHODS` and auto."""

    auto = "auto"
    subword_mean = "subword-mean"
    first_piece = "first-piece"
    last_piece = "last-piece"
    weighted_first = "weighted-first"
    weighted_last = "weighted-last"
    mean = "mean"
    gaussian = "gaussian"
    gaussian_diagonal = "gaussian-diagonal"
    gaussian_full = "gaussian-full"
    xavier = "xavier"
    focus = "focus"
    omp = "omp"
    distill = "distill"


@app.command()
def embed_init(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="a Hugging Face model folder (safetensors)")],
    tokenizer: Annotated[Path, typer.Option("--tokenizer", metavar="NEW", help="the new tokenizer: folder or file")],
    output: OutputPath,
    old_tokenizer: Annotated[
        Path | None, typer.Option("--old-tokenizer", metavar="TOK", help="MODEL's own tokenizer, if it is not in MODEL")
    ] = None,
    method: Annotated[
        MethodChoice, typer.Option("--method", metavar="METHOD", help="how a new row is made, see above")
    ] = MethodChoice.auto,
    head_method: Annotated[
        MethodChoice | None,
        typer.Option("--head-method", metavar="METHOD", help="for the rows of an untied head [default: by --method]"),
    ] = None,
    norm_match: Annotated[
        bool, typer.Option("--norm-match", help="scale each new row to the mean norm of the old ones")
    ] = False,
    reinit: Annotated[
        Path | None,
        typer.Option("--reinit", metavar="FILE", help="existing_tokens.jsonl: rows of woken tokens are made anew too"),
    ] = None,
    reinit_reasons: Annotated[
        str,
        typer.Option("--reinit-reasons", metavar="woken|dormant|unreachable[,...]", help="of the tokens in that file"),
    ] = "woken",
    text: Annotated[
        list[str] | None, typer.Option("--text", metavar="[LANG=]GLOB", help="what focus and distill learn from")
    ] = None,
    max_tokens: Annotated[
        str, typer.Option("--max-tokens", metavar="N", help="tokens of --text read per language")
    ] = "10M",
    donor: Annotated[
        Path | None, typer.Option("--donor", metavar="MODEL", help="omp: a model folder that knows the new tokens")
    ] = None,
    omp_k: Annotated[int, typer.Option("--omp-k", metavar="K", help="omp: old tokens that a row is made of")] = 64,
    steps: Annotated[int, typer.Option("--steps", help="distill: updates of each row, a context each")] = 100,
    lr: Annotated[
        float | None, typer.Option("--lr", help="distill: of Adam [default: 1 % of the old rows' root mean square]")
    ] = None,
    pad_to_multiple: Annotated[
        int, typer.Option("--pad-to-multiple", metavar="N", help="round the number of rows up to a multiple of N")
    ] = 1,
    link: Annotated[
        bool, typer.Option("--link", help="hard-link weight files that do not change (then edit neither in place)")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="load both models and prove that nothing else changed")
    ] = False,
    device: Device = "cpu",
    seed: Seed = 0,
    force: Force = False,
    dry_run: DryRun = False,
    config: Config = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> None:
    """Rows for the new tokens in an existing checkpoint, without loading the model.

    \b
    examples:
      sea embed-init MODEL --tokenizer extended -o OUT
      sea embed-init MODEL --tokenizer extended -o OUT --pad-to-multiple 64 --link --verify
      sea embed-init MODEL --tokenizer extended -o OUT --method subword-mean --head-method first-piece
      sea embed-init MODEL --tokenizer extended -o OUT --reinit extended/existing_tokens.jsonl
      sea embed-init MODEL --tokenizer extended -o OUT --method focus --text th=thai.jsonl

    \b
    methods:
      auto               weighted-first where the head is tied, else weighted-last for the embedding and
                         weighted-first for the head: the best without text or donor in docs/embed-init.md
      subword-mean       the mean of the old tokens that spelled the new one (SambaLingo)
      weighted-last      the same, leaning to the last of them; weighted-first, to the first
      last-piece         the last of them alone; first-piece, the first (EEVE, for heads)
      mean               the mean of all old rows
      gaussian, xavier   drawn: N(0, initializer_range); uniform after Glorot
      gaussian-diagonal  drawn with mean and spread of the old rows, dimension by dimension
      gaussian-full      drawn with their mean and whole covariance (Hewitt)
      focus              old rows of tokens used alike in --text (needs the vectors extra)
      omp                old rows in the mixture that makes the token's row in --donor
      distill            subword-mean, then trained until the model sees in the token what it saw in its pieces
                         (loads the model; reads --text; for input rows, an untied head gets weighted-first)

    Old rows move with their tokens, bit for bit; OUT/new_rows.jsonl lists every new row. Rows that no token uses stay
    as they are and are used first; rows added as padding are zero. A new token's head bias is the mean of the old ones.
    New special tokens, and tokens that the old tokenizer cannot spell, get the mean of all rows where a method needs
    pieces; those that focus, omp and distill do not reach get their sub-word mean.
    """
    from seatools.embed_init.dry_run import describe
    from seatools.embed_init.model_folder import make_plan, write_folder
    from seatools.embed_init.options import EmbedInitOptions
    from seatools.streams.manifest import Manifest
    from seatools.streams.outputs import check_output, output_folder
    from seatools.streams.stage import stage
    from seatools.text.tokenizer import load_tokenizer

    messages = Messages(quiet, verbose)
    options = EmbedInitOptions(
        method=method.value,
        head_method=head_method.value if head_method else None,
        norm_match=norm_match,
        reinit=str(reinit) if reinit else None,
        reinit_reasons=tuple(part.strip() for part in reinit_reasons.split(",")),
        text=tuple(text or ()),
        max_tokens=parse_count(max_tokens),
        donor=str(donor) if donor else None,
        omp_k=omp_k,
        steps=steps,
        lr=lr,
        pad_to_multiple=pad_to_multiple,
        seed=seed,
        link=link,
    )
    inputs = [path for path in (model, tokenizer, old_tokenizer, donor, reinit) if path is not None]
    for path in inputs:
        if path.is_dir() and output.resolve().is_relative_to(path.resolve()):
            raise UsageError(f"{output} lies inside the input {path}", fix="write to another folder")
    check_output(output, force=force, inputs=inputs)
    if not model.is_dir():
        raise SeaError(f"{model} is not a folder" if model.exists() else f"{model} does not exist")
    if verify:
        from seatools.embed_init.verify import check_verifiable

        check_verifiable(model)
    new = load_tokenizer(tokenizer)
    try:
        old = load_tokenizer(old_tokenizer or model)
    except SeaError as error:
        fix = error.fix if old_tokenizer else "--old-tokenizer TOK names the one that the model was trained with"
        raise SeaError(error.what, where=error.where, fix=fix) from error
    notes = {note: read.path for read in (new, old) for note in read.notes}  # once what the new one inherits
    for note, path in notes.items():
        messages.warn(f"{path}: {note}")
    plan = make_plan(model, old, new, options)
    if not plan.tokens.new and reinit is None and pad_to_multiple == 1:
        messages.warn(f"{tokenizer} has no token that the model does not have: OUT will be a copy of {model}")
    options = options.resolved(plan.checkpoint.tied)
    if dry_run:
        messages.info(describe(plan, options))
        return
    if plan.left_out:
        messages.debug(f"left out: {', '.join(plan.left_out)}")
    manifest = Manifest("embed-init", options=options, seed=seed)
    proof = None
    with output_folder(output, force=force, inputs=[*inputs, *plan.text_paths]) as folder:
        manifest.counts, digests = write_folder(plan, options, folder, messages, device)
        if verify:
            from seatools.embed_init.verify import verify as prove

            with stage("verifying", quiet):
                proof = prove(model, old, folder, new, plan.tokens, reinitialised=plan.existing.pieces)
            manifest.counts["verified"] = proof.counts
    for name, digest in digests.items():
        manifest.known[os.path.realpath(model / name)] = digest.source
        manifest.known[os.path.realpath(output / name)] = digest.made
    for path in [*inputs, *plan.text_paths]:
        manifest.add_input(path)
    manifest.write(output)
    counts = manifest.counts
    made_by = options.method if plan.checkpoint.tied else f"{options.method} / {options.head}"
    reinitialised = f", {counts['reinit_tokens']:,} made anew" if reinit else ""
    messages.info(
        f"{output}: {counts['new_tokens']:,} new tokens by {made_by}{reinitialised}, {counts['kept_tokens']:,} kept "
        f"({counts['moved_tokens']:,} at another id), {counts['dropped_tokens']:,} dropped; "
        f"{counts['old_rows']:,} -> {counts['rows']:,} rows"
    )
    if proof is not None:
        messages.info(proof.sentence)
        for note in proof.notes:
            messages.warn(note)
    if plan.tokens.dropped:
        from seatools.embed_init.token_map import listed

        messages.warn(f"the new tokenizer does not have {listed(old, plan.tokens.dropped)}")


def main(argv: list[str]) -> int:
    """`sea embed-init ARGV`."""
    return run_app(app, "embed-init", argv)
