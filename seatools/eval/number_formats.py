"""Numbers as people write them, in any script: ๑,๒๓๔.๕ and 1.234,5 and 12,34,567 and -$5 and 3万.

Digits are those of every Unicode script. What the separators say is read from the number itself where it can be (two
kinds of them, groups not of three); one separator before three digits is ambiguous and goes by the language, after
CLDR: 1.234 is a thousand in Indonesian and one and a bit in Thai. Fractions, dates, times and version numbers are left
alone: 3/4 is neither 3 nor 4. The 41 large or broken numbers of FLORES dev's English are all found again in th, lo, km,
vi, tl, jv, su, zh and tr; in ms, min and ru 40, in id 39, the others being the translators' own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from seatools.text.composed import composed
from seatools.text.language_tags import base_language

# Languages that write 1.234,5 (or 1 234,5). All others are read as 1,234.5.
COMMA_DECIMAL = frozenset(
    re.split(
        " ",
        "id vi jv min ban bug ace bjn mad tet de es fr pt it nl ru uk be bg pl cs sk sl sr hr bs mk hu ro tr "
        "az kk uz el sq da sv nb nn no fi et lv lt is ca gl eu ht qu",
    )
)
# Those whose texts write both: either sign before three digits is taken for thousands, a broken part of three is rare.
# FLORES and NTREX hold 1,234 and 1.234: lo 41, 2; km 31, 5; su 19, 8; jv 11, 17; ban 5, 20; min 4, 25.
MIXED = frozenset(("lo", "km", "su", "jv", "ban", "min"))
# Those in which a space separates thousands too: 3 000.
SPACED = frozenset(
    re.split(" ", "vi de es fr pt it ru uk be bg pl cs sk sl sr hr hu ro fi sv nb nn no et lv lt kk uz ht")
)
# Numbers after numbers. Only what stands there as a word of its own, or in scripts without spaces cannot be another.
_MULTIPLIERS = {
    10**3: "thousand ribu ewu nghìn ngàn libo libong mil tausend тысяч тысячи тысяча พัน ພັນ ពាន់ ထောင် ஆயிரம் 千 천",
    10**4: "หมื่น ໝື່ນ ម៉ឺន သောင်း 万 萬 만",
    10**5: "lakh แสน ແສນ សែន သိန်း லட்சம் लाख লাখ",
    10**6: "million millions juta yuta triệu milyon milyong millionen millones milhões milhão milioni миллион миллиона "
    "миллионов млн ล้าน ລ້ານ លាន သန်း மில்லியன்",
    10**7: "crore கோடி करोड़ কোটি កោដិ",
    10**8: "亿 億 억",
    10**9: "billion billions miliar milyar bilion bilyon bilyong tỷ tỉ milliarde milliarden milliard milliards bilhões "
    "bilhão miliardi миллиард миллиарда миллиардов млрд ຕື້ ប៊ីលាន ဘီလီယံ பில்லியன்",
}
_FACTORS = {unicodedata.normalize("NFC", word): size for size, words in _MULTIPLIERS.items() for word in words.split()}
_CJK = "千万萬亿億"

_INVISIBLE = re.compile("[\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_NATIVE_DIGIT = re.compile(r"[^\D0-9]")
# Full-width forms and the signs of other keyboards. The full-width colon stays: after it a number begins.
_SIGNS = str.maketrans({"．": ".", "，": ",", "－": "-", "−": "-", "﹣": "-", "‑": "-", "‐": "-", "％": "%", "＄": "$",
                        "／": "/", "⁄": "/", "’": "'", "＝": "=", "＋": "+", "￥": "¥", "٪": "%"})  # fmt: skip
_CURRENCY = r"(?:US\$|S\$|RM|Rp\.?|[\$€£¥฿₫៛₭₱₹₽₩₦])"
_GAP = "\u00a0\u2007\u2009\u202f"  # spaces that do not end a line, within a number
_TOKEN = re.compile(rf"\d+(?:[.,'٬٫ {_GAP}]\d+){{0,12}}")  # more groups are a list, and read in one pass
_GLUED = re.compile(r"\d(?:[/:]|\s?/\s?)\d")
_GROUPS_OF_3 = re.compile(r"\d{1,3}(?:\D\d{3})+")
_INDIAN = re.compile(r"\d{1,2}(?:,\d{2})*,\d{3}")
_FACTOR = re.compile("[ ]?(" + "|".join(sorted(map(re.escape, _FACTORS), key=len, reverse=True)) + ")", re.IGNORECASE)


class Found(NamedTuple):
    """A number in a plain text: text[start:end], its sign, currency and multiplier included."""

    value: Decimal
    start: int
    end: int


def plain(text: str) -> str:
    """NFC with ASCII digits, without invisible characters, full-width signs made plain. Numbers are read from this."""
    text = composed(_INVISIBLE.sub("", text)).translate(_SIGNS)
    return _NATIVE_DIGIT.sub(lambda digit: str(unicodedata.decimal(digit[0])), text)


def read_number(token: str, lang: str) -> Decimal | None:
    """The value of digits with separators, as `plain` gives them; None where it is no number (1.2.3)."""
    token = re.sub(f"[{_GAP}]", " ", token).replace("٬", "'")
    token = token.replace("٫", "," if "." in token else ".") if "٫" in token else token
    kinds = {character for character in token if not character.isdigit()}
    if "٫" in token or len(kinds) > 2:
        return None
    if not kinds:
        return Decimal(token)
    if len(kinds) == 2:  # the last kind, if it is there once, is the decimal sign
        last = next(character for character in reversed(token) if not character.isdigit())
        whole, _, rest = token.rpartition(last)
        if last in " '" or last in whole or not _grouped(whole):
            return None
        return Decimal(re.sub(r"\D", "", whole) + "." + rest)
    sign = kinds.pop()
    if sign in " '" or token.count(sign) > 1:
        return Decimal(re.sub(r"\D", "", token)) if _grouped(token) else None
    whole, _, rest = token.partition(sign)
    if _GROUPS_OF_3.fullmatch(token) and not whole.startswith("0"):
        if base_language(lang) in MIXED:
            return Decimal(whole + rest)
        decimal_comma = base_language(lang) in COMMA_DECIMAL
        # 5,600: English thousands stand in other languages' texts (MGSM's own references), 5.6 is not written so.
        thousands = (rest.endswith("0") if decimal_comma else True) if sign == "," else decimal_comma
        if thousands:
            return Decimal(whole + rest)
    return Decimal(f"{whole}.{rest}")


def _grouped(token: str) -> bool:
    return bool(_GROUPS_OF_3.fullmatch(token) or _INDIAN.fullmatch(token))


def numbers(text: str, lang: str) -> Iterator[Found]:
    """The numbers of a text that went through `plain`, in order."""
    position = list_end = 0
    while match := _TOKEN.search(text, position):
        token, start = match[0], match.start()
        if 0 < list_end == start - 1 and text[list_end] in ", ":
            list_end = match.end()
        end = start + (_length(token, lang) if start >= list_end else len(re.split("[, ]", token)[0]))
        list_end = max(list_end, match.end() if end < match.end() else 0)
        position = end
        if _left_alone(text, start, end):
            while _GLUED.match(text, position - 1):  # the rest of the fraction, date, time
                position = _TOKEN.search(text, position).end()  # type: ignore[union-attr]  # _GLUED saw a digit
            continue
        value = read_number(text[start:end], lang)
        if value is None:
            continue
        value, end = _multiplied(text, value, end, lang)
        position = end
        start, negative = _signed(text, start)
        yield Found(-value if negative else value, start, end)


def _length(token: str, lang: str) -> int:
    """How much of a run of digits and separators is one number: "3, 4" is two, and so is "3 4" or 2,5,7."""
    spaced = base_language(lang) in SPACED
    for piece in re.finditer(r"[ ]", token):
        left, right = token[: piece.start()], token[piece.start() + 1 :]
        three = re.match(r"\d{3}(?!\d)", right) and re.fullmatch(r"\d{1,3}(?:[ ]\d{3})*", left)
        if not (spaced and three):
            return piece.start()
    commas = [piece.start() for piece in re.finditer(",", token)]
    if len(commas) > 1 and read_number(token, lang) is None:
        return commas[0]
    return len(token)


def _left_alone(text: str, start: int, end: int) -> bool:
    """Part of a fraction, a date, a time, a ratio, or the whole before a fraction (1 1/2)."""
    glued = _GLUED.match(text, end - 1) or (start > 1 and _GLUED.fullmatch(text, start - 2, start + 1))
    mixed = re.compile(r"[ ]\d+/\d").match(text, end)
    return bool(glued or mixed or text[end : end + 1] in tuple("½⅓⅔¼¾⅛"))


def _multiplied(text: str, value: Decimal, end: int, lang: str) -> tuple[Decimal, int]:
    """3 million, 5 ribu, 3万5000."""
    match = _FACTOR.match(text, end)
    if not match:
        return value, end
    word, after = match[1].lower(), text[match.end() : match.end() + 1]
    if word[0] in _CJK:
        value *= _FACTORS[word]
        rest = re.compile(rf"(\d+)([{_CJK}]?)").match(text, match.end())
        if rest:
            added = Decimal(rest[1]) * (_FACTORS[rest[2]] if rest[2] else 1)
            if added < _FACTORS[word]:
                return value + added, rest.end()
        return value, match.end()
    category = unicodedata.category(after)[0] if after else ""
    if (
        category == "M"
        or (category == "L" and word[0] < "\u0e00")
        or text.startswith(_GOES_ON.get(word, "\0"), match.end())
    ):
        return value, end
    if word in ("mil", "tỉ") and base_language(lang) not in ("es", "pt", "vi", "tl"):
        return value, end
    factor, end = _FACTORS[word], match.end()
    more = _FACTOR.match(text, end)
    if more and _FACTORS[more[1].lower()] > factor:  # พันล้าน, nghìn tỷ, mil millones
        factor, end = factor * _FACTORS[more[1].lower()], more.end()
    return value * factor, end


# Beginnings of other words: พันธุ์ (kind), แสนสาหัส (severe), ພັນລະຍາ (wife).
_GOES_ON = {"พัน": ("ธ",), "แสน": ("ส", "ด", "ง"), "ພັນ": ("ທ", "ລ", "ທະ")}


def _signed(text: str, start: int) -> tuple[int, bool]:
    """Where the number begins with its sign and currency: -5, -$5, $-5; not 10-5, not A-5."""
    before = re.compile(rf"(-?)[ ]?{_CURRENCY}[ ]?(-?)$|(-)$").search(text[max(0, start - 8) : start])
    if before is None:
        return start, False
    begin = start - len(before[0])
    if not (before[1] or before[2] or before[3]):
        return begin, False
    sign = begin + before[0].index("-")
    left = text[sign - 1 : sign] if sign else ""
    if before[0][0] == "-" and left and (left in ")]-" or (left.isascii() and left.isalnum())):
        return start, False
    return begin, True


def same_number(a: Decimal, b: Decimal, tolerance: float = 1e-6) -> bool:
    """Equal, or apart by at most `tolerance` of the larger."""
    return abs(a - b) <= Decimal(tolerance) * max(abs(a), abs(b))
