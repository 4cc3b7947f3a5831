"""`sea train`: flags in, one run, the model folder out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

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
from seatools.train.options import TrainOptions, default_seq_len


class OrderChoice(StrEnum):
    """The order in which rows are read."""

    auto = "auto"
    file = "file"
    shuffled = "shuffled"


app = new_app()
_D = TrainOptions()


@app.command()
def train(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="a Hugging Face model folder")],
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=]DATA...", help="text or chat records, or packed files or a folder of them; - is stdin"
        ),
    ] = None,
    output: OutputPath = ...,  # type: ignore[assignment]
    seq_len: Annotated[
        int | None, typer.Option("--seq-len", help="tokens in a packed row [1024, or the model's positions if fewer]")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", help="rows in a step")] = _D.batch_size,
    micro_batch: Annotated[int, typer.Option("--micro-batch", help="rows in a forward pass; 0: all")] = 0,
    epochs: Annotated[float, typer.Option("--epochs", help="passes over the data, without --max-steps")] = _D.epochs,
    max_steps: Annotated[int | None, typer.Option("--max-steps", help="steps; the data repeats as needed")] = None,
    order: Annotated[
        OrderChoice,
        typer.Option("--order", help="of rows; auto: as they come in packed data and from stdin, else shuffled"),
    ] = OrderChoice.auto,
    lr: Annotated[float, typer.Option("--lr", help="peak learning rate")] = _D.lr,
    schedule: Annotated[str, typer.Option("--schedule", help="cosine, linear, wsd or constant")] = _D.schedule,
    warmup: Annotated[float, typer.Option("--warmup", help="share of the steps if below 1, else steps")] = _D.warmup,
    weight_decay: Annotated[float, typer.Option("--weight-decay", help="of AdamW")] = _D.weight_decay,
    clip: Annotated[float, typer.Option("--clip", help="largest norm of the trained gradients")] = _D.clip,
    save_every: Annotated[int, typer.Option("--save-every", metavar="N", help="checkpoint every N steps")] = 0,
    keep: Annotated[int, typer.Option("--keep", metavar="N", help="newest checkpoints kept")] = _D.keep,
    resume: Annotated[bool, typer.Option("--resume", help="continue the run in OUT")] = False,
    from_config: Annotated[
        bool, typer.Option("--from-config", help="fresh weights by MODEL/config.json (MODEL needs no weights)")
    ] = False,
    neurons: Annotated[
        Path | None, typer.Option("--neurons", metavar="FILE", help="train only the neurons in FILE (lsn-detect)")
    ] = None,
    neuron_langs: Annotated[
        str | None, typer.Option("--neuron-langs", metavar="th,lo", help="the languages in FILE to train [all]")
    ] = None,
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="less memory, a third more compute")
    ] = False,
    tokenizer: Annotated[
        Path | None, typer.Option("--tokenizer", metavar="TOK", help="when it is not in MODEL")
    ] = None,
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
    """Continued pretraining, hybrid, SFT, neuron-only training.

    \b
    examples:
      sea train MODEL th.jsonl -o OUT --seq-len 512 --max-steps 1000 --lr 1e-4
      sea train MODEL th.jsonl -o OUT --neurons neurons.safetensors --neuron-langs th --lr 1e-4

    Text records are trained whole, chat records (messages, or prompt + completion) on the answers only, in one
    stream. OUT gets the model, metrics.jsonl and checkpoints/step-N; the same command with --resume continues.
    """
    messages = Messages(quiet, verbose)
    options = TrainOptions(
        seq_len=default_seq_len(model) if seq_len is None else seq_len,
        batch_size=batch_size, micro_batch=micro_batch, epochs=epochs, max_steps=max_steps,
        order=order.value, lr=lr,
        schedule=schedule, warmup=warmup, weight_decay=weight_decay, clip=clip, save_every=save_every, keep=keep,
        seed=seed, from_config=from_config, neurons_path=None if neurons is None else str(neurons),
        neuron_langs=tuple(filter(None, (lang.strip() for lang in (neuron_langs or "").split(",")))),
        gradient_checkpointing=gradient_checkpointing, device=device, dtype=dtype,
    )  # fmt: skip
    if resume and force:
        raise UsageError("--resume and --force contradict each other")
    if not data and not resume:
        raise UsageError("no DATA", fix="name files, or - for stdin")
    _run(
        model, data or [], output, options, seq_len=seq_len,
        resume=resume, force=force, dry_run=dry_run, limit=limit, workers=workers,
        on_error=on_error.value, quarantine=quarantine, tokenizer_path=tokenizer or model, pattern=pattern,
        chat_template=chat_template, messages=messages,
    )  # fmt: skip


def _run(
    model_path: Path, data: list[str], out: Path, options: TrainOptions, *, seq_len: int | None,
    resume: bool, force: bool, dry_run: bool,
    limit: int | None, workers: int, on_error: str, quarantine: str | None, tokenizer_path: Path,
    pattern: str | None, chat_template: Path | None, messages: Messages,
) -> None:  # fmt: skip
    import dataclasses
    import json

    from seatools.engine.run_folder import RunFolder
    from seatools.streams.digests import folder_digest, sha256_file
    from seatools.streams.manifest import Manifest
    from seatools.streams.quarantine import rejects_policy
    from seatools.text.documents import load_documents
    from seatools.text.packed import PackedData, read_packed
    from seatools.text.packed_shards import PackedShards, read_packed_files
    from seatools.train.data import SPOOL, check_spool, made_from, order_of, packed_paths, parse_sources, spool_packed

    documents = load_documents(tokenizer_path, pattern=pattern, chat_template=chat_template, note=messages.debug)
    tokenizer = documents.tokenizer
    sources = parse_sources(data, outside=out.resolve() if resume else None)
    given = packed_paths(sources)
    if given and limit is not None:
        raise UsageError("--limit counts records; a packed file has none", fix="leave --limit out, or use --max-steps")
    others = [path for path in (options.neurons_path, chat_template) if path is not None]
    files = [path for source in sources for path in source.paths]
    run = RunFolder(
        out, resume=resume, force=force, inputs=[model_path, tokenizer_path, *others, *files], begun_by=[SPOOL]
    )
    resumed_spool = resume and (out / SPOOL).exists()
    begun = read_packed(out / SPOOL) if resumed_spool else None
    options = dataclasses.replace(options, order=order_of(options.order, sources, begun))
    if dry_run:
        from seatools.train.plan import describe_run

        messages.info(describe_run(model_path, sources, [out / SPOOL] if resumed_spool else given, options))
        return
    if not sources and not resumed_spool:
        raise UsageError(f"{out} holds no data to resume with", fix="repeat the DATA of the first command")

    manifest = Manifest(command="train", options=options, seed=options.seed)
    from seatools.train.run import check_before_data

    check_before_data(model_path, options)
    with run as folder:
        origin = made_from(
            sources, seq_len=options.seq_len, seed=options.seed, limit=limit,
            template=None if documents.template is None else documents.template.source, order=options.order,
        )  # fmt: skip
        packed: PackedData | PackedShards
        if begun is not None:
            packed = begun
            check_spool(begun, origin)
            manifest.inputs = json.loads(packed.metadata["inputs"])
            manifest.rejects = json.loads(packed.metadata["rejects"])
        elif given:
            packed = read_packed_files(given)
            if seq_len is not None and seq_len != packed.row_length:
                raise UsageError(
                    f"{packed.path} has rows of {packed.row_length} tokens, not {seq_len}", fix="leave out --seq-len"
                )
            for path in given:
                manifest.add_input(path, source=sources[0].name)
        else:
            if tokenizer.eos_id is None:
                messages.warn(f"{tokenizer.path} names no EOS token, so no document ends with one")
            with rejects_policy(on_error, quarantine, out, messages, force=force) as rejects:
                for source in sources:
                    for name in source.paths:
                        manifest.add_input(name, source=source.name)
                packed = spool_packed(
                    sources, documents, folder.path / SPOOL, origin=origin,
                    inputs=manifest.inputs, digest=tokenizer.digest(), rejects=rejects, limit=limit, workers=workers,
                    messages=messages,
                )  # fmt: skip
            manifest.rejects = rejects.counts
        packed.check_tokenizer(tokenizer.digest())
        if packed.num_targets == 0:
            raise SeaError("nothing to train: no token in it is a target", where=packed.path)
        data_digest = packed.digest()

        from seatools.engine.export import export_folder
        from seatools.train.run import load_for_training, trained_parts
        from seatools.train.run import train as run_training

        options = dataclasses.replace(options, seq_len=packed.row_length)
        model = load_for_training(model_path, tokenizer, options)
        parts = trained_parts(model, options, messages)
        model_digest = folder_digest(model_path)
        neurons_digest = None if options.neurons_path is None else sha256_file(options.neurons_path)
        fingerprint = {
            "model": model_digest, "from_config": options.from_config, "data": data_digest, "seed": options.seed,
            "batch_size": options.batch_size, "order": options.order, "lr": options.lr, "schedule": options.schedule,
            "warmup": options.warmup, "weight_decay": options.weight_decay, "clip": str(options.clip),
            "neurons": neurons_digest, "neuron_langs": list(options.neuron_langs), "dtype": str(model.dtype),
        }  # fmt: skip
        manifest.options = options
        manifest.add_input(model_path, model_digest)
        if tokenizer_path != model_path:
            manifest.add_input(tokenizer_path)
        for other in others:
            manifest.add_input(other)
        folder.start()
        manifest.counts = run_training(
            model, parts, packed, options, out=out, pad_id=tokenizer.pad_id or 0, fingerprint=fingerprint,
            resume=resume, messages=messages,
        )  # fmt: skip
        manifest.counts["tokens"] = packed.num_tokens
        export_folder(model, out, base=model_path, add_files=tokenizer.save, chat_template=chat_template)
        manifest.write(out)
    messages.info(f"{out}: the model after {manifest.counts['steps']:,} steps; metrics in {out / 'metrics.jsonl'}")


def main(argv: list[str]) -> int:
    """`sea train ARGV`."""
    return run_app(app, "train", argv)
