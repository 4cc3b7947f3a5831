"""The flags that the commands of `sea lsn-detect` share: those of a pass over texts, and those of a choice."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Method(StrEnum):
    """How neurons are chosen."""

    lape = "lape"
    plnd = "plnd"
    magnitude = "magnitude"
    taylor = "taylor"
    random = "random"


Model = Annotated[Path, typer.Argument(metavar="MODEL", help="a Hugging Face model folder")]
Lang = Annotated[
    list[str] | None, typer.Option("--lang", metavar="LANG=GLOB", help="text of a language; once for each")
]

# Of a pass over texts.
SeqLen = Annotated[
    int | None,
    typer.Option("--seq-len", metavar="N", help="tokens in a packed row; longer documents are cut [512, or fewer]"),
]
MaxTokens = Annotated[str, typer.Option("--max-tokens", metavar="N", help="tokens read per language")]
MinDocTokens = Annotated[int, typer.Option("--min-doc-tokens", metavar="N", help="leave shorter documents out")]
BatchTokens = Annotated[int, typer.Option("--batch-tokens", metavar="N", help="tokens in a forward pass")]
QK = Annotated[
    str, typer.Option("--qk", metavar="closed|exact", help="q and k: first order in the softmax, or exact and slow")
]
ExactNorm = Annotated[
    bool, typer.Option("--exact-norm", help="ffn: the change after the norm of a block's output (Gemma 2, 3)")
]
StopJaccard = Annotated[
    float | None,
    typer.Option("--stop-jaccard", metavar="J", help="stop reading when the choices of both halves agree so well"),
]
CheckEvery = Annotated[
    str, typer.Option("--check-every", metavar="N", help="tokens per language between two such looks")
]
NumProcesses = Annotated[
    str | None, typer.Option("--nproc", metavar="N|auto", help="processes on this machine, one a GPU")
]
TokenizerPath = Annotated[Path | None, typer.Option("--tokenizer", metavar="TOK", help="when it is not in MODEL")]
Parts = Annotated[
    str | None,
    typer.Option(
        "--parts", metavar="ffn|shared|q|k|v|o|attention|all[,...]", help="attention: q,k,v,o; q and k cost most"
    ),
]

# Of a choice.
MethodFlag = Annotated[Method, typer.Option("--method", help="how neurons are chosen")]
Percentile = Annotated[float, typer.Option("--percentile", help="lape: active in a language is above this percentile")]
Share = Annotated[
    float,
    typer.Option("--share", help="lape: of all FFN neurons, kept; magnitude, taylor: of those looked at, a language"),
]
Top = Annotated[
    int | None, typer.Option("--top", min=1, metavar="N", help="lape, plnd, magnitude, taylor: the N best a language")
]
MinDocs = Annotated[
    float, typer.Option("--min-docs", metavar="SHARE", help="plnd: in this share of the documents; 1: in each")
]
Core = Annotated[
    str, typer.Option("--core", metavar="all|N", help="plnd: take away what all languages have, or N of them")
]
Like = Annotated[
    Path | None, typer.Option("--like", metavar="FILE", help="random: as many neurons as in this neuron file")
]
Plot = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE.png", help="draw layers and overlap (the plot extra)")
]
