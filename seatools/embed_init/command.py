"""`sea embed-init`: flags in, a plan, the new model folder out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seatools.streams.errors import SeaError, UsageError
from seatools.streams.flags import Config, Debug, DryRun, Force, OutputPath, Quiet, Seed, Verbose, new_app, run_app
from seatools.streams.messages import Messages

app = new_app()


@app.command()
def embed_init(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="a Hugging Face model folder (safetensors)")],
    tokenizer: Annotated[Path, typer.Option("--tokenizer", metavar="NEW", help="the new tokenizer: folder or file")],
    output: OutputPath,
    old_tokenizer: Annotated[
        Path | None, typer.Option("--old-tokenizer", metavar="TOK", help="MODEL's own tokenizer, if it is not in MODEL")
    ] = None,
    method: Annotated[str, typer.Option("--method", help="subword-mean, mean, gaussian or xavier")] = "subword-mean",
    head_method: Annotated[
        str | None, typer.Option("--head-method", help="for the rows of an untied head [default: as --method]")
    ] = None,
    pad_to_multiple: Annotated[
        int, typer.Option("--pad-to-multiple", metavar="N", help="round the number of rows up to a multiple of N")
    ] = 1,
    link: Annotated[
        bool, typer.Option("--link", help="hard-link weight files that do not change (then edit neither in place)")
    ] = False,
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
      sea embed-init MODEL --tokenizer extended -o OUT --pad-to-multiple 64 --link

    Old rows move with their tokens, bit for bit; OUT/new_rows.jsonl lists every new row. Rows that no token uses stay
    as they are and are used first; rows added as padding are zero. A new token's head bias is the mean of the old ones.
    New special tokens, and tokens that the old tokenizer cannot spell, get the mean of all rows in use (subword-mean).
    """
    from seatools.embed_init.model_folder import describe, make_plan, write_folder
    from seatools.embed_init.options import EmbedInitOptions
    from seatools.streams.manifest import Manifest
    from seatools.streams.outputs import check_output, output_folder
    from seatools.text.tokenizer import load_tokenizer

    messages = Messages(quiet, verbose)
    options = EmbedInitOptions(
        method=method, head_method=head_method, pad_to_multiple=pad_to_multiple, seed=seed, link=link
    )
    inputs = [model, tokenizer] + ([old_tokenizer] if old_tokenizer else [])
    for path in inputs:
        if path.is_dir() and output.resolve().is_relative_to(path.resolve()):
            raise UsageError(f"{output} lies inside the input {path}", fix="write to another folder")
    check_output(output, force=force, inputs=inputs)
    if not model.is_dir():
        raise SeaError(f"{model} is not a folder" if model.exists() else f"{model} does not exist")
    new = load_tokenizer(tokenizer)
    try:
        old = load_tokenizer(old_tokenizer or model)
    except SeaError as error:
        fix = error.fix if old_tokenizer else "--old-tokenizer TOK names the one that the model was trained with"
        raise SeaError(error.what, where=error.where, fix=fix) from error
    for read in (old, new):
        for note in read.notes:
            messages.warn(f"{read.path}: {note}")
    plan = make_plan(model, old, new, options)
    if dry_run:
        messages.info(describe(plan, options))
        return
    if plan.left_out:
        messages.debug(f"left out: {', '.join(plan.left_out)}")
    manifest = Manifest("embed-init", options=options, seed=seed)
    with output_folder(output, force=force, inputs=inputs) as folder:
        manifest.counts = write_folder(plan, options, folder, messages)
    for path in inputs:
        manifest.add_input(path)
    manifest.write(output)
    counts = manifest.counts
    messages.info(
        f"{output}: {counts['new_tokens']:,} new tokens by {method}, {counts['kept_tokens']:,} kept "
        f"({counts['moved_tokens']:,} at another id), {counts['dropped_tokens']:,} dropped; "
        f"{counts['old_rows']:,} -> {counts['rows']:,} rows"
    )
    if plan.tokens.dropped:
        from seatools.embed_init.token_map import listed

        messages.warn(f"the new tokenizer does not have {listed(old, plan.tokens.dropped)}")


def main(argv: list[str]) -> int:
    """`sea embed-init ARGV`."""
    return run_app(app, "embed-init", argv)
