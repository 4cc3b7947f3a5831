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
    DType,
    ErrorPolicy,
    Force,
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
    from seatools.sample.answers import answer, tokenize_prompts
    from seatools.sample.prompts import prompt_of, read_prompts, stop_ids
    from seatools.streams.digests import folder_digest
    from seatools.streams.inputs import expand, shown
    from seatools.streams.manifest import Manifest
    from seatools.streams.outputs import check_output, open_output
    from seatools.streams.progress import Progress
    from seatools.streams.quarantine import rejects_policy
    from seatools.streams.records import with_keys
    from seatools.streams.spool import spooled
    from seatools.text.chat import load_chat_template
    from seatools.text.documents import Documents
    from seatools.text.tokenizer import load_tokenizer

    messages = Messages(quiet, verbose)
    paths = expand(prompts or ["-"])
    check_output(output, force=force, inputs=paths)
    tokenizer = load_tokenizer(model, pattern=pattern)
    for note in tokenizer.notes:
        messages.debug(note)
    documents = Documents(tokenizer, load_chat_template(chat_template or model, tokenizer_path=model))
    options = SamplingOptions(
        max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, top_k=top_k, min_p=min_p,
        stop_ids=stop_ids(tokenizer, model), stop_strings=tuple(stop or ()),
    )  # fmt: skip
    if system is not None and documents.template is None:
        raise UsageError("--system needs a chat template", fix="--chat-template FILE")
    chosen = {"num": num, "sampling": options, "system": system, "chat_template": chat_template, "pattern": pattern}
    manifest = Manifest(command="sample", options=chosen, seed=seed)
    with rejects_policy(on_error.value, quarantine, output, messages, force=force) as rejects, spooled(paths) as spool:
        records = read_prompts(spool[0], rejects=rejects, limit=limit)
        if not records:
            raise SeaError("no prompt to answer", where=", ".join(map(shown, paths[:3])))

        from seatools.engine.device import pick_device, pick_dtype
        from seatools.engine.load import check_vocabulary, load_model

        where = pick_device(device)
        loaded = load_model(model, device=where, dtype=pick_dtype(dtype, where), packing=False)
        check_vocabulary(loaded, tokenizer.vocab_size, str(model))
        positions = getattr(loaded.config.get_text_config(), "max_position_embeddings", None) or 1 << 30
        if positions <= max_new_tokens:
            raise UsageError(
                f"--max-new-tokens {max_new_tokens} leaves no room in the model's {positions} positions",
                fix="a lower --max-new-tokens",
            )
        asked = tokenize_prompts(records, documents, room=positions - max_new_tokens, system=system, rejects=rejects)
        if not asked:
            raise SeaError("no prompt to answer", where=", ".join(map(shown, paths[:3])))
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
            for path in paths:
                manifest.add_input(path, spool[1] if path == "-" else None)
            manifest.write(output)


def main(argv: list[str]) -> int:
    """`sea sample ARGV`."""
    return run_app(app, "sample", argv)
