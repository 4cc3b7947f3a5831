"""`sea judge`: responses in, preferences out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from seatools.streams.errors import SeaError
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

app = new_app()
NEAR_CHANCE = 0.6


@app.command()
def judge(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="the judge: a Hugging Face model folder")],
    responses: Annotated[
        list[str] | None, typer.Argument(metavar="[RESPONSES...]", help="records from `sea sample -n 2` [stdin]")
    ] = None,
    output: Output = None,
    criteria: Annotated[
        Path | None, typer.Option("--criteria", metavar="FILE", help="what a better answer is, as text")
    ] = None,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate/--no-calibrate", help="first take out what the judge says of each answer against itself"
        ),
    ] = True,
    batch_tokens: Annotated[int, typer.Option("--batch-tokens", min=1, help="tokens in a batch")] = 8192,
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
) -> None:
    """Preferences from a model, asked in both orders.

    \b
    examples:
      sea judge MODEL responses.jsonl -o preferences.jsonl
      sea sample MODEL prompts.jsonl -n 2 | sea judge MODEL | sea dpo MODEL - -o OUT

    Every pair of a prompt's answers is judged in both orders by the log-probabilities of the labels; a pair is kept
    only if both orders name the same answer. How often they agree is reported per language; 50 % is guessing.
    """
    from seatools.engine.load import model_positions, open_model
    from seatools.judge.both_orders import judge as judge_questions
    from seatools.judge.criteria import read_criteria
    from seatools.judge.pairs import Comparison, comparisons, fitting, preference
    from seatools.judge.report import report
    from seatools.streams.digests import folder_digest
    from seatools.streams.inputs import expand, shown_together
    from seatools.streams.manifest import Manifest
    from seatools.streams.outputs import check_output, open_output
    from seatools.streams.progress import Progress
    from seatools.streams.quarantine import rejects_policy
    from seatools.streams.records import BadRecord, RecordReader, check_responses
    from seatools.streams.spool import spooled
    from seatools.text.documents import load_documents

    messages = Messages(quiet, verbose)
    paths = expand(responses or ["-"])
    check_output(output, force=force, inputs=[model, *paths])
    text = read_criteria(criteria)
    documents = load_documents(model, pattern=pattern, chat_template=chat_template, note=messages.debug)
    chosen = {"criteria": text, "calibrate": calibrate, "chat_template": chat_template, "pattern": pattern}
    manifest = Manifest(command="judge", options=chosen)
    positions = model_positions(model) or 1 << 30
    with (
        rejects_policy(on_error.value, quarantine, output, messages, force=force, dry_run=dry_run) as rejects,
        spooled(paths) as (files, stdin_digest),
    ):
        wanted: list[Comparison] = []
        dropped: dict[str, int] = {}
        for record in RecordReader(files, check=check_responses, rejects=rejects, limit=limit):
            for item in comparisons(record):
                if isinstance(item, BadRecord):
                    dropped[item.reason] = dropped.get(item.reason, 0) + 1
                else:
                    wanted.append(item)
        wanted, too_long = fitting(wanted, documents, text, positions, calibrate=calibrate)
        if too_long:
            dropped[f"longer than the judge's {positions} positions"] = too_long
        manifest.rejects = {**rejects.counts, **dropped}
        if not wanted:
            raise _nothing(shown_together(paths), manifest.rejects)
        num_readings = len(wanted) * (8 if calibrate else 4)
        if dry_run:
            messages.info(f"{len(wanted):,} pairs of answers, {num_readings:,} readings; nothing is written")
            return
        loaded = open_model(model, device=device, dtype=dtype, vocab_size=documents.tokenizer.vocab_size)
        langs = [str(item.record.value.get("lang") or "und") for item in wanted]
        digest = folder_digest(model)
        with Progress("judging", num_readings, "readings", quiet) as progress:
            verdicts = judge_questions(
                loaded, documents, [item.question for item in wanted], [text] * len(wanted), pad_id=0,
                calibrate=calibrate, batch_tokens=batch_tokens, advance=progress.advance,
            )  # fmt: skip
        kept = 0
        with open_output(output, force=force, inputs=paths) as stream:
            for item, verdict in zip(wanted, verdicts, strict=True):
                if verdict.agrees:
                    stream.write(preference(item, verdict, digest) + b"\n")
                    kept += 1
        manifest.counts = report(langs, verdicts, dropped, messages, near_chance=NEAR_CHANCE)
        if not kept:
            messages.warn("no pair is kept: the output is empty")
        if output not in (None, "-"):
            manifest.add_input(model, digest)
            manifest.add_inputs(paths, stdin_digest)
            manifest.write(output)


def _nothing(named: str, reasons: Mapping[str, int]) -> SeaError:
    why = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items())) or "no records"
    return SeaError(f"no pair of answers to judge ({why})", where=named)


def main(argv: list[str]) -> int:
    """`sea judge ARGV`."""
    return run_app(app, "judge", argv)
