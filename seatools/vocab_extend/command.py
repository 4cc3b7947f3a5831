"""`sea vocab-extend`: flags in, one call of `extension.extend`, a short before and after on stderr."""

from __future__ import annotations

from typing import Annotated

import typer

from seatools.streams.errors import SeaError
from seatools.streams.flags import (
    Config,
    Debug,
    DryRun,
    ErrorPolicy,
    Force,
    Limit,
    OnError,
    OutputPath,
    Pattern,
    Quarantine,
    Quiet,
    Seed,
    Verbose,
    Workers,
    new_app,
    run_app,
)
from seatools.streams.messages import Messages

app = new_app()


@app.command()
def vocab_extend(
    base: Annotated[str, typer.Argument(metavar="BASE", help="tokenizer file, or folder that holds one")],
    texts: Annotated[list[str], typer.Argument(metavar="[LANG=]GLOB...", help="text to learn from; - is stdin")],
    add: Annotated[str, typer.Option("--add", metavar="N", help="new tokens wanted: 4000, 16K")],
    output: OutputPath,
    method: Annotated[str, typer.Option("--method", help="continue: BPE goes on from the base's tokens")] = "continue",
    protect: Annotated[
        list[str] | None,
        typer.Option("--protect", metavar="[LANG=]GLOB", help="text whose encoding must not change; may be repeated"),
    ] = None,
    min_count: Annotated[int, typer.Option("--min-count", metavar="N", help="stop below this many occurrences")] = 2,
    max_bytes: Annotated[int, typer.Option("--max-bytes", metavar="N", help="longest new token, in bytes")] = 48,
    pattern: Pattern = None,
    limit: Limit = None,
    seed: Seed = 0,
    workers: Workers = 0,
    force: Force = False,
    dry_run: DryRun = False,
    on_error: OnError = ErrorPolicy.fail,
    quarantine: Quarantine = None,
    config: Config = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> None:
    """New tokens for an existing tokenizer: every one reachable, the old encoding kept underneath.

    \b
    examples:
      sea vocab-extend MODEL th=thai.jsonl --add 4000 -o extended
      sea vocab-extend MODEL 'th=th/*.jsonl.zst' lo=lao.txt --add 16K --protect en=english.txt -o extended

    The folder gets every tokenizer file that the base has, with the new tokens in it, and new_tokens.jsonl.
    """
    from seatools.streams.inputs import expand, parse_labelled, refuse_repeats
    from seatools.streams.manifest import Manifest
    from seatools.streams.outputs import check_output, output_folder
    from seatools.streams.quarantine import rejects_policy
    from seatools.streams.records import RecordReader, Rejects, check_text
    from seatools.streams.sizes import parse_count
    from seatools.streams.spool import spooled
    from seatools.text.tokenizer import load_tokenizer
    from seatools.vocab_extend.extension import ExtendOptions, extend, learn_tokens, open_base

    messages = Messages(quiet, verbose)
    options = ExtendOptions(add=parse_count(add), method=method, min_count=min_count, max_bytes=max_bytes, seed=seed)
    labelled = [(lang or "und", spec) for lang, spec in map(parse_labelled, texts)]
    guarded = [(lang or "und", spec) for lang, spec in map(parse_labelled, protect or [])]
    specs = [spec for _, spec in (*labelled, *guarded)]
    refuse_repeats([spec for spec in specs if spec == "-"])
    refuse_repeats([path for _, spec in labelled for path in expand(spec)])
    check_output(output, force=force, inputs=[base])
    tokenizer = load_tokenizer(base, pattern=pattern)
    for note in tokenizer.notes:
        messages.warn(note)
    opened = open_base(tokenizer)

    manifest = Manifest("vocab-extend", options=options, seed=seed)
    for file in tokenizer.files:
        manifest.add_input(file)

    def read(sources: list[tuple[str, str]], rejects: Rejects) -> dict[str, list[str]]:
        documents: dict[str, list[str]] = {}
        for lang, spec in sources:
            with spooled([spec]) as (paths, digest):
                reader = RecordReader(paths, check=check_text, rejects=rejects, limit=limit)
                documents.setdefault(lang, []).extend(record.value["text"] for record in reader)
                if digest is not None:
                    manifest.add_input("-", digest, lang=lang)
                for path in [] if digest is not None else expand(spec):
                    manifest.add_input(path, lang=lang)
        for lang, found in documents.items():
            if not found:
                raise SeaError(f"no text for {lang}", fix="check the files; empty lines are no documents")
        return documents

    with rejects_policy(on_error, quarantine, output, messages, force=force, dry_run=dry_run) as rejects:
        documents, protected = read(labelled, rejects), read(guarded, rejects)
        size = sum(len(text.encode()) for found in documents.values() for text in found)
        if dry_run:
            tokens = learn_tokens(opened, documents, protected, options, workers=workers, messages=messages)
            messages.info(
                f"{tokenizer.kind} base, {size:,} bytes of text: would add {len(tokens):,} tokens, ids "
                f"{opened.first_id:,} to {opened.first_id + len(tokens) - 1:,}, to {output}; nothing is written"
            )
            return
        inputs = [path for spec in specs if spec != "-" for path in expand(spec)]
        with output_folder(output, force=force, inputs=[base, *inputs]) as folder:
            tokens, proof = extend(
                tokenizer, documents, protected, options, folder, pattern=pattern, workers=workers, messages=messages
            )
    chars = sum(token.origin == "char" for token in tokens)
    steps = sum(not proof.counts[token.id] for token in tokens)
    manifest.counts = {
        "tokens": len(tokens),
        "characters": chars,
        "steps": steps,
        "vocab_size": tokens[-1].id + 1,
        "base_vocab_size": tokenizer.vocab_size,
        "languages": {lang: vars(row) for lang, row in proof.languages.items()},
        "lines": proof.num_lines,
        "lines_of_other_expansion": proof.other_expansion,
        "lines_engines_disagree": proof.disagreements,
        "lines_engines_disagree_base": proof.base_disagreements,
        "protected": {lang: len(found) for lang, found in protected.items()},
    }
    manifest.rejects = rejects.counts
    manifest.write(output)

    if len(tokens) < options.add:
        messages.warn(
            f"only {len(tokens):,} of {options.add:,} tokens: no other pair that may be merged occurs "
            f"{options.min_count} times (--min-count)"
        )
    messages.info(
        f"{len(tokens):,} new tokens ({chars:,} characters), ids {tokens[0].id:,} to {tokens[-1].id:,}; "
        f"{steps:,} occur only inside longer ones"
    )
    for lang, row in proof.languages.items():
        before, after = row.num_bytes / row.base_tokens, row.num_bytes / row.new_tokens
        lost = f", {row.base_unk / row.base_tokens:.1%} of the tokens were UNK" if row.base_unk else ""
        messages.info(f"{lang}: {before:.2f} -> {after:.2f} bytes per token, {row.num_docs:,} documents{lost}")
    for lang, found in protected.items():
        messages.info(f"{lang}: protected, 0 of {len(found):,} documents changed")
    if proof.other_expansion:
        messages.info(
            f"{proof.other_expansion:,} of {proof.num_lines:,} lines do not expand to the base's tokens "
            "(sentencepiece joins by concatenation); all decode as before"
        )
    if proof.disagreements:
        messages.warn(
            f"sentencepiece and tokenizer.json differ on {proof.disagreements:,} of {proof.num_lines:,} lines "
            f"(before: {proof.base_disagreements:,})"
        )


def main(argv: list[str]) -> int:
    return run_app(app, "vocab-extend", argv)
