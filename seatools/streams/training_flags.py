"""The flags that `sea train` and `sea dpo` share: what is trained and how, on which processes, what is kept of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="a Hugging Face model folder")]
What = Annotated[
    str,
    typer.Option(
        "--train",
        metavar="all|new-rows|embeddings|neurons=FILE|layers=I-J[+...]",
        help="what is trained; layers=0-3,28-31",
    ),
]
Neurons = Annotated[
    Path | None, typer.Option("--neurons", metavar="FILE", help="the same as --train neurons=FILE (lsn-detect)")
]
NeuronLangs = Annotated[
    str | None, typer.Option("--neuron-langs", metavar="LANG,...", help="the languages in FILE to train [all]")
]
FirstNewRow = Annotated[
    int | None, typer.Option("--first-new-row", metavar="N", help="for a MODEL without new_rows.jsonl")
]
LearningRate = Annotated[float, typer.Option("--lr", help="peak learning rate")]
EmbeddingLearningRate = Annotated[float | None, typer.Option("--embedding-lr", help="of embedding and head [as --lr]")]
Schedule = Annotated[
    str, typer.Option("--schedule", metavar="cosine|linear|wsd|constant", help="of the learning rate, after --warmup")
]
Warmup = Annotated[float, typer.Option("--warmup", help="share of the steps if below 1, else steps")]
Optimizer = Annotated[
    str, typer.Option("--optimizer", metavar="adamw|muon", help="muon: for the matrices of the layers")
]
OptimizerStates = Annotated[
    str, typer.Option("--optimizer-states", metavar="fp32|bf16", help="of Adam's moments; bf16: half the memory")
]
Masters = Annotated[
    bool, typer.Option("--masters/--no-masters", help="fp32 masters of bf16 weights; without, small steps are lost")
]
WeightDecay = Annotated[float, typer.Option("--weight-decay", help="of AdamW")]
Clip = Annotated[float, typer.Option("--clip", help="largest norm of the trained gradients")]
Attention = Annotated[
    str,
    typer.Option(
        "--attention",
        metavar="auto|sea_varlen|sdpa|eager|flash_attention_2|flash_attention_3|kernels-community/NAME",
        help="how it is computed; auto: the first that fits",
    ),
]
Checkpointing = Annotated[
    str, typer.Option("--activation-checkpointing", metavar="none|selective|full", help="memory for time")
]
Compile = Annotated[bool, typer.Option("--compile", help="torch.compile each layer")]
Fp8 = Annotated[bool, typer.Option("--fp8", help="matrix products in fp8 (torchao, Hopper and later)")]
Nproc = Annotated[str | None, typer.Option("--nproc", metavar="N|auto", help="processes on this machine, one a GPU")]
Parallel = Annotated[
    str,
    typer.Option(
        "--parallel", metavar="auto|fsdp|ddp", help="fsdp: weights sharded; ddp: copied; auto: ddp for selections"
    ),
]
Nodes = Annotated[int, typer.Option("--nodes", min=1, help="machines, for --print-launch")]
PrintLaunch = Annotated[
    str | None, typer.Option("--print-launch", metavar="slurm", help="print a batch script and stop")
]
SaveEvery = Annotated[int, typer.Option("--save-every", metavar="N", help="checkpoint every N steps")]
SaveMinutes = Annotated[float, typer.Option("--save-minutes", metavar="M", help="and every M minutes")]
AsyncSave = Annotated[
    bool | None, typer.Option("--async-save/--no-async-save", help="write checkpoints meanwhile [on CUDA]")
]
Keep = Annotated[int, typer.Option("--keep", metavar="N", help="newest checkpoints kept")]
Resume = Annotated[bool, typer.Option("--resume", help="continue the run in OUT")]
SavePatch = Annotated[
    Path | None, typer.Option("--save-patch", metavar="FILE", help="what was trained, as a patch of MODEL")
]
EvalData = Annotated[
    list[str] | None, typer.Option("--eval-data", metavar="LANG=FILE", help="bits per byte of it; repeat or a,b")
]
EvalEvery = Annotated[int, typer.Option("--eval-every", metavar="N", help="steps; 0: at start and end")]
SourceLang = Annotated[
    str | None, typer.Option("--source-lang", metavar="LANG", help="of --eval-data: must not be forgotten")
]
ForgetLimit = Annotated[
    float, typer.Option("--forget-limit", metavar="SHARE", help="rise of its bits per byte that is too much")
]
OnForgetting = Annotated[
    str, typer.Option("--on-forgetting", metavar="warn|stop", help="what to do past --forget-limit")
]
Track = Annotated[
    list[str] | None, typer.Option("--track", metavar="tensorboard|wandb|trackio", help="curves there too; may repeat")
]
Plot = Annotated[
    Path | None,
    typer.Option(
        "--plot", metavar="FILE", help="the curves (.png, .svg, .pdf) [OUT/curves.png if matplotlib is there]"
    ),
]
NoPlot = Annotated[bool, typer.Option("--no-plot", help="draw no curves")]
TokenizerPath = Annotated[Path | None, typer.Option("--tokenizer", metavar="TOK", help="when it is not in MODEL")]
ChatTemplatePath = Annotated[
    Path | None, typer.Option("--chat-template", metavar="FILE", help="Jinja file; kept in OUT")
]
Memory = Annotated[
    float | None, typer.Option("--memory", metavar="GB", help="of a device, for --dry-run [this machine's]")
]


def join_values(argv: list[str]) -> list[str]:
    """`--train neurons FILE` and `--train layers 0-3` as one value each."""
    for place, word in enumerate(argv[:-2]):
        if word == "--train" and argv[place + 1] in ("neurons", "layers"):
            return [*argv[: place + 1], f"{argv[place + 1]}={argv[place + 2]}", *join_values(argv[place + 3 :])]
    return argv
