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
        on_error=on_error.value, quarantine=quarantine, pattern=pattern, chat_template=chat_template,
        reference_path=reference, reference_only=reference_only, messages=messages,
    )  # fmt: skip


SPOOL = "preferences.jsonl"
REFERENCE = "reference.safetensors"


def _run(
    model_path: Path, specs: list[str], out: Path, options: DPOOptions, *, resume: bool, force: bool, dry_run: bool,
    limit: int | None, on_error: str, quarantine: str | None, pattern: str | None, chat_template: Path | None,
    reference_path: Path | None, reference_only: bool, messages: Messages,
) -> None:  # fmt: skip
    import shutil

    from seatools.dpo.pairs import pairs_digest, read_pairs
    from seatools.dpo.reference import compute_reference, load_reference, reference_metadata, save_reference
    from seatools.streams.digests import folder_digest
    from seatools.streams.inputs import expand
    from seatools.streams.manifest import Manifest
    from seatools.streams.outputs import check_output, require_empty_or_force
    from seatools.streams.quarantine import rejects_policy
    from seatools.streams.spool import spooled
    from seatools.text.chat import load_chat_template
    from seatools.text.documents import Documents
    from seatools.text.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(model_path, pattern=pattern)
    for note in tokenizer.notes:
        messages.debug(note)
    template = load_chat_template(chat_template or model_path, tokenizer_path=model_path)
    if out.resolve() == model_path.resolve():
        raise UsageError(f"{out} is both input and output", fix="write to another folder")
    manifest = Manifest(command="dpo", options=options, seed=options.seed)
    if resume and (out / SPOOL).exists():
        specs = [str(out / SPOOL)]
    paths = expand(specs)
    if reference_only:
        check_output(out, force=force, inputs=paths)
    elif not resume and not dry_run:
        require_empty_or_force(out, force)
    elif resume:
        out.mkdir(exist_ok=True)
    inside = None if reference_only or dry_run else out
    with rejects_policy(on_error, quarantine, out, messages, force=True) as rejects, spooled(paths, inside) as spool:
        files, stdin_digest = spool
        documents = Documents(tokenizer, template)
        pairs = read_pairs(files, documents, max_length=options.max_length, rejects=rejects, limit=limit)
        if stdin_digest is not None and inside is not None and pairs:
            shutil.copyfile(files[paths.index("-")], out / SPOOL)  # so that --resume needs no pipe
    manifest.rejects = rejects.counts
    if not pairs:
        raise SeaError("no preference pair to learn from", where=", ".join(paths[:3]), fix="was every pair dropped?")
    if dry_run:
        longest = max(len(doc.ids) for pair in pairs for doc in (pair.chosen, pair.rejected))
        messages.info(f"{len(pairs):,} pairs, longest side {longest} tokens, {rejects.total} rejected")
        return

    from seatools.dpo.run import align
    from seatools.engine.device import pick_device, pick_dtype
    from seatools.engine.export import export_folder
    from seatools.engine.load import check_vocabulary, load_model
    from seatools.engine.training_mode import prepare_for_training

    model_digest = folder_digest(model_path)
    metadata = reference_metadata(model_digest, pairs_digest(pairs), len(pairs))
    known = reference_path or (out / REFERENCE if resume and (out / REFERENCE).exists() else None)
    values = load_reference(known, metadata) if known is not None else None
    device = pick_device(options.device)
    model = load_model(model_path, device=device, dtype=pick_dtype(options.dtype, device))
    check_vocabulary(model, tokenizer.vocab_size, str(model_path))
    longest = max(len(doc.ids) for pair in pairs for doc in (pair.chosen, pair.rejected))
    prepare_for_training(model, seq_len=longest, gradient_checkpointing=False)
    pad_id = tokenizer.pad_id if tokenizer.pad_id is not None else tokenizer.context_id
    manifest.add_input(model_path, model_digest)
    for path in paths:
        manifest.add_input(path, stdin_digest if path == "-" else None)
    if values is None:
        values = compute_reference(model, pairs, pad_id, batch_tokens=8192, messages=messages)
        save_reference(out if reference_only else out / REFERENCE, values, metadata)
    if reference_only:
        manifest.counts = {"pairs": len(pairs)}
        manifest.write(out)
        return
    fingerprint = {
        "pairs": metadata["pairs"], "model": model_digest, "seed": options.seed, "batch_size": options.batch_size,
        "lr": options.lr, "schedule": options.schedule, "warmup": options.warmup, "beta": options.beta,
        "weight_decay": options.weight_decay, "clip": options.clip, "dtype": str(model.dtype),
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
