"""`sea dpo`: flags in, reference and one run, the aligned model folder out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seatools.dpo.options import DPOOptions
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.flags import (
    Config,
    Debug,
    Device,
    DryRun,
    DType,
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
_D = DPOOptions()


@app.command()
def dpo(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="a Hugging Face model folder")],
    preferences: Annotated[
        list[str] | None, typer.Argument(metavar="PREFS...", help="preference records; - is stdin")
    ] = None,
    output: OutputPath = ...,  # type: ignore[assignment]
    beta: Annotated[float, typer.Option("--beta", help="strength of the tie to the reference")] = _D.beta,
    max_length: Annotated[int, typer.Option("--max-length", help="tokens of prompt and answer")] = _D.max_length,
    batch_size: Annotated[int, typer.Option("--batch-size", help="pairs in a step")] = _D.batch_size,
    micro_batch: Annotated[int, typer.Option("--micro-batch", help="pairs in a forward pass; 0: all")] = 0,
    epochs: Annotated[float, typer.Option("--epochs", help="passes over the pairs")] = _D.epochs,
    max_steps: Annotated[int | None, typer.Option("--max-steps", help="steps, instead of --epochs")] = None,
    lr: Annotated[float, typer.Option("--lr", help="peak learning rate")] = _D.lr,
    schedule: Annotated[str, typer.Option("--schedule", help="cosine, linear, wsd or constant")] = _D.schedule,
    warmup: Annotated[float, typer.Option("--warmup", help="share of the steps if below 1, else steps")] = _D.warmup,
    weight_decay: Annotated[float, typer.Option("--weight-decay", help="of AdamW")] = _D.weight_decay,
    clip: Annotated[float, typer.Option("--clip", help="largest gradient norm")] = _D.clip,
    save_every: Annotated[int, typer.Option("--save-every", metavar="N", help="checkpoint every N steps")] = 0,
    keep: Annotated[int, typer.Option("--keep", metavar="N", help="newest checkpoints kept")] = _D.keep,
    resume: Annotated[bool, typer.Option("--resume", help="continue the run in OUT")] = False,
    reference: Annotated[
        Path | None, typer.Option("--reference", metavar="FILE", help="reference log-probabilities made before")
    ] = None,
    reference_only: Annotated[
        bool, typer.Option("--reference-only", help="compute the reference into OUT (a file) and stop")
    ] = False,
    pattern: Pattern = None,
    chat_template: Annotated[
        Path | None, typer.Option("--chat-template", metavar="FILE", help="Jinja file; kept in OUT")
    ] = None,
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
) -> None:
    """Direct preference optimisation.

    \b
    examples:
      sea dpo MODEL prefs.jsonl -o OUT --lr 1e-6 --epochs 1
      sea sample MODEL prompts.jsonl -n 2 | sea judge MODEL | sea dpo MODEL - -o OUT

    Preference records have prompt, chosen and rejected (strings or messages). The log-probabilities of the
    reference, which is MODEL itself, are computed once, before training.
    """
    messages = Messages(quiet, verbose)
    options = DPOOptions(
        beta=beta, max_length=max_length, batch_size=batch_size, micro_batch=micro_batch, epochs=epochs,
        max_steps=max_steps, lr=lr, schedule=schedule, warmup=warmup, weight_decay=weight_decay, clip=clip,
        save_every=save_every, keep=keep, seed=seed, device=device, dtype=dtype,
    )  # fmt: skip
    if resume and (force or reference_only):
        raise UsageError("--resume contradicts --force and --reference-only")
    if reference and reference_only:
        raise UsageError("--reference contradicts --reference-only")
    if not preferences and not resume:
        raise UsageError("no PREFS", fix="name files, or - for stdin")
    _run(
        model, preferences or [], output, options, resume=resume, force=force, dry_run=dry_run, limit=limit,
        workers=workers, on_error=on_error.value, quarantine=quarantine, pattern=pattern, chat_template=chat_template,
        reference_path=reference, reference_only=reference_only, messages=messages,
    )  # fmt: skip


SPOOL = "preferences.jsonl"
REFERENCE = "reference.safetensors"


def _run(
    model_path: Path, specs: list[str], out: Path, options: DPOOptions, *, resume: bool, force: bool, dry_run: bool,
    limit: int | None, workers: int, on_error: str, quarantine: str | None, pattern: str | None,
    chat_template: Path | None, reference_path: Path | None, reference_only: bool, messages: Messages,
) -> None:  # fmt: skip
    import contextlib
    import os

    from seatools.dpo.pairs import pairs_digest, read_pairs
    from seatools.dpo.reference import compute_reference, load_reference, reference_metadata, save_reference
    from seatools.engine.run_folder import RunFolder
    from seatools.streams.digests import folder_digest, sha256_file
    from seatools.streams.inputs import expand, shown_together
    from seatools.streams.manifest import Manifest
    from seatools.streams.outputs import check_output
    from seatools.streams.quarantine import rejects_policy
    from seatools.streams.spool import spooled
    from seatools.text.documents import load_documents

    documents = load_documents(model_path, pattern=pattern, chat_template=chat_template, note=messages.debug)
    tokenizer = documents.tokenizer
    if tokenizer.eos_id is None:
        messages.warn(f"{tokenizer.path} names no EOS token, so no plain answer ends with one")
    resumed_spool = resume and (out / SPOOL).exists()
    if resumed_spool:  # what came by stdin comes from there now, named again or not
        specs = [spec for spec in specs if spec != "-"] if specs else []
    paths = expand(specs)
    others = [path for path in (reference_path, chat_template) if path is not None]
    run: RunFolder | None = None
    if reference_only:
        check_output(out, force=force, inputs=[model_path, *others, *paths])
    else:
        run = RunFolder(
            out, resume=resume, force=force, inputs=[model_path, *others, *paths], begun_by=[SPOOL, REFERENCE]
        )
    if resumed_spool:
        paths.append(str(out / SPOOL))
    if not paths:
        raise UsageError(f"{out} holds no preferences to resume with", fix="repeat the PREFS of the first command")
    manifest = Manifest(command="dpo", options=options, seed=options.seed)
    with contextlib.ExitStack() as stack:
        inside = None
        if run is not None and not dry_run:
            stack.enter_context(run)
            inside = run.path
        with (
            rejects_policy(on_error, quarantine, out, messages, force=force or resume, dry_run=dry_run) as rejects,
            spooled(paths, inside) as (files, stdin_digest),
        ):
            pairs = read_pairs(
                files, documents, max_length=options.max_length, rejects=rejects, limit=limit, workers=workers
            )
            if stdin_digest is not None and inside is not None and pairs:
                os.replace(files[paths.index("-")], inside / SPOOL)  # so that --resume needs no pipe
        manifest.rejects = rejects.counts
        if not pairs:
            fix = rejects.summary() if rejects.total else "is the input empty?"
            raise SeaError("no preference pair to learn from", where=shown_together(paths), fix=fix)
        longest = max(len(doc.ids) for pair in pairs for doc in (pair.chosen, pair.rejected))
        if dry_run:
            messages.info(
                f"{len(pairs):,} pairs, longest side {longest} tokens, {rejects.total} rejected; nothing is written"
            )
            return

        from seatools.dpo.run import align
        from seatools.engine.device import pick_device, pick_dtype
        from seatools.engine.export import export_folder
        from seatools.engine.load import check_vocabulary, load_model
        from seatools.engine.training_mode import prepare_for_training

        device = pick_device(options.device)
        dtype = pick_dtype(options.dtype, device)
        model_digest = folder_digest(model_path)
        metadata = reference_metadata(model_digest, pairs_digest(pairs), len(pairs), str(dtype))
        known = reference_path or (out / REFERENCE if resume and (out / REFERENCE).exists() else None)
        values = load_reference(known, metadata, messages) if known is not None else None
        model = load_model(model_path, device=device, dtype=dtype)
        check_vocabulary(model, tokenizer.vocab_size, str(model_path))
        prepare_for_training(model, seq_len=longest, option="--max-length")
        manifest.add_input(model_path, model_digest)
        for path in paths:
            if resumed_spool and path == str(out / SPOOL):
                manifest.add_input("-", sha256_file(path))
            else:
                manifest.add_input(path, stdin_digest if path == "-" else None)
        for other in others:
            manifest.add_input(other)
        if run is not None:
            run.start()
        pad_id = tokenizer.pad_id or 0
        if values is None:
            values = compute_reference(model, pairs, pad_id, batch_tokens=8192, messages=messages)
            save_reference(out if reference_only else out / REFERENCE, values, metadata)
        if reference_only:
            manifest.counts = {"pairs": len(pairs)}
            manifest.write(out)
            return
        fingerprint = {
            "pairs": metadata["pairs"], "model": model_digest, "seed": options.seed,
            "batch_size": options.batch_size, "lr": options.lr, "schedule": options.schedule,
            "warmup": options.warmup, "beta": options.beta, "weight_decay": options.weight_decay,
            "clip": str(options.clip), "dtype": str(dtype),
        }  # fmt: skip
        manifest.counts = align(
            model, pairs, values, options, out=out, pad_id=pad_id, fingerprint=fingerprint, resume=resume,
            messages=messages,
        )  # fmt: skip
        export_folder(model, out, base=model_path, add_files=tokenizer.save, chat_template=chat_template)
        manifest.write(out)
    messages.info(f"{out}: the model after {manifest.counts['steps']:,} steps on {len(pairs):,} pairs")


def main(argv: list[str]) -> int:
    """`sea dpo ARGV`."""
    return run_app(app, "dpo", argv)
