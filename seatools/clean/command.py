"""`sea clean`: records in, the good ones out, repaired."""

from __future__ import annotations

from typing import Annotated

import typer

from seatools.streams.cleaning_flags import (
    Decontaminate,
    Dedup,
    KeepLang,
    LangCheck,
    LangId,
    Normalize,
    NormalizeChoice,
    Quality,
    QualityRules,
    RejectsFile,
    ScoreQuantile,
    ScoreWith,
    WriteLang,
    ZeroWidth,
    ZeroWidthChoice,
)
from seatools.streams.flags import (
    Config,
    Debug,
    Device,
    DryRun,
    ErrorPolicy,
    Force,
    Limit,
    OnError,
    Output,
    Quarantine,
    Quiet,
    Verbose,
    Workers,
    new_app,
    run_app,
)
from seatools.streams.messages import Messages

app = new_app()


@app.command()
def clean(
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="[[LANG=]TEXT...]", help="text or chat records, .txt lines [stdin]")
    ] = None,
    output: Output = None,
    normalize: Normalize = NormalizeChoice.nfc,
    zero_width: ZeroWidth = ZeroWidthChoice.none,
    lang: KeepLang = None,
    lang_id: LangId = "script",
    lang_check: LangCheck = False,
    write_lang: WriteLang = False,
    dedup: Dedup = None,
    quality: Quality = False,
    quality_rules: QualityRules = None,
    decontaminate: Decontaminate = None,
    score_with: ScoreWith = None,
    score_quantile: ScoreQuantile = None,
    device: Device = "auto",
    rejects: RejectsFile = None,
    force: Force = False,
    dry_run: DryRun = False,
    limit: Limit = None,
    workers: Workers = 0,
    on_error: OnError = ErrorPolicy.fail,
    quarantine: Quarantine = None,
    config: Config = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> None:
    """Repair and filter documents: Unicode, language, duplicates, quality, benchmarks, a model's score.

    \b
    examples:
      sea clean < raw.jsonl > nfc.jsonl
      sea clean my=voa.jsonl --normalize zawgyi --zero-width repair -o my.jsonl
      sea clean th=th.jsonl lo=lo.jsonl --lang-check --quality --dedup near --rejects bad.jsonl -o good.jsonl
      sea clean web.jsonl --lang th,lo --lang-id cld2 --write-lang | sea train MODEL - -o OUT
      sea clean th.jsonl --decontaminate xquad_th.jsonl --score-with MODEL --score-quantile 0.3 -o good.jsonl

    Records that need no repair leave byte for byte as they came, others with only their texts replaced. Nothing but
    NFC is done that is not asked for. Near duplicates and scores wait for the end of the input; all else streams.
    """
    from seatools.clean.run import CleanRun, run
    from seatools.text.cleaning.options import cleaning_options

    options = cleaning_options(
        normalize=normalize.value,
        zero_width=zero_width.value,
        lang=lang,
        lang_id=lang_id,
        lang_check=lang_check,
        write_lang=write_lang,
        dedup=dedup,
        quality=quality,
        quality_rules=quality_rules,
        decontaminate=decontaminate,
        score_with=score_with,
        score_quantile=score_quantile,
        device=device,
    )
    run(
        CleanRun(
            cleaning=options,
            texts=tuple(texts or ["-"]),
            output=output,
            rejects=rejects,
            limit=limit,
            workers=workers,
            on_error=on_error.value,
            quarantine=quarantine,
            force=force,
            dry_run=dry_run,
        ),
        Messages(quiet, verbose),
    )


def main(argv: list[str]) -> int:
    """`sea clean ARGV`."""
    return run_app(app, "clean", argv)
