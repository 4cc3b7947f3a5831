"""The two-letter code of a language tag, as data sets and people write them; id and ms stay apart here.

For what cannot be told apart in a text, see `identify.same_language`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_THREE_LETTERS = (
    "tha=th lao=lo khm=km mya=my vie=vi ind=id zsm=ms msa=ms tgl=tl fil=tl jav=jv sun=su zho=zh cmn=zh yue=zh eng=en "
    "tam=ta tel=te ben=bn hin=hi jpn=ja kor=ko deu=de fra=fr spa=es por=pt ita=it rus=ru swa=sw swh=sw tur=tr ara=ar "
    "arb=ar nld=nl pol=pl bul=bg hun=hu slv=sl srp=sr est=et hat=ht quy=qu quz=qu jw=jv ell=el fas=fa heb=he urd=ur "
    "mar=mr nep=ne sin=si ukr=uk"
)
_LONG = {long: short for long, _, short in (pair.partition("=") for pair in re.split(" ", _THREE_LETTERS))}


_NAMES = (
    "thai=th laotian=lo khmer=km cambodian=km burmese=my myanmar=my vietnamese=vi indonesian=id malay=ms "
    "tagalog=tl filipino=tl javanese=jv sundanese=su cebuano=ceb ilocano=ilo minangkabau=min balinese=ban hmong=hmn "
    "shan=shn chinese=zh mandarin=zh english=en tamil=ta telugu=te bengali=bn hindi=hi japanese=ja korean=ko german=de "
    "french=fr spanish=es portuguese=pt italian=it russian=ru swahili=sw turkish=tr arabic=ar dutch=nl polish=pl"
)
_CODE_OF_NAME = {name: code for name, _, code in (pair.partition("=") for pair in _NAMES.split())}


def base_language(lang: str) -> str:
    """th_TH, th-TH, tha_Thai, zsm_Latn -> th, th, th, ms."""
    code = re.split(r"[-_]", lang.lower())[0]
    return _LONG.get(code, code)


def meant(word: str, known: Iterable[str] = ()) -> str | None:
    """The code that someone means who writes a language's English name, or another spelling of one of `known`: Thai
    -> th; tha -> th where th is known, and the other way round. None where nothing is recognised."""
    code = _CODE_OF_NAME.get(word.strip().lower())
    wanted = code or base_language(word)
    return next((tag for tag in known if word != tag and base_language(tag) == wanted), code)
