"""The texts of ../shared/data by language, as documents, for the benchmarks of `sea vocab-extend`.

FLORES dev is what the tables are measured on, so nothing that holds its sentences is here: not flores200, and not
sib200 or belebele, which are made from it. Markdown loses its code. The words of mono/km_prompts, which have spaces
between them, get zero-width spaces instead, as Khmer text has them where words are marked at all. ntrex/mya and
mono/my_voa are Zawgyi: whoever reads Burmese with `legacy=True` asks `sea` for `--normalize zawgyi`.
"""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SHARED = Path(os.environ.get("SEA_SHARED") or Path(__file__).resolve().parents[2] / "shared")
DATA, TOKENIZERS = SHARED / "data", SHARED / "tokenizers"
LANGUAGES = ("th", "lo", "km", "my", "vi", "id", "ms", "tl")
NTREX = {"th": "tha", "lo": "lao", "km": "khm", "my": "mya", "vi": "vie", "id": "ind", "ms": "msa", "tl": "fil"} | {
    "en": "eng", "fr": "fra", "de": "deu"
}  # fmt: skip
FLORES = {
    "th": "tha_Thai", "lo": "lao_Laoo", "km": "khm_Khmr", "my": "mya_Mymr", "vi": "vie_Latn", "id": "ind_Latn",
    "ms": "zsm_Latn", "tl": "tgl_Latn", "en": "eng_Latn", "zh": "zho_Hans", "ja": "jpn_Jpan", "ru": "rus_Cyrl",
    "ta": "tam_Taml",
}  # fmt: skip
_UDHR = {"th": "tha", "lo": "lao", "km": "khm", "my": "mya", "vi": "vie", "id": "ind", "ms": "mly_latn", "tl": "tgl"}
_UDHR |= {"en": "eng", "fr": "fra", "de": "deu_1996"}
_MONO = {
    "th": ("th_thaigov.jsonl", "th_tldr.jsonl"), "lo": ("lo_tldr.jsonl",), "km": ("km_prompts.jsonl",),
    "my": ("my_shn_wiki.jsonl", "my_voa.jsonl"), "vi": ("vi_wiki.jsonl", "vi_commonvoice.txt"),
    "id": ("id_reactdocs.jsonl", "id_tldr.jsonl", "id_commonvoice.txt", "id_ud_gsd.txt"),
    "en": ("en_speeches.jsonl", "en_commonvoice.txt"),
}  # fmt: skip
_CODE = re.compile(r"```.*?```|`[^`\n]*`|<[^>\n]*>|\{/\*.*?\*/\}|\]\([^)\n]*\)", re.DOTALL)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8") as stream:
        for line in stream:
            yield json.loads(line)


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line]


def flores(lang: str) -> list[str]:
    """The 997 sentences of FLORES dev."""
    return _lines(DATA / "flores200" / "dev" / f"{FLORES[lang]}.txt")


def ntrex(lang: str, half: str = "both") -> list[str]:
    """NTREX, or every second of its documents: "first" (the 1st, 3rd, ...) or "second"."""
    lines = _lines(DATA / "ntrex" / f"{NTREX[lang]}.txt")
    names = _lines(DATA / "ntrex" / "doc_ids.txt")
    if half == "both":
        return lines
    order = {name: number for number, name in enumerate(dict.fromkeys(names))}
    wanted = 0 if half == "first" else 1
    return [line for line, name in zip(lines, names, strict=True) if order[name] % 2 == wanted]


def _mono(lang: str, legacy: bool) -> Iterator[str]:
    for name in _MONO.get(lang, ()):
        path = DATA / "mono" / name
        if path.suffix == ".txt":
            yield from _lines(path)
        elif name != "my_voa.jsonl" or legacy:
            for row in _rows(path):
                if row["lang"] == lang:
                    text = row["text"]
                    if name.endswith(("tldr.jsonl", "reactdocs.jsonl")):
                        text = _CODE.sub(" ", text)
                    elif name == "km_prompts.jsonl":
                        text = text.replace(" ", "\u200b")
                    yield text


def _tests(lang: str) -> Iterator[str]:
    for split in ("dev", "test"):
        path = DATA / "global_mmlu_lite" / f"{lang}.{split}.jsonl"
        for row in _rows(path) if path.exists() else ():
            prompts = row["prompts"]
            for prompt in ast.literal_eval(prompts) if isinstance(prompts, str) else prompts:
                yield "\n".join(str(value) for value in prompt.values())
    for split in ("val", "test"):
        path = DATA / "xcopa" / f"{lang}.{split}.jsonl"
        for row in _rows(path) if path.exists() else ():
            yield f"{row['premise']} {row['choice1']} {row['choice2']}"
    path = DATA / "xquad" / f"{lang}.jsonl"
    seen: set[str] = set()
    for row in _rows(path) if path.exists() else ():
        if row["context"] not in seen:
            seen.add(row["context"])
            yield row["context"]
        yield row["question"]
    path = DATA / "mgsm" / f"{lang}.jsonl"
    for row in _rows(path) if path.exists() else ():
        yield row["question"]
    for path in sorted((DATA / "nusax").glob("indonesian.*.jsonl")) if lang == "id" else ():
        for row in _rows(path):
            yield row["text"]


def training(lang: str, *, half: str = "both", legacy: bool = True) -> list[str]:
    """All documents of a language but FLORES's; `half` of NTREX, `legacy`: Burmese in Zawgyi too."""
    documents = [*_mono(lang, legacy), *_tests(lang)]
    if lang != "my" or legacy:
        documents += ntrex(lang, half)
    for row in _rows(DATA / "udhr" / "udhr_all.jsonl"):
        if row["key"] == _UDHR.get(lang):
            documents += row["paragraphs"]
    return [text for text in documents if text.strip()]


def write_documents(path: Path, documents: list[str]) -> int:
    """One JSON record a document; the bytes of text."""
    with open(path, "w", encoding="utf-8") as stream:
        for text in documents:
            stream.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    return sum(len(text.encode()) for text in documents)
