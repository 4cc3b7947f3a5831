"""`sea mix`: flags in, a weighted stream of documents (or packed rows) out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
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


class BalanceChoice(StrEnum):
    """By what a source is split into parts of equal weight."""

    lang = "lang"


class ShuffleChoice(StrEnum):
    """The order inside a source."""

    none = "none"
    all = "global"


app = new_app()


@app.command()
def mix(
    context: typer.Context,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME=GLOB[:WEIGHT[@MAX_EPOCHS]]...",
            help="a name, a file, glob, folder, @list.txt or - (stdin), its weight [default: 1], its epochs at most",
            show_default=False,
        ),
    ] = None,
    plan: Annotated[
        str | None,
        typer.Option("--plan", metavar="FILE.toml", help="sources, weights and phases; what is typed wins over it"),
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option("--tokenizer", metavar="TOK", help="folder or file; counts tokens and packs")
    ] = None,
    unit: Annotated[UnitChoice, typer.Option("--unit", help="what the weights and the budget count")] = (
        UnitChoice.tokens
    ),
    temperature: Annotated[
        float | None,
        typer.Option("--temperature", metavar="T", help="weights n^(1/T) from the sizes; 1: as they are, 5: flatter"),
    ] = None,
    unimax: Annotated[
        bool, typer.Option("--unimax", help="equal shares of the budget, as far as the epochs reach")
    ] = False,
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
    normalize: Normalize = NormalizeChoice.none,
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
    join_turns: Annotated[
        int | None,
        typer.Option("--join-turns", min=2, metavar="N", help="join single-turn chats into up to N exchanges"),
    ] = None,
    balance: Annotated[
        BalanceChoice | None, typer.Option("--balance", help="split sources by language, each the same weight")
    ] = None,
    per_group_cap: Annotated[
        int | None, typer.Option("--per-group-cap", min=1, metavar="N", help="documents of such a part at most")
    ] = None,
    allow_unk: Annotated[
        bool, typer.Option("--allow-unk", help="mix also where over 20 % of the tokens of a source are <unk>")
    ] = False,
    pack: Annotated[
        int | None, typer.Option("--pack", min=2, metavar="N", help="write packed rows of N tokens (safetensors)")
    ] = None,
    pack_window: Annotated[
        int, typer.Option("--pack-window", min=1, metavar="N", help="documents packed together, at most")
    ] = 10_000,
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", help="write stretch I (from 0) of N only; rejects go with shard 0"),
    ] = None,
    shard_size: Annotated[
        str | None,
        typer.Option("--shard-size", metavar="256MB", help="write a folder of files of at most this size"),
    ] = None,
    index_dir: Annotated[
        str | None,
        typer.Option("--index-dir", metavar="DIR", help="keep the indexes of the data files here, not beside them"),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="picture of the plan (.png, .svg, .pdf)")
    ] = None,
    no_index: Annotated[bool, typer.Option("--no-index", help="count every file again, and keep no index")] = False,
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
      sea mix 'web=th/*.jsonl.zst:3' chat=sft.jsonl:1@2 --tokenizer TOK --pack 4096 -o packed.safetensors
      sea mix --plan mix.toml --tokenizer TOK --dry-run --plot plan.png

    Text and chat records may be mixed; documents leave byte for byte as they came (a line of a .txt as {"text": ...}).
    At every point the source with the fewest emitted units for its weight gives the next document, so the ratio holds
    all along. Without --budget the mix ends where the first source is used up. Weights are typed, or made by
    --temperature or --unimax; a plan file may change them from phase to phase. The cleaning options are those of `sea
    clean`: what they take out is not counted, duplicates are found across all sources. The plan goes to stderr before
    anything is written; --dry-run ends there and gives it as JSONL on stdout, unless that is a terminal.
    """
    from seatools.mix.requests import MixRequest, mix_options
    from seatools.mix.run import run_mix
    from seatools.streams.messages import Messages
    from seatools.streams.shards import parse_shard
    from seatools.streams.sizes import parse_bytes
    from seatools.text.cleaning.options import cleaning_options

    typed = {name for name in context.params if str(context.get_parameter_source(name)).endswith("COMMANDLINE")}
    cleaning = cleaning_options(
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
    options = mix_options(
        sources or [],
        plan,
        {
            "unit": unit.value,
            "temperature": temperature,
            "unimax": unimax,
            "budget": budget,
            "max_epochs": max_epochs,
            "on_exhaust": on_exhaust.value,
            "shuffle": shuffle.value,
            "seed": seed,
            "limit": limit,
            "cleaning": None if cleaning.is_off else cleaning,
            "join_turns": join_turns,
            "balance": None if balance is None else balance.value,
            "per_group_cap": per_group_cap,
            "allow_unk": allow_unk,
            "pack": pack,
            "pack_window": pack_window,
        },
        typed,
    )
    request = MixRequest(
        options=options,
        tokenizer=tokenizer,
        chat_template=chat_template,
        pattern=pattern,
        plan=plan,
        output=output,
        force=force,
        workers=workers,
        dry_run=dry_run,
        json=json,
        on_error=on_error.value,
        quarantine=quarantine,
        rejects=rejects,
        shard=None if shard is None else parse_shard(shard),
        shard_bytes=None if shard_size is None else parse_bytes(shard_size),
        index_dir=index_dir,
        no_index=no_index,
        plot=plot,
    )
    run_mix(request, Messages(quiet, verbose), json=dry_run and prints_jsonl(json))


def main(argv: list[str]) -> int:
    """Run `sea mix`."""
    return run_app(app, "mix", argv)
