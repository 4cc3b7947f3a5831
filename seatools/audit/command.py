"""`sea audit`: flags in, one run, one report out."""

from __future__ import annotations

from typing import Annotated

import typer

from seatools.streams.flags import (
    Config,
    Debug,
    ErrorPolicy,
    Force,
    Json,
    Limit,
    OnError,
    Output,
    Pattern,
    Quarantine,
    Quiet,
    Verbose,
    Workers,
    new_app,
    prints_jsonl,
    run_app,
)
from seatools.streams.messages import Messages

app = new_app()


@app.command()
def audit(
    sources: Annotated[
        list[str], typer.Argument(metavar="TOKENIZER... [[LANG=]TEXT...]", help="tokenizers, then text; - is stdin")
    ],
    reference: Annotated[
        str | None, typer.Option("--reference", metavar="LANG", help="parity with this language; line-parallel text")
    ] = None,
    reference_tokenizer: Annotated[
        str | None,
        typer.Option("--reference-tokenizer", metavar="TOKENIZER", help="of the reference [default: each its own]"),
    ] = None,
    fail_under: Annotated[
        list[str] | None, typer.Option("--fail-under", metavar="METRIC=X", help="exit 3 if a value is smaller")
    ] = None,
    fail_over: Annotated[
        list[str] | None, typer.Option("--fail-over", metavar="METRIC=X", help="exit 3 if a value is larger")
    ] = None,
    context: Annotated[
        int | None, typer.Option("--context", min=1, metavar="TOKENS", help="also what fits into so many tokens")
    ] = None,
    price: Annotated[
        float | None, typer.Option("--price", min=0, metavar="USD", help="also the cost, at USD for a million tokens")
    ] = None,
    segment: Annotated[
        bool, typer.Option("--segment", help="also words of th, km, lo by a segmenter (segment), syllables of my")
    ] = False,
    identify: Annotated[
        bool, typer.Option("--identify", help="also check that the text is in the language it is labelled with (lid)")
    ] = False,
    list_kind: Annotated[
        str | None,
        typer.Option(
            "--list",
            metavar="special|added|byte|incomplete|duplicate|dormant|unreachable|unmerged|remade|disordered",
            help="print these tokens",
        ),
    ] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="encode with gigatoken (fast), checked against the library's ids")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV instead of JSONL; also by the output's name")] = False,
    html: Annotated[
        str | None, typer.Option("--html", metavar="FILE", help="also a page: charts, text cut into coloured tokens")
    ] = None,
    pattern: Pattern = None,
    output: Output = None,
    force: Force = False,
    json: Json = False,
    limit: Limit = None,
    workers: Workers = 0,
    on_error: OnError = ErrorPolicy.fail,
    quarantine: Quarantine = None,
    config: Config = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> None:
    """How well tokenizers serve languages: bytes per token, fertility, parity, what they cannot spell.

    \b
    examples:
      sea audit MODEL th=thai.txt en=english.txt --reference en
      sea audit OLD NEW 'th=th/*.jsonl.zst' en=english.txt --fail-over drift=0.5 --json
      sea audit MODEL th=thai.txt en=english.txt --reference en --reference-tokenizer OLD
      sea audit MODEL th=thai.txt --context 4096 --price 2.5 --segment -o report.csv
      sea audit OLD NEW th=thai.txt lo=lao.txt en=english.txt --reference en --html report.html
      sea audit MODEL                                # the vocabulary: scripts, tokens that no text gives
      sea audit MODEL --list dormant > dormant.jsonl # which ones

    A path is text if it is labelled (th=...) or ends in .txt or .jsonl (.gz, .zst); everything else is a tokenizer.
    Unlabelled records go by their "lang". With two tokenizers or more, drift is measured against the first.
    """
    from seatools.audit.run import AuditOptions, run

    options = AuditOptions(
        sources=tuple(sources),
        reference=reference,
        reference_tokenizer=reference_tokenizer,
        fail_under=tuple(fail_under or ()),
        fail_over=tuple(fail_over or ()),
        context=context,
        price=price,
        segment=segment,
        identify=identify,
        list_kind=list_kind,
        fast=fast,
        pattern=pattern,
        limit=limit,
        workers=workers,
        on_error=on_error,
        quarantine=quarantine,
        output=output,
        html=html,
        force=force,
        form="csv" if as_csv else "jsonl" if output is not None or prints_jsonl(json) else "table",
    )
    run(options, Messages(quiet, verbose))


def main(argv: list[str]) -> int:
    return run_app(app, "audit", argv)
