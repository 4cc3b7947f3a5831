"""`sea dpo`: flags in, reference and one run, the aligned model folder out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seatools.dpo.options import DPOOptions, default_max_length
from seatools.dpo.presets import PRESETS
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

if TYPE_CHECKING:
    from seatools.dpo.session import Request

app = new_app()
_D = DPOOptions()


@app.command()
def dpo(
    context: typer.Context,
    model: Model,
    preferences: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME=]PREFS[:WEIGHT]...", help="preference records; - is stdin"),
    ] = None,
    output: OutputPath = ...,  # type: ignore[assignment]
    loss: Annotated[
        str,
        typer.Option(
            "--loss",
            metavar="sigmoid|sigmoid_norm|ipo|hinge|robust|apo_zero|apo_down",
            help="of a pair's margin; names as in TRL",
        ),
    ] = _D.loss,
    beta: Annotated[float, typer.Option("--beta", help="strength of the tie to the reference")] = _D.beta,
    label_smoothing: Annotated[
        float, typer.Option("--label-smoothing", metavar="SHARE", help="of the pairs that are labelled wrongly")
    ] = _D.label_smoothing,
    sft_weight: Annotated[
        float, typer.Option("--sft-weight", metavar="W", help="adds W times the NLL a token of the chosen answers")
    ] = _D.sft_weight,
    share_prompt: Annotated[
        bool | None,
        typer.Option("--share-prompt/--no-share-prompt", help="a prompt once for both answers [where it can]"),
    ] = None,
    max_length: Annotated[
        int | None, typer.Option("--max-length", help="tokens of prompt and answer [1024, or the model's positions]")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option("--reference", metavar="FILE", help="reference log-probabilities made before")
    ] = None,
    reference_only: Annotated[
        bool, typer.Option("--reference-only", help="compute the reference into OUT (a file) and stop")
    ] = False,
    what: What = _D.train,
    neurons: Neurons = None,
    neuron_langs: NeuronLangs = None,
    first_new_row: FirstNewRow = None,
    preset: Annotated[str | None, typer.Option("--preset", metavar="|".join(PRESETS), help="published values")] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", help="pairs in a step")] = _D.batch_size,
    micro_batch: Annotated[
        int, typer.Option("--micro-batch", help="pairs in a pass; 0: 16,384 tokens of them, on CPU 512")
    ] = 0,
    epochs: Annotated[float, typer.Option("--epochs", help="passes over the pairs, without --max-steps")] = _D.epochs,
    max_steps: Annotated[int | None, typer.Option("--max-steps", help="steps, instead of --epochs")] = None,
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
    json: Json = False,
    on_error: OnError = ErrorPolicy.fail,
    quarantine: Quarantine = None,
    config: Config = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> int:
    """Direct preference optimisation.

    \b
    examples:
      sea dpo MODEL prefs.jsonl -o OUT --lr 1e-6 --epochs 1
      sea dpo MODEL en=en_prefs.jsonl:10 th=th_prefs.jsonl:1 -o OUT --preset sambalingo-dpo
      sea sample MODEL prompts.jsonl -n 2 | sea judge MODEL | sea dpo MODEL - -o OUT
      sea dpo MODEL prefs.jsonl -o OUT --neurons neurons.safetensors --neuron-langs th --save-patch th.safetensors

    Preference records have prompt, chosen and rejected (strings or messages), or chosen and rejected that begin with
    their prompt. The log-probabilities of the reference, which is MODEL itself, are computed once, before training.
    OUT gets the model, metrics.jsonl and checkpoints/step-N; the same command with --resume continues.
    """
    messages = Messages(quiet, verbose)
    options = DPOOptions(
        train=what_is_trained(what, neurons), neuron_langs=listed(neuron_langs), first_new_row=first_new_row,
        loss=loss, beta=beta, label_smoothing=label_smoothing, sft_weight=sft_weight, share_prompt=share_prompt,
        max_length=default_max_length(model) if max_length is None else max_length, batch_size=batch_size,
        micro_batch=micro_batch, epochs=epochs, max_steps=max_steps, lr=lr, embedding_lr=embedding_lr,
        schedule=schedule, warmup=warmup, optimizer=optimizer, optimizer_states=optimizer_states, masters=masters,
        weight_decay=weight_decay, clip=clip, attention=attention, activation_checkpointing=activation_checkpointing,
        compile=compile_blocks, fp8=fp8, parallel=parallel, save_every=save_every, save_minutes=save_minutes,
        keep=keep, async_save=async_save, eval_every=eval_every, source_lang=source_lang, forget_limit=forget_limit,
        on_forgetting=on_forgetting, seed=seed, device=device, dtype=dtype,
    )  # fmt: skip
    if resume and (force or reference_only):
        raise UsageError("--resume contradicts --force and --reference-only")
    if reference and reference_only:
        raise UsageError("--reference contradicts --reference-only")
    if not preferences and not resume:
        raise UsageError("no PREFS", fix="name files, or - for stdin")
    argv = ["dpo", *context.obj]
    if print_launch is not None:
        from seatools.engine.launched import print_launch as show_script

        piped = any(spec == "-" or spec.partition("=")[2].partition(":")[0] == "-" for spec in preferences or ())
        return show_script(print_launch, argv, nproc, nodes, piped=piped)
    from seatools.dpo.session import Request

    request = Request(
        model_path=model, preferences=tuple(preferences or ()), out=output, tokenizer_path=tokenizer or model,
        reference=reference, reference_only=reference_only, resume=resume, force=force, limit=limit, workers=workers,
        on_error=on_error.value, quarantine=quarantine, pattern=pattern, chat_template=chat_template,
        eval_data=eval_arguments(eval_data), track=tuple(track or ()),
        plot=plot_wanted(plot, no_plot), save_patch=save_patch, messages=messages,
    )  # fmt: skip
    if dry_run:
        from seatools.dpo.dry_run import dry_run as show

        show(request, options, memory=memory, nproc=nproc, as_json=json)
        return 0
    return _run(request, options, argv, nproc)


def _run(request: Request, options: DPOOptions, argv: list[str], nproc: str | None) -> int:
    import dataclasses

    from seatools.dpo.session import check_request, look_at, open_folder, run_session
    from seatools.engine.launched import run_launched
    from seatools.engine.world import World

    def check(count: int) -> None:
        inputs = look_at(request, options)
        open_folder(request, inputs)
        check_request(request, inputs, options, count)

    def work(world: World) -> None:
        now = request
        if not world.is_main:
            now = dataclasses.replace(request, messages=dataclasses.replace(request.messages, silent=True))
        run_session(now, options, world)

    return run_launched(argv, nproc, device=options.device, out=request.out, check=check, work=work)


def main(argv: list[str]) -> int:
    """`sea dpo ARGV`."""
    return run_app(app, "dpo", join_values(argv), presets=values_by_name(PRESETS))
