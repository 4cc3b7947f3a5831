"""`sea sample`: prompt records in, the same records with `responses` out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from seatools.streams.errors import SeaError, UsageError
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

app = new_app()
_CHUNK = 256  # records answered before any is written: bounds memory, keeps batches full


@app.command()
def sample(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="a Hugging Face model folder")],
    prompts: Annotated[
        list[str] | None, typer.Argument(metavar="[PROMPTS...]", help="prompt or chat records, or .txt lines [stdin]")
    ] = None,
    output: Output = None,
    num: Annotated[int, typer.Option("-n", "--num", min=1, metavar="K", help="answers to each prompt")] = 1,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1, help="longest answer")] = 128,
    temperature: Annotated[float, typer.Option("--temperature", help="0: the most likely token always")] = 1.0,
    top_p: Annotated[float, typer.Option("--top-p", help="keep the likeliest tokens up to this probability")] = 1.0,
    top_k: Annotated[int, typer.Option("--top-k", help="keep this many likeliest tokens; 0: all")] = 0,
    min_p: Annotated[float, typer.Option("--min-p", help="keep tokens this likely beside the likeliest")] = 0.0,
    stop: Annotated[
        list[str] | None, typer.Option("--stop", metavar="TEXT", help="end answers here; repeatable")
    ] = None,
    system: Annotated[str | None, typer.Option("--system", metavar="TEXT", help="system turn, where none is")] = None,
    batch_tokens: Annotated[
        int, typer.Option("--batch-tokens", min=1, help="prompt + answer tokens in a batch")
    ] = 16384,
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
) -> None:
    """Responses from a model.

    \b
    examples:
      sea sample MODEL prompts.jsonl -n 2 --max-new-tokens 64 -o responses.jsonl
      sea sample MODEL prompts.jsonl -n 2 | sea judge MODEL

    A string prompt is continued as it stands; messages go through the model's chat template. The same record with
    the same --seed gets the same answers, whatever else is in the input.
    """
    from seatools.engine.generate import SamplingOptions
    from seatools.engine.load import model_positions, open_model
    from seatools.sample.answers import answer, tokenize_prompts
    from seatools.sample.prompts import prompt_of, read_prompts
    from seatools.streams.digests import folder_digest
    from seatools.streams.inputs import expand, shown_together
    from seatools.streams.manifest import Manifest
    from seatools.streams.outputs import check_output, open_output
    from seatools.streams.progress import Progress
    from seatools.streams.quarantine import rejects_policy
    from seatools.streams.records import with_keys
    from seatools.streams.spool import spooled
    from seatools.text.documents import load_documents
    from seatools.text.stop_tokens import stop_ids

    messages = Messages(quiet, verbose)
    paths = expand(prompts or ["-"])
    check_output(output, force=force, inputs=[model, *paths])
    documents = load_documents(model, pattern=pattern, chat_template=chat_template, note=messages.debug)
    options = SamplingOptions(
        max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, top_k=top_k, min_p=min_p,
        stop_ids=stop_ids(documents.tokenizer, model), stop_strings=tuple(stop or ()),
    )  # fmt: skip
    if system is not None and documents.template is None:
        raise UsageError("--system needs a chat template", fix="--chat-template FILE")
    chosen = {"num": num, "sampling": options, "system": system, "chat_template": chat_template, "pattern": pattern}
    manifest = Manifest(command="sample", options=chosen, seed=seed)
    positions = model_positions(model) or 1 << 30
    if positions <= max_new_tokens:
        raise UsageError(
            f"--max-new-tokens {max_new_tokens} leaves no room in the model's {positions} positions",
            fix="a lower --max-new-tokens",
        )
    with (
        rejects_policy(on_error.value, quarantine, output, messages, force=force, dry_run=dry_run) as rejects,
        spooled(paths) as (files, stdin_digest),
    ):
        records = read_prompts(files, rejects=rejects, limit=limit)
        asked = tokenize_prompts(records, documents, room=positions - max_new_tokens, system=system, rejects=rejects)
        if not asked:
            raise SeaError("no prompt to answer", where=shown_together(paths))
        if dry_run:
            longest = max(len(ids) for _, ids in asked)
            messages.info(
                f"{len(asked):,} prompts, the longest of {longest:,} tokens: would write {len(asked) * num:,} answers "
                f"of at most {max_new_tokens:,} tokens to {output or 'stdout'}; nothing is written"
            )
            return
        loaded = open_model(model, device=device, dtype=dtype, vocab_size=documents.tokenizer.vocab_size, packing=False)
        digest = folder_digest(model)
        settings: dict[str, Any] = {
            "model": digest[:16], "temperature": temperature, "top_p": top_p, "top_k": top_k, "min_p": min_p,
            "max_new_tokens": max_new_tokens, "seed": seed,
        }  # fmt: skip
        settings |= ({"stop": stop} if stop else {}) | ({"system": system} if system is not None else {})
        with (
            open_output(output, force=force, inputs=paths) as stream,
            Progress("sampling", len(asked) * num, "answers", quiet) as progress,
        ):
            for first in range(0, len(asked), _CHUNK):
                part = asked[first : first + _CHUNK]
                for item in answer(
                    loaded, part, documents, options, num=num, seed=seed, batch_tokens=batch_tokens,
                    continues=system is None, advance=progress.advance,
                ):  # fmt: skip
                    value = item.record.value  # of a chat record without `prompt`, which `judge` and `dpo` read
                    new: dict[str, Any] = {} if "prompt" in value else {"prompt": prompt_of(value)}
                    new |= {"responses": item.responses, "sampling": settings | {"finish": item.finish}}
                    stream.write(with_keys(item.record.raw, new) + b"\n")
        manifest.rejects = rejects.counts
        manifest.counts = {"prompts": len(asked), "responses": len(asked) * num}
        if output not in (None, "-"):
            manifest.add_input(model, digest)
            manifest.add_inputs(paths, stdin_digest)
            manifest.write(output)


def main(argv: list[str]) -> int:
    """`sea sample ARGV`."""
    return run_app(app, "sample", argv)
