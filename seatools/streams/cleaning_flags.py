"""The flags of cleaning, the same in `sea clean` and `sea mix`; `text/cleaning/options.py` makes options of them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class NormalizeChoice(StrEnum):
    """The form of Unicode that documents get."""

    none = "none"
    nfc = "nfc"
    zawgyi = "zawgyi"


class ZeroWidthChoice(StrEnum):
    """What happens to characters that nobody sees."""

    none = "none"
    repair = "repair"
    without_breaks = "strip"  # `strip` is a method of strings


Normalize = Annotated[
    NormalizeChoice, typer.Option("--normalize", help="Unicode form; zawgyi: Zawgyi to Unicode where found, then NFC")
]
ZeroWidth = Annotated[
    ZeroWidthChoice,
    typer.Option(
        "--zero-width", help="invisible characters: keep, only the meaningful, not Khmer's word breaks either"
    ),
]
KeepLang = Annotated[str | None, typer.Option("--lang", metavar="LANG,...", help="keep documents in these languages")]
LangId = Annotated[
    str,
    typer.Option(
        "--lang-id", metavar="script|cld2|fasttext:FILE|PLUGIN", help="what tells languages (cld2, fasttext: lid)"
    ),
]
LangCheck = Annotated[
    bool, typer.Option("--lang-check", help="reject documents in another language than their lang or label")
]
WriteLang = Annotated[bool, typer.Option("--write-lang", help="write lang into records that have none")]
Dedup = Annotated[
    list[str] | None,
    typer.Option("--dedup", metavar="exact|near[:0.8]", help="keep the first of equal or of similar documents"),
]
Quality = Annotated[bool, typer.Option("--quality", help="reject repetition, menus, markup, broken encodings")]
QualityRules = Annotated[
    str | None, typer.Option("--quality-rules", metavar="FILE.toml", help="other limits for --quality, by language")
]
Decontaminate = Annotated[
    list[str] | None,
    typer.Option("--decontaminate", metavar="FILE", help="reject documents that hold a piece of these tests; @list"),
]
ScoreWith = Annotated[
    str | None, typer.Option("--score-with", metavar="MODEL", help="keep the documents that this model finds likeliest")
]
ScoreQuantile = Annotated[
    str | None,
    typer.Option("--score-quantile", metavar="0.3|th=0.3,...", help="share that is kept, by language [default: 0.5]"),
]
RejectsFile = Annotated[
    str | None, typer.Option("--rejects", metavar="FILE", help="where rejected documents go, each with its reason")
]
