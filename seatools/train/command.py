"""`sea train`: flags in, one run or a schedule of them, the model folder out; and the commands of patches."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from seatools.engine.run_request import eval_arguments, plot_wanted
from seatools.engine.training_options import listed, what_is_trained
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
from seatools.streams.presets import values_by_name
from seatools.streams.subcommands import refuse_misspelt
from seatools.streams.training_flags import (
    AsyncSave,
    Attention,
    ChatTemplatePath,
    Checkpointing,
    Clip,
    Compile,
    EmbeddingLearningRate,
    EvalData,
    EvalEvery,
    FirstNewRow,
    ForgetLimit,
    Fp8,
    Keep,
    LearningRate,
    Masters,
    Memory,
    Model,
    NeuronLangs,
    Neurons,
    Nodes,
    NoPlot,
    Nproc,
    OnForgetting,
    Optimizer,
    OptimizerStates,
    Parallel,
    Plot,
    PrintLaunch,
    Resume,
    SaveEvery,
    SaveMinutes,
    SavePatch,
    Schedule,
    SourceLang,
    TokenizerPath,
    Track,
    Warmup,
    WeightDecay,
    What,
    join_values,
)
from seatools.train.options import TrainOptions, default_seq_len
from seatools.train.patch_command import PATCH_COMMANDS
from seatools.train.presets import PRESETS
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
SUBCOMMANDS = dict.fromkeys(PATCH_COMMANDS, "seatools.train.patch_command")


@app.command()
def train(
    context: typer.Context,
    model: Model,
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=]DATA...", help="text or chat records, or packed files or a folder of them; - is stdin"
        ),
    ] = None,
    output: OutputPath = ...,  # type: ignore[assignment]
    what: What = _D.train,
    neurons: Neurons = None,
    neuron_langs: NeuronLangs = None,
    first_new_row: FirstNewRow = None,
    preset: Annotated[str | None, typer.Option("--preset", metavar="|".join(PRESETS), help="published values")] = None,
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
    lr: LearningRate = _D.lr,
    embedding_lr: EmbeddingLearningRate = None,
    schedule: Schedule = _D.schedule,
    warmup: Warmup = _D.warmup,
    optimizer: Optimizer = _D.optimizer,
    optimizer_states: OptimizerStates = _D.optimizer_states,
    masters: Masters = _D.masters,
    weight_decay: WeightDecay = _D.weight_decay,
    clip: Clip = _D.clip,
    attention: Attention = _D.attention,
    activation_checkpointing: Checkpointing = _D.activation_checkpointing,
    compile_blocks: Compile = False,
    fp8: Fp8 = False,
    nproc: Nproc = None,
    parallel: Parallel = _D.parallel,
    nodes: Nodes = 1,
    print_launch: PrintLaunch = None,
    save_every: SaveEvery = 0,
    save_minutes: SaveMinutes = 0,
    async_save: AsyncSave = None,
    keep: Keep = _D.keep,
    resume: Resume = False,
    from_config: Annotated[
        bool, typer.Option("--from-config", help="fresh weights by MODEL/config.json (MODEL needs no weights)")
    ] = False,
    save_patch: SavePatch = None,
    eval_data: EvalData = None,
    eval_every: EvalEvery = 0,
    source_lang: SourceLang = None,
    forget_limit: ForgetLimit = _D.forget_limit,
    on_forgetting: OnForgetting = _D.on_forgetting,
    track: Track = None,
    plot: Plot = None,
    no_plot: NoPlot = False,
    tokenizer: TokenizerPath = None,
    pattern: Pattern = None,
    chat_template: ChatTemplatePath = None,
    seed: Seed = 0,
    device: Device = "auto",
    dtype: DType = "auto",
    workers: Workers = 0,
    limit: Limit = None,
    force: Force = False,
    dry_run: DryRun = False,
    memory: Memory = None,
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
      sea train MODEL th=th.jsonl en=en.jsonl -o OUT --seq-len 512 --epochs 1 --lr 1e-4
      sea train EXTENDED th.jsonl -o OUT --train new-rows --lr 1e-3
      sea train MODEL th.jsonl -o OUT --neurons neurons.safetensors --neuron-langs th --save-patch th.patch.safetensors
      sea train MODEL packed.safetensors -o OUT --activation-checkpointing selective --save-minutes 30
      sea train MODEL th.jsonl -o OUT --dry-run                        # does it fit, how long does it take?
      sea train apply-patch MODEL th.patch.safetensors -o OUT          # subtract-patch, merge-patches, show-patch

    Text records are trained whole, chat records (messages, or prompt + completion) on the answers only, in one
    stream. OUT gets the model, metrics.jsonl and checkpoints/step-N; the same command with --resume continues.
    [[stage]] tables in --config FILE.toml are trained one after the other.
    """
    messages = Messages(quiet, verbose)
    options = TrainOptions(
        train=what_is_trained(what, neurons), neuron_langs=listed(neuron_langs),
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
        from seatools.engine.launched import print_launch as show_script
        from seatools.streams.inputs import reads_stdin

        read = [*(data or ()), *(name for stage in stages for name in stage.data or ()), *eval_arguments(eval_data)]
        return show_script(print_launch, argv, nproc, nodes, piped=reads_stdin(read))
    from seatools.train.session import Request

    request = Request(
        model_path=model, data=tuple(data or ()), out=output, tokenizer_path=tokenizer or model,
        seq_len=seq_len, resume=resume, force=force, limit=limit, workers=workers, on_error=on_error.value,
        quarantine=quarantine, pattern=pattern, chat_template=chat_template, eval_data=eval_arguments(eval_data),
        track=tuple(track or ()), plot=plot_wanted(plot, no_plot), save_patch=save_patch, messages=messages,
    )  # fmt: skip
    if dry_run:
        from seatools.train.dry_run import dry_run as show

        show(request, options, stages, memory=memory, rate=rate, nproc=nproc, as_json=json)
        return 0
    return _run(request, options, stages, argv, nproc)


def _run(request: Request, options: TrainOptions, stages: list[Stage], argv: list[str], nproc: str | None) -> int:
    import dataclasses

    from seatools.engine.launched import run_launched
    from seatools.engine.world import World
    from seatools.train.session import run_session
    from seatools.train.staged import check_launch, run_stages

    def work(world: World) -> None:
        now = request
        if not world.is_main:
            now = dataclasses.replace(request, messages=dataclasses.replace(request.messages, silent=True))
        if stages:
            run_stages(now, stages, world)
        else:
            run_session(now, options, world)

    return run_launched(
        argv, nproc, device=options.device, out=request.out, work=work,
        check=lambda count: check_launch(request, options, stages, count),
    )  # fmt: skip


def main(argv: list[str]) -> int:
    """`sea train ARGV`."""
    argv = join_values(argv)
    if argv and argv[0] in SUBCOMMANDS:
        from seatools.train.patch_command import main as patch_main

        return patch_main(argv)
    refuse_misspelt("train", argv, SUBCOMMANDS)
    return run_app(app, "train", argv, presets=values_by_name(PRESETS), sections=(SECTION,))
