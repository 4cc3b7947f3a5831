"""The two-letter code of a language tag, as data sets and people write them; id and ms stay apart here.

For what cannot be told apart in a text, see `identify.same_language`.
"""

from __future__ import annotations

import re

_THREE_LETTERS = (
    "tha=th lao=lo khm=km mya=my vie=vi ind=id zsm=ms msa=ms tgl=tl fil=tl jav=jv sun=su zho=zh cmn=zh yue=zh eng=en "
    "tam=ta tel=te ben=bn hin=hi jpn=ja kor=ko deu=de fra=fr spa=es por=pt ita=it rus=ru swa=sw swh=sw tur=tr ara=ar "
    "arb=ar nld=nl pol=pl bul=bg hun=hu slv=sl srp=sr est=et hat=ht quy=qu quz=qu jw=jv"
)
_LONG = {long: short for long, _, short in (pair.partition("=") for pair in re.split(" ", _THREE_LETTERS))}


def base_language(lang: str) -> str:
    """th_TH, th-TH, tha_Thai, zsm_Latn -> th, th, th, ms."""
    code = re.split(r"[-_]", lang.lower())[0]
    return _LONG.get(code, code)
