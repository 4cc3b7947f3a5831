"""`sea judge`: responses in, preferences out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seatools.streams.errors import UsageError
from seatools.streams.flags import (
    Config,
    Debug,
    Device,
    DryRun,
    DType,
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
    new_app,
    run_app,
)
from seatools.streams.messages import Messages
from seatools.streams.shards import parse_shard

if TYPE_CHECKING:
    from seatools.engine.world import World

app = new_app()


@app.command()
def judge(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="the judge, a Hugging Face model folder; not with a server or spin"),
    ] = None,
    responses: Annotated[
        list[str] | None, typer.Argument(metavar="[RESPONSES...]", help="records from `sea sample -n 2` [stdin]")
    ] = None,
    output: Output = None,
    mode: Annotated[
        str,
        typer.Option("--mode", metavar="pairwise|pointwise|spin", help="compare; give points; gold over own answers"),
    ] = "pairwise",
    pairs: Annotated[
        str | None,
        typer.Option("--pairs", metavar="all|best-worst|first-two", help="of more than two answers [all; best-worst]"),
    ] = None,
    criteria: Annotated[
        list[str] | None,
        typer.Option("--criteria", metavar="[LANG=]FILE", help="what a better answer is, text or TOML; repeatable"),
    ] = None,
    criteria_lang: Annotated[
        str | None, typer.Option("--criteria-lang", metavar="LANG", help="judge in this language [the record's own]")
    ] = None,
    calibrate: Annotated[
        bool | None,
        typer.Option(
            "--calibrate/--no-calibrate", help="first take out what the judge says of each answer against itself [yes]"
        ),
    ] = None,
    chat: Annotated[
        bool | None, typer.Option("--chat/--no-chat", help="through the model's chat template [if it has one]")
    ] = None,
    min_margin: Annotated[
        float, typer.Option("--min-margin", metavar="X", help="drop closer pairs: log-odds, or points")
    ] = 0.0,
    min_consistency: Annotated[
        float | None,
        typer.Option(
            "--min-consistency", metavar="X", help="exit 3 and write nothing if the orders agree less in any language"
        ),
    ] = None,
    lang_check: Annotated[
        str | None,
        typer.Option(
            "--lang-check",
            metavar="script|cld2|fasttext:FILE|PLUGIN",
            help="drop answers in another language than `lang`",
        ),
    ] = None,
    max_length_ratio: Annotated[
        float | None,
        typer.Option("--max-length-ratio", metavar="X", help="drop pairs of which one is X times longer"),
    ] = None,
    max_repetition: Annotated[
        float | None,
        typer.Option("--max-repetition", metavar="X", help="drop answers of which a larger share repeats"),
    ] = None,
    drop_duplicates: Annotated[
        bool, typer.Option("--drop-duplicates", help="drop answers that an earlier record has had")
    ] = False,
    drop_refusals: Annotated[
        bool, typer.Option("--drop-refusals", help='drop answers that refuse, but for records with "refuse": true')
    ] = False,
    judge_url: Annotated[
        str | None, typer.Option("--judge-url", metavar="URL", help="ask a server (OpenAI's protocol) instead of MODEL")
    ] = None,
    judge_model: Annotated[
        str | None, typer.Option("--judge-model", metavar="NAME", help="its model; the key is in OPENAI_API_KEY")
    ] = None,
    judge_tokens: Annotated[
        int, typer.Option("--judge-tokens", min=1, metavar="N", help="longest answer of the server")
    ] = 16,
    judgements: Annotated[
        str | None,
        typer.Option("--judgements", metavar="FILE", help="keep every judgement here; a run begun again goes on"),
    ] = None,
    recorded: Annotated[
        str | None, typer.Option("--recorded", metavar="FILE", help="replay judgements instead of asking MODEL")
    ] = None,
    shard: Annotated[
        str | None, typer.Option("--shard", metavar="I/N", help="every Nth unit of the records from I = 0")
    ] = None,
    nproc: Annotated[str | None, typer.Option("--nproc", metavar="N|auto", help="processes, a GPU each")] = None,
    batch_tokens: Annotated[
        int | None, typer.Option("--batch-tokens", min=1, help="most tokens in a batch [found]")
    ] = None,
    chat_template: Annotated[Path | None, typer.Option("--chat-template", metavar="FILE", help="Jinja file")] = None,
    pattern: Pattern = None,
    device: Device = "auto",
    dtype: DType = "auto",
    limit: Limit = None,
    force: Force = False,
    dry_run: DryRun = False,
    json: Json = False,
    on_error: OnError = ErrorPolicy.fail,
    quarantine: Quarantine = None,
    config: Config = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> int:
    """Preferences from a model, asked in both orders.

    \b
    examples:
      sea judge MODEL responses.jsonl -o preferences.jsonl
      sea sample MODEL prompts.jsonl -n 2 | sea judge MODEL | sea dpo MODEL - -o OUT
      sea judge MODEL responses.jsonl --lang-check script --drop-refusals --min-consistency 0.6 -o preferences.jsonl
      sea judge responses.jsonl --judge-url http://HOST:8000/v1 --judge-model NAME -o preferences.jsonl
      sea sample MODEL gold.jsonl | sea judge --mode spin

    A prompt's answers are compared in both orders by the log-probabilities of the labels; a pair is kept only if both
    orders name the same answer. How often they agree is reported per language; 50 % is guessing. Pointwise, each
    answer gets points from 0 to 5. With spin the gold answer (`reference`, `completion`, ...) is chosen.
    """
    import dataclasses

    from seatools.engine.processes import in_processes
    from seatools.judge.filters import FilterOptions
    from seatools.judge.options import Judging
    from seatools.streams.inputs import expand

    needs_model = mode != "spin" and judge_url is None and recorded is None
    given = list(responses or [])
    if not needs_model and model is not None:
        if (Path(model) / "config.json").is_file():
            named = "--mode spin" if mode == "spin" else "--judge-url" if judge_url else "--recorded"
            raise UsageError(f"{model} is a model, and {named} needs none", fix="name the responses only")
        given, model = [model, *given], None
    if needs_model and model is not None and Path(model).is_file():
        raise UsageError(f"{model} is a file, and MODEL is a folder", fix="sea judge MODEL RESPONSES")
    judging = Judging(
        model=model, paths=tuple(expand(given or ["-"])), output=output, mode=mode, pairs=pairs, calibrate=calibrate,
        criteria=tuple(criteria or ()), criteria_lang=criteria_lang, chat=chat,
        chat_template=None if chat_template is None else str(chat_template), pattern=pattern,
        filters=FilterOptions(
            lang_check=lang_check, max_length_ratio=max_length_ratio, max_repetition=max_repetition,
            drop_duplicates=drop_duplicates, drop_refusals=drop_refusals,
        ),
        min_margin=min_margin, min_consistency=min_consistency, judge_url=judge_url, judge_model=judge_model,
        judge_tokens=judge_tokens, judgements=judgements, recorded=recorded, shard=parse_shard(shard),
        batch_tokens=batch_tokens, device=device, dtype=dtype, limit=limit, force=force, dry_run=dry_run, json=json,
        on_error=on_error.value, quarantine=quarantine, messages=Messages(quiet, verbose),
    )  # fmt: skip

    def run(world: World) -> None:
        from seatools.judge.run import run_judge

        silent = dataclasses.replace(judging.messages, silent=not world.is_main or judging.messages.silent)
        run_judge(dataclasses.replace(judging, messages=silent), world)

    return in_processes(nproc, ["judge", *context.obj], run, inputs=judging.paths, device=device)


def main(argv: list[str]) -> int:
    """`sea judge ARGV`."""
    return run_app(app, "judge", argv)
