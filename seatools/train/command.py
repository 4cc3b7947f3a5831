"""`sea train`: flags in, one run or a schedule of them, the model folder out; and the commands of patches."""

from __future__ import annotations

import os
import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from seatools.train.patch_command import PATCH_COMMANDS
from seatools.train.presets import PRESETS, values_by_name
from seatools.train.stages import SECTION, Stage, read_stages

if TYPE_CHECKING:
    from seatools.train.session import Request


class OrderChoice(StrEnum):
    """The order in which rows are read."""

    auto = "auto"
    file = "file"
    shuffled = "shuffled"


app = new_app()
_D = TrainOptions()


@app.command()
def train(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="a Hugging Face model folder")],
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=]DATA...", help="text or chat records, or packed files or a folder of them; - is stdin"
        ),
    ] = None,
    output: OutputPath = ...,  # type: ignore[assignment]
    what: Annotated[
        str,
        typer.Option("--train", metavar="WHAT", help="all, new-rows, embeddings, neurons=FILE, layers=0-3,28-31; a+b"),
    ] = _D.train,
    neurons: Annotated[
        Path | None, typer.Option("--neurons", metavar="FILE", help="the same as --train neurons=FILE (lsn-detect)")
    ] = None,
    neuron_langs: Annotated[
        str | None, typer.Option("--neuron-langs", metavar="th,lo", help="the languages in FILE to train [all]")
    ] = None,
    first_new_row: Annotated[
        int | None, typer.Option("--first-new-row", metavar="N", help="for a MODEL without new_rows.jsonl")
    ] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", metavar="NAME", help=f"published values: {', '.join(PRESETS)}")
    ] = None,
    seq_len: Annotated[
        int | None, typer.Option("--seq-len", help="tokens in a packed row [1024, or the model's positions if fewer]")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", help="rows in a step")] = _D.batch_size,
    micro_batch: Annotated[int, typer.Option("--micro-batch", help="rows in a pass; 0: all, on CPU 512 tokens")] = 0,
    epochs: Annotated[float, typer.Option("--epochs", help="passes over the data, without --max-steps")] = _D.epochs,
    max_steps: Annotated[int | None, typer.Option("--max-steps", help="steps; the data repeats as needed")] = None,
    order: Annotated[
        OrderChoice,
        typer.Option("--order", help="of rows; auto: as they come in packed data and from stdin, else shuffled"),
    ] = OrderChoice.auto,
    lr: Annotated[float, typer.Option("--lr", help="peak learning rate")] = _D.lr,
    embedding_lr: Annotated[
        float | None, typer.Option("--embedding-lr", help="of embedding and head [as --lr]")
    ] = None,
    schedule: Annotated[str, typer.Option("--schedule", help="cosine, linear, wsd or constant")] = _D.schedule,
    warmup: Annotated[float, typer.Option("--warmup", help="share of the steps if below 1, else steps")] = _D.warmup,
    optimizer: Annotated[
        str, typer.Option("--optimizer", help="adamw, or muon for the matrices of the layers")
    ] = _D.optimizer,
    optimizer_states: Annotated[
        str, typer.Option("--optimizer-states", help="of Adam's moments: fp32, or bf16 for half the memory")
    ] = _D.optimizer_states,
    masters: Annotated[
        bool, typer.Option("--masters/--no-masters", help="fp32 masters of bf16 weights; without, small steps are lost")
    ] = _D.masters,
    weight_decay: Annotated[float, typer.Option("--weight-decay", help="of AdamW")] = _D.weight_decay,
    clip: Annotated[float, typer.Option("--clip", help="largest norm of the trained gradients")] = _D.clip,
    attention: Annotated[str, typer.Option("--attention", help="auto, sdpa, eager, sea_varlen, ...")] = _D.attention,
    activation_checkpointing: Annotated[
        str, typer.Option("--activation-checkpointing", help="none, selective or full: memory for time")
    ] = _D.activation_checkpointing,
    compile_blocks: Annotated[bool, typer.Option("--compile", help="torch.compile each layer")] = False,
    fp8: Annotated[bool, typer.Option("--fp8", help="matrix products in fp8 (torchao, Hopper and later)")] = False,
    nproc: Annotated[
        str | None, typer.Option("--nproc", metavar="N|auto", help="processes on this machine, one a GPU")
    ] = None,
    parallel: Annotated[
        str, typer.Option("--parallel", help="fsdp: weights sharded; ddp: copied; auto: ddp for selections")
    ] = _D.parallel,
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="machines, for --print-launch")] = 1,
    print_launch: Annotated[
        str | None, typer.Option("--print-launch", metavar="slurm", help="print a batch script and stop")
    ] = None,
    save_every: Annotated[int, typer.Option("--save-every", metavar="N", help="checkpoint every N steps")] = 0,
    save_minutes: Annotated[float, typer.Option("--save-minutes", metavar="M", help="and every M minutes")] = 0,
    async_save: Annotated[
        bool | None, typer.Option("--async-save/--no-async-save", help="write checkpoints meanwhile [on CUDA]")
    ] = None,
    keep: Annotated[int, typer.Option("--keep", metavar="N", help="newest checkpoints kept")] = _D.keep,
    resume: Annotated[bool, typer.Option("--resume", help="continue the run in OUT")] = False,
    from_config: Annotated[
        bool, typer.Option("--from-config", help="fresh weights by MODEL/config.json (MODEL needs no weights)")
    ] = False,
    save_patch: Annotated[
        Path | None, typer.Option("--save-patch", metavar="FILE", help="what was trained, as a patch of MODEL")
    ] = None,
    eval_data: Annotated[
        list[str] | None, typer.Option("--eval-data", metavar="LANG=FILE", help="bits per byte of it; repeat or a,b")
    ] = None,
    eval_every: Annotated[int, typer.Option("--eval-every", metavar="N", help="steps; 0: at start and end")] = 0,
    source_lang: Annotated[
        str | None, typer.Option("--source-lang", metavar="LANG", help="of --eval-data: must not be forgotten")
    ] = None,
    forget_limit: Annotated[
        float, typer.Option("--forget-limit", metavar="SHARE", help="rise of its bits per byte that is too much")
    ] = _D.forget_limit,
    on_forgetting: Annotated[str, typer.Option("--on-forgetting", help="warn or stop")] = _D.on_forgetting,
    track: Annotated[
        list[str] | None, typer.Option("--track", metavar="NAME", help="tensorboard, wandb or trackio; may repeat")
    ] = None,
    plot: Annotated[
        bool | None, typer.Option("--plot/--no-plot", help="OUT/curves.png at the end [if matplotlib is there]")
    ] = None,
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
    memory: Annotated[
        float | None, typer.Option("--memory", metavar="GB", help="of a device, for --dry-run [this machine's]")
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", metavar="TOKENS/S", help="of a device, for the hours of --dry-run")
    ] = None,
    json: Json = False,
    on_error: OnError = ErrorPolicy.fail,
    quarantine: Quarantine = None,
    config: Config = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> int:
    """Continued pretraining, hybrid, SFT, neuron-only training.

    \b
    examples:
      sea train MODEL th.jsonl -o OUT --seq-len 512 --max-steps 1000 --lr 1e-4
      sea train MODEL th.jsonl -o OUT --train new-rows --lr 1e-3
      sea train MODEL th.jsonl -o OUT --neurons neurons.safetensors --neuron-langs th --save-patch th.safetensors
      sea train apply-patch MODEL th.safetensors -o OUT        (also subtract-patch, merge-patches, show-patch)

    Text records are trained whole, chat records (messages, or prompt + completion) on the answers only, in one
    stream. OUT gets the model, metrics.jsonl and checkpoints/step-N; the same command with --resume continues.
    [[stage]] tables in --config FILE.toml are trained one after the other.
    """
    messages = Messages(quiet, verbose)
    if neurons is not None and what not in ("all", f"neurons={neurons}"):
        raise UsageError(
            f"--neurons FILE and --train {what} contradict each other", fix=f"--train {what}+neurons={neurons}"
        )
    options = TrainOptions(
        train=what if neurons is None else f"neurons={neurons}",
        neuron_langs=tuple(filter(None, (lang.strip() for lang in (neuron_langs or "").split(",")))),
        first_new_row=first_new_row, seq_len=default_seq_len(model) if seq_len is None else seq_len,
        batch_size=batch_size, micro_batch=micro_batch, epochs=epochs, max_steps=max_steps, order=order.value, lr=lr,
        embedding_lr=embedding_lr, schedule=schedule, warmup=warmup, optimizer=optimizer,
        optimizer_states=optimizer_states, masters=masters, weight_decay=weight_decay, clip=clip, attention=attention,
        activation_checkpointing=activation_checkpointing, compile=compile_blocks, fp8=fp8, parallel=parallel,
        save_every=save_every, save_minutes=save_minutes, keep=keep, async_save=async_save, eval_every=eval_every,
        source_lang=source_lang, forget_limit=forget_limit, on_forgetting=on_forgetting, seed=seed,
        from_config=from_config, device=device, dtype=dtype,
    )  # fmt: skip
    if resume and force:
        raise UsageError("--resume and --force contradict each other")
    stages = read_stages(config, options, seq_len)
    if not data and not resume and not (stages and all(stage.data for stage in stages)):
        raise UsageError("no DATA", fix="name files, or - for stdin")
    argv = ["train", *context.obj]
    if print_launch is not None:
        return _print_launch(print_launch, argv, nproc, nodes, piped="-" in (data or ()))
    from seatools.train.session import Request

    request = Request(
        model_path=model, data=tuple(data or ()), out=output, tokenizer_path=tokenizer or model,
        seq_len=seq_len, resume=resume, force=force, limit=limit, workers=workers, on_error=on_error.value,
        quarantine=quarantine, pattern=pattern, chat_template=chat_template, eval_data=_eval_arguments(eval_data),
        track=tuple(track or ()), plot=plot, save_patch=save_patch, messages=messages,
    )  # fmt: skip
    if dry_run:
        from seatools.train.dry_run import dry_run as show

        show(request, options, stages, memory=memory, rate=rate, nproc=nproc, as_json=json)
        return 0
    return _run(request, options, stages, argv, nproc)


