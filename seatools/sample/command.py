"""`sea sample`: prompt records in, the same records with `responses` out."""

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
    Seed,
    Verbose,
    new_app,
    run_app,
)
from seatools.streams.messages import Messages

if TYPE_CHECKING:
    from seatools.engine.world import World

app = new_app()


@app.command()
def sample(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="a Hugging Face model folder; for a server what it calls the model")
    ],
    prompts: Annotated[
        list[str] | None, typer.Argument(metavar="[PROMPTS...]", help="prompt or chat records, or .txt lines [stdin]")
    ] = None,
    output: Output = None,
    num: Annotated[int, typer.Option("-n", "--num", min=1, metavar="K", help="answers to each prompt")] = 1,
    best_of: Annotated[
        int | None,
        typer.Option("--best-of", min=1, metavar="M", help="make M, keep the K likeliest by mean log-probability"),
    ] = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1, metavar="N", help="longest answer")] = 128,
    temperature: Annotated[
        float, typer.Option("--temperature", metavar="T", help="0: the most likely token always")
    ] = 1.0,
    top_p: Annotated[
        float, typer.Option("--top-p", metavar="P", help="keep the likeliest tokens up to this probability")
    ] = 1.0,
    top_k: Annotated[int, typer.Option("--top-k", metavar="N", help="keep this many likeliest tokens; 0: all")] = 0,
    min_p: Annotated[
        float, typer.Option("--min-p", metavar="P", help="keep tokens this likely beside the likeliest")
    ] = 0.0,
    repetition_penalty: Annotated[
        float, typer.Option("--repetition-penalty", metavar="R", help="above 1: tokens already there become unlikelier")
    ] = 1.0,
    stop: Annotated[
        list[str] | None, typer.Option("--stop", metavar="TEXT", help="end answers here; repeatable")
    ] = None,
    system: Annotated[str | None, typer.Option("--system", metavar="TEXT", help="system turn, where none is")] = None,
    chat: Annotated[
        bool, typer.Option("--chat/--no-chat", help="string prompts are a user's turn, or are continued as they stand")
    ] = False,
    from_prompts_in: Annotated[
        str | None,
        typer.Option("--from-prompts-in", metavar="LANG", help="the model translates the prompts from LANG first"),
    ] = None,
    lang: Annotated[
        str | None, typer.Option("--lang", metavar="LANG", help="... into this language [the record's lang]")
    ] = None,
    translation_prompts: Annotated[
        Path | None, typer.Option("--translation-prompts", metavar="FILE", help="how to ask for it, TOML [ours]")
    ] = None,
    translation_tokens: Annotated[
        int | None, typer.Option("--translation-tokens", min=1, metavar="N", help="longest translation [512]")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on with OUT.partial, what a killed run has left")
    ] = False,
    shard: Annotated[
        str | None, typer.Option("--shard", metavar="I/N", help="every Nth unit of the prompts from I = 0")
    ] = None,
    nproc: Annotated[str | None, typer.Option("--nproc", metavar="N|auto", help="processes, a GPU each")] = None,
    engine: Annotated[
        str, typer.Option("--engine", metavar="auto|own|transformers|vllm|URL", help="what makes the answers")
    ] = "auto",
    batch_tokens: Annotated[
        int | None, typer.Option("--batch-tokens", min=1, metavar="N", help="tokens of the running answers [what fits]")
    ] = None,
    chat_template: Annotated[Path | None, typer.Option("--chat-template", metavar="FILE", help="Jinja file")] = None,
    pattern: Pattern = None,
    seed: Seed = 0,
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
    """Responses from a model.

    \b
    examples:
      sea sample MODEL prompts.jsonl -n 2 --max-new-tokens 64 -o responses.jsonl
      sea sample MODEL prompts.jsonl -n 2 | sea judge MODEL
      sea sample MODEL prompts.jsonl -n 2 --best-of 8 --chat --resume -o responses.jsonl
      sea sample MODEL english.jsonl -n 2 --from-prompts-in en --lang lo --chat -o lao.jsonl

    A string prompt is continued as it stands (--chat: asked as a user); messages go through the model's chat template.
    The same record with the same --seed gets the same answers in any order, and however the work is cut by --shard,
    --nproc or a kill; whatever else is in the input, up to rounding (docs/sample.md).
    """
    import dataclasses

    from seatools.engine.processes import in_processes, is_several
    from seatools.sample.options import SampleOptions
    from seatools.sample.setup import Sampling
    from seatools.streams.inputs import expand
    from seatools.streams.shards import parse_shard

    if resume and force:
        raise UsageError("--resume and --force contradict each other")
    options = SampleOptions(
        num=num, best_of=best_of, max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, top_k=top_k,
        min_p=min_p, repetition_penalty=repetition_penalty, stop=tuple(stop or ()), seed=seed, system=system, chat=chat,
        engine=engine, batch_tokens=batch_tokens, from_lang=from_prompts_in, lang=lang,
        translation_tokens=translation_tokens,
    )  # fmt: skip
    sampling = Sampling(
        model=model, inputs=tuple(expand(prompts or ["-"])), output=output, options=options, resume=resume,
        shard=parse_shard(shard), chat_template=chat_template, pattern=pattern, translation_prompts=translation_prompts,
        device=device, dtype=dtype, limit=limit, force=force, dry_run=dry_run, on_error=on_error.value,
        quarantine=quarantine, messages=Messages(quiet, verbose),
    )  # fmt: skip
    if is_several(nproc) and sampling.output_path is None:
        raise UsageError("several processes need a file for their answers", fix="-o FILE")

    def run(world: World) -> None:
        from seatools.sample.run import sample as sample_all

        silent = dataclasses.replace(sampling.messages, silent=not world.is_main or sampling.messages.silent)
        sample_all(dataclasses.replace(sampling, messages=silent), world)

    return in_processes(nproc, ["sample", *context.obj], run, inputs=sampling.inputs, device=device)


def main(argv: list[str]) -> int:
    """`sea sample ARGV`."""
    return run_app(app, "sample", argv)
