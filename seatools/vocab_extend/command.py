"""`sea vocab-extend`: flags in, text read once, one call of `extension.extend`, a short before and after on stderr."""

from __future__ import annotations

from typing import Annotated

import typer

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
_SOURCES = "[LANG=]GLOB[,...]"


@app.command()
def vocab_extend(
    base: Annotated[str, typer.Argument(metavar="BASE", help="tokenizer file, or folder that holds one")],
    output: OutputPath,
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="[LANG=]GLOB...", help="text to learn from; - is stdin")
    ] = None,
    add: Annotated[str | None, typer.Option("--add", metavar="N", help="new tokens at most: 4000, 16K")] = None,
    until: Annotated[
        list[str] | None,
        typer.Option("--until", metavar="METRIC=X", help="each language until bytes-per-token=6 or parity=1.6"),
    ] = None,
    balance: Annotated[
        str,
        typer.Option(
            "--balance", metavar="weights|gain|parity|text", help="who gets the next token; text: the commonest pair"
        ),
    ] = "weights",
    weights: Annotated[
        str | None, typer.Option("--weights", metavar="LANG=W,...", help="shares of the tokens; 1 for the others")
    ] = None,
    method: Annotated[
        str,
        typer.Option("--method", metavar="continue|donor|merge", help="BPE goes on; as SeaLLMs; as SambaLingo"),
    ] = "continue",
    donor: Annotated[
        str | None, typer.Option("--donor", metavar="TOKENIZER", help="whose pieces method donor may make")
    ] = None,
    prune: Annotated[
        str, typer.Option("--prune", metavar="frequency|tfidf", help="method donor: what is kept")
    ] = "frequency",
    trained_size: Annotated[
        str, typer.Option("--trained-size", metavar="N", help="method merge: vocabulary trained per language")
    ] = "25000",
    protect: Annotated[
        list[str] | None, typer.Option("--protect", metavar=_SOURCES, help="text whose encoding must not change")
    ] = None,
    measure: Annotated[
        list[str] | None, typer.Option("--measure", metavar=_SOURCES, help="text to measure before and after only")
    ] = None,
    parallel: Annotated[
        list[str] | None, typer.Option("--parallel", metavar=_SOURCES, help="line-parallel text for parity and --until")
    ] = None,
    reference: Annotated[
        str | None, typer.Option("--reference", metavar="LANG", help="parity is over this --parallel language")
    ] = None,
    min_count: Annotated[int, typer.Option("--min-count", metavar="N", help="stop below this many occurrences")] = 2,
    max_bytes: Annotated[int, typer.Option("--max-bytes", metavar="N", help="longest new token, in bytes")] = 48,
    scripts: Annotated[
        str, typer.Option("--scripts", metavar="auto|any|NAME,...", help="letters of new tokens; auto: the languages'")
    ] = "auto",
    partial_characters: Annotated[
        bool, typer.Option("--partial-characters", help="let tokens end inside a character")
    ] = False,
    pretokenizer: Annotated[
        str,
        typer.Option("--pretokenizer", metavar="keep|marks", help="marks: letters keep their combining marks"),
    ] = "keep",
    reuse_unreachable: Annotated[
        bool, typer.Option("--reuse-unreachable", help="first take ids that no text reaches, and gaps")
    ] = False,
    pad_to_multiple: Annotated[
        int, typer.Option("--pad-to-multiple", metavar="N", help="say how many rows the model gets, so padded")
    ] = 1,
    unigram: Annotated[bool, typer.Option("--unigram", help="append to a Unigram base and measure")] = False,
    max_drift: Annotated[
        float, typer.Option("--max-drift", metavar="X", help="--unigram: share of protected words that may change")
    ] = 0.01,
    normalize: Annotated[
        str,
        typer.Option("--normalize", metavar="none|nfc|zawgyi", help="the text first; zawgyi: to Unicode, then nfc"),
    ] = "none",
    max_words: Annotated[
        str, typer.Option("--max-words", metavar="N", help="distinct words kept per language; the rarest go first")
    ] = "8M",
    shard: Annotated[
        str | None, typer.Option("--shard", metavar="I/N", help="only count records I, I+N, ... into the file OUT")
    ] = None,
    counts: Annotated[
        list[str] | None, typer.Option("--counts", metavar="GLOB", help="counts that --shard wrote; they add up")
    ] = None,
    report: Annotated[
        str | None, typer.Option("--report", metavar="FILE", help="everything measured, as JSON; - is stdout")
    ] = None,
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
      sea vocab-extend MODEL 'th=th/*.jsonl.zst' lo=lao.txt --add 16K --protect en=en.txt,fr=fr.txt -o extended
      sea vocab-extend QWEN my=my.txt --until bytes-per-token=6 --pretokenizer marks --report - -o extended
      sea vocab-extend MODEL th=thai.jsonl --method donor --donor NLLB --add 16K -o extended
      sea vocab-extend MODEL th=thai.jsonl --shard 0/8 -o counts-0.jsonl.zst

    The folder gets every tokenizer file that the base has, with the new tokens in it, new_tokens.jsonl, and
    existing_tokens.jsonl: old tokens that no text reached before or reaches now.
    """
    from seatools.vocab_extend.requests import Request, count_shard, run_extension, run_plan

    messages = Messages(quiet, verbose)
    request = Request(
        base=base,
        output=output,
        texts=texts or [],
        protect=protect or [],
        measure=measure or [],
        parallel=parallel or [],
        counts=counts or [],
        add=add,
        until=until or [],
        weights=weights,
        scripts=scripts,
        trained_size=trained_size,
        max_words=max_words,
        pattern=pattern,
        normalize=normalize,
        shard=shard,
        limit=limit,
        workers=workers,
        force=force,
        dry_run=dry_run,
        on_error=on_error,
        quarantine=quarantine,
        report=report,
        more={
            "balance": balance,
            "method": method,
            "donor": donor,
            "prune": prune,
            "reference": reference,
            "min_count": min_count,
            "max_bytes": max_bytes,
            "partial_characters": partial_characters,
            "pretokenizer": pretokenizer,
            "reuse_unreachable": reuse_unreachable,
            "pad_to_multiple": pad_to_multiple,
            "unigram": unigram,
            "max_drift": max_drift,
            "seed": seed,
        },
    )
    if shard is not None:
        count_shard(request, messages)
    elif dry_run:
        run_plan(request, messages)
    else:
        run_extension(request, messages)


def main(argv: list[str]) -> int:
    return run_app(app, "vocab-extend", argv)
