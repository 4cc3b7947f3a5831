"""`sea eval`: a model and data in, score records out; and `score`, `compare`, `tasks`, which need no model."""

from __future__ import annotations

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
    Seed,
    Verbose,
    Workers,
    new_app,
    run_app,
)
from seatools.streams.messages import Messages
from seatools.streams.shards import parse_shard
from seatools.streams.subcommands import refuse_misspelt

SUBCOMMANDS = {
    "score": "seatools.eval.score_command",
    "compare": "seatools.eval.compare_command",
    "tasks": "seatools.eval.tasks_command",
}
if TYPE_CHECKING:
    from seatools.engine.world import World

app = new_app()


@app.command(name="eval")
def evaluate(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="a Hugging Face model folder")],
    tasks: Annotated[
        list[str], typer.Argument(metavar="TASK...", help="names (sea eval tasks lists them) or .toml files")
    ],
    data: Annotated[
        list[str] | None, typer.Option("--data", metavar="[LANG=]FILE", help="records or .txt lines; repeatable")
    ] = None,
    hf: Annotated[
        str | None, typer.Option("--hf", metavar="LANG,...", help="the tasks' own data from the Hugging Face hub")
    ] = None,
    output: Output = None,
    samples: Annotated[
        str | None,
        typer.Option("--samples", metavar="FILE", help="every answer, appended; resumes [default: OUT.samples.jsonl]"),
    ] = None,
    harness: Annotated[
        str | None,
        typer.Option("--harness", metavar="DIR", help="also as lm-evaluation-harness' results files, in a new folder"),
    ] = None,
    json: Json = False,
    row_format: Annotated[
        str,
        typer.Option(
            "--format", metavar="auto|xcopa|belebele|mmlu|sib200|nusax|m3exam|choice", help="rows of the task choice"
        ),
    ] = "auto",
    shots: Annotated[
        int | None, typer.Option("--shots", metavar="K", help="solved examples before each question [the task's own]")
    ] = None,
    shots_data: Annotated[
        list[str] | None, typer.Option("--shots-data", metavar="LANG=FILE", help="where the solved examples are")
    ] = None,
    pair: Annotated[
        list[str] | None, typer.Option("--pair", metavar="SRC-TGT", help="one translation of aligned lines [all]")
    ] = None,
    chat: Annotated[
        bool | None, typer.Option("--chat/--no-chat", help="through the model's chat template [the task's own]")
    ] = None,
    system: Annotated[str | None, typer.Option("--system", metavar="TEXT", help="system turn of chats")] = None,
    judge: Annotated[
        str | None,
        typer.Option("--judge", metavar="MODEL|URL|FILE", help="who marks answers: a model, or recorded judgements"),
    ] = None,
    deactivate: Annotated[
        list[str] | None,
        typer.Option("--deactivate", metavar="NEURONS:LANG", help="score again without these neurons; repeatable"),
    ] = None,
    apply_patch: Annotated[
        list[str] | None,
        typer.Option("--apply-patch", metavar="PATCH", help="score again with this patch in the model; repeatable"),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option("--reference", metavar="LANG", help="perplexity, tokenizer: parity of parallel texts with it"),
    ] = None,
    seq_len: Annotated[
        int | None, typer.Option("--seq-len", metavar="N", help="perplexity window [default: the model's, <= 2048]")
    ] = None,
    stride: Annotated[
        int | None, typer.Option("--stride", metavar="N", help="new tokens in each further window [default: half]")
    ] = None,
    context_bytes: Annotated[
        int | None,
        typer.Option("--context-bytes", metavar="N", help="perplexity windows of N bytes"),
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option("--max-new-tokens", help="longest answer [the task's own]")
    ] = None,
    batch_tokens: Annotated[int | None, typer.Option("--batch-tokens", help="most tokens in a batch [found]")] = None,
    engine: Annotated[
        str, typer.Option("--engine", metavar="auto|own|transformers|vllm|URL", help="what generates answers")
    ] = "auto",
    shard: Annotated[
        str | None, typer.Option("--shard", metavar="I/N", help="every Nth unit of the work from I = 0, into --samples")
    ] = None,
    nproc: Annotated[str | None, typer.Option("--nproc", metavar="N|auto", help="processes, a GPU each")] = None,
    chat_template: Annotated[str | None, typer.Option("--chat-template", metavar="FILE", help="Jinja file")] = None,
    pattern: Pattern = None,
    seed: Seed = 0,
    device: Device = "auto",
    dtype: DType = "auto",
    workers: Workers = 0,
    limit: Limit = None,
    force: Force = False,
    dry_run: DryRun = False,
    on_error: OnError = ErrorPolicy.fail,
    quarantine: Quarantine = None,
    config: Config = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> int:
    """How good the adapted model is, on the benchmarks of South-East Asia and on tasks of one's own.

    \b
    examples:
      sea eval MODEL perplexity --data th=flores_th.txt --data en=flores_en.txt --json | jq .value
      sea eval MODEL xcopa --data th=xcopa_th.jsonl --deactivate neurons.safetensors:th -o scores.jsonl
      sea eval MODEL mgsm --data th=mgsm_th.jsonl --shots-data th=exemplars.jsonl -o scores.jsonl
      sea eval score scores.samples.jsonl           # again, without the model
      sea eval compare base.samples.jsonl mine.samples.jsonl
      sea eval tasks                                # which there are; sea eval tasks NAME shows one

    A record a line ({"task","lang","metric","value","stderr","n","model","config"}) where stdout is no terminal or
    with --json; a table on a terminal. With -o every answer is kept beside it as soon as it is there: the same command
    goes on where one was killed. Bits per byte may be compared across tokenizers, not across languages.
    """
    import dataclasses

    from seatools.engine.processes import in_processes, is_several
    from seatools.eval.evaluation import Evaluation
    from seatools.eval.setup import Options
    from seatools.eval.task_file import AUTO
    from seatools.eval.tasks import pick_tasks

    pick_tasks(tasks)
    if row_format not in ("auto", *AUTO):
        raise UsageError(f'no format "{row_format}"', fix=f"one of auto, {', '.join(AUTO)}")
    options = Options(
        seq_len=seq_len, stride=stride, context_bytes=context_bytes, shots=shots, chat=chat, system=system,
        max_new_tokens=max_new_tokens, batch_tokens=batch_tokens, format=row_format, pairs=tuple(pair or ()),
        reference=reference, seed=seed, limit=limit, engine=engine,
    )  # fmt: skip
    evaluation = Evaluation(
        model=model, tasks=tuple(tasks), data=tuple(data or ()), shots_data=tuple(shots_data or ()),
        hf=tuple(lang.strip() for lang in hf.split(",")) if hf else (), output=output, samples=samples,
        harness=harness, deactivate=tuple(deactivate or ()), patches=tuple(apply_patch or ()), judge=judge,
        shard=parse_shard(shard), options=options, chat_template=chat_template, pattern=pattern, device=device,
        dtype=dtype, workers=workers, on_error=on_error.value, quarantine=quarantine, force=force, dry_run=dry_run,
        json=json, messages=Messages(quiet, verbose),
    )  # fmt: skip
    if is_several(nproc) and evaluation.samples_path is None:
        raise UsageError("several processes need a file for their samples", fix="--samples FILE or -o FILE")

    def run(world: World) -> None:
        from seatools.eval.run import evaluate as evaluate_all

        silent = dataclasses.replace(evaluation.messages, silent=not world.is_main or evaluation.messages.silent)
        evaluate_all(dataclasses.replace(evaluation, messages=silent), world)

    return in_processes(nproc, ["eval", *context.obj], run, inputs=evaluation.inputs, device=evaluation.device)


def main(argv: list[str]) -> int:
    """`sea eval ARGV`, or one of its parts."""
    if argv and argv[0] in SUBCOMMANDS:
        import importlib

        return int(importlib.import_module(SUBCOMMANDS[argv[0]]).main(argv))
    refuse_misspelt("eval", argv, SUBCOMMANDS)
    return run_app(app, "eval", argv)