def _run(request: Request, options: TrainOptions, stages: list[Stage], argv: list[str], nproc: str | None) -> int:
    """In this process, in the place that a launcher gave it, or in N processes that this one starts and watches."""
    import dataclasses

    from seatools.engine.launch import must_launch, num_processes, relaunch
    from seatools.engine.stop_signals import EndOnSignal
    from seatools.engine.world import SINGLE, is_lost, join_world, place_in
    from seatools.train.session import run_session
    from seatools.train.staged import check_launch, run_stages

    count = 1 if nproc is None else num_processes(nproc)
    if must_launch(count):
        check_launch(request, options, stages, count)
        return relaunch(argv, count)
    with EndOnSignal():
        place = place_in(os.environ)
        world = SINGLE if place is None or place.size == 1 else join_world(options.device)
        if not world.is_main:
            request = dataclasses.replace(request, messages=dataclasses.replace(request.messages, silent=True))
        try:
            if stages:
                run_stages(request, stages, world)
            else:
                run_session(request, options, world)
        except RuntimeError as error:
            if not is_lost(error):
                raise
            fix = "it has said why; then the same command with --resume"
            raise SeaError("another process of this run has ended", where=str(request.out), fix=fix) from error
        finally:
            world.leave()
    return 0


def _print_launch(kind: str, argv: list[str], nproc: str | None, nodes: int, *, piped: bool) -> int:
    if kind != "slurm":
        raise UsageError(f"unknown --print-launch {kind!r}", fix="slurm")
    if piped:
        raise UsageError("no pipe reaches a batch job", fix="put the data into a file, and name that")
    import sys

    from seatools.engine.launch import num_processes, slurm_script

    sys.stdout.write(slurm_script(argv, num_processes(nproc or "1"), nodes))
    return 0


def _eval_arguments(given: list[str] | None) -> tuple[str, ...]:
    """`th=a,en=b` as two arguments; a comma before anything else than NAME= is part of a file's name."""
    return tuple(part for text in given or () for part in re.split(r",\s*(?=[A-Za-z][\w-]*=)", text))


def _joined(argv: list[str]) -> list[str]:
    """`--train neurons FILE` and `--train layers 0-3` as one value each."""
    for place, word in enumerate(argv[:-2]):
        if word == "--train" and argv[place + 1] in ("neurons", "layers"):
            return [*argv[: place + 1], f"{argv[place + 1]}={argv[place + 2]}", *_joined(argv[place + 3 :])]
    return argv


def main(argv: list[str]) -> int:
    """`sea train ARGV`."""
    argv = _joined(argv)
    if argv and argv[0] in PATCH_COMMANDS:
        from seatools.train.patch_command import main as patch_main

        return patch_main(argv)
    return run_app(app, "train", argv, presets=values_by_name(), sections=(SECTION,))
