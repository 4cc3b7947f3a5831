"""The language of a text by CLD2 (the `lid` extra), and which tags mean one language.

Accuracy per language on UDHR and NTREX, beside the script alone and fastText: docs/language-id.md. No library
separates Indonesian from Malay, so the two count as one. CLD2 refuses control characters: they are taken out first.
"""

from __future__ import annotations

import re

from seatools.streams.extras import require

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]")
_SAME = {"ms": "id", "jw": "jv", "fil": "tl", "iw": "he"}
# Three letters, as data sets and GlotLID label, to the two that CLD2 and lid.176 use.
_THREE_LETTERS = (
    "th=tha lo=lao km=khm my=mya vi=vie en=eng zh=zho,cmn,yue jv=jav su=sun ta=tam ja=jpn ru=rus fr=fra de=deu hi=hin "
    "ar=arb,ara id=ind ms=msa,zsm tl=tgl es=spa pt=por it=ita nl=nld tr=tur sw=swa,swh hu=hun sl=slv bn=ben te=tel "
    "si=sin ur=urd fa=fas,pes he=heb bg=bul uk=ukr el=ell ko=kor ne=nep,npi mr=mar gu=guj kn=kan ml=mal pa=pan bo=bod "
    "pl=pol cs=ces sk=slk ro=ron sv=swe da=dan fi=fin et=est,ekk lt=lit lv=lav,lvs ca=cat eu=eus gl=glg hy=hye ka=kat "
    "sr=srp mk=mkd"
)
_TWO_LETTERS = {long: pair[:2] for pair in re.split(" ", _THREE_LETTERS) for long in pair[3:].split(",")}


def identify(text: str) -> str | None:
    """The language code of `text` (two letters where there are two), or None where CLD2 is not sure of any."""
    cld2 = require("pycld2")
    try:
        _, _, details = cld2.detect(_CONTROLS.sub(" ", text), isPlainText=True)
    except cld2.error:
        return None
    code = details[0][1]
    return None if code == "un" or code.startswith("xx") else same_language(code)  # xx-Java: a script, no language


def same_language(tag: str) -> str:
    """The name under which two tags that cannot be told apart are one: th_TH, tha -> th; ms, id -> id."""
    code = re.split(r"[-_]", tag.lower())[0]
    code = _TWO_LETTERS.get(code, code)
    return _SAME.get(code, code)
