"""Stage `base` of lsn_effect.py: texts of eight languages, a tokenizer, and a Llama of 4 million parameters.

The texts are those of shared/data but FLORES-200 (and what is made of it: SIB-200, Belebele), on which is measured; a
document that holds a piece of FLORES dev is taken out by `sea mix --decontaminate`. Sentences of one source are joined
to documents of eight, as the released methods read documents. Burmese of VOA is Zawgyi and is turned into Unicode by
`sea clean`. Javanese is held short on purpose: an eighth of its Wikipedia goes into the base and is read twice, the
rest is for the stage `enhance`. The others have the same share of the tokens as far as five epochs of their text reach
(`sea mix --unimax`).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from record import record

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("SEA_SHARED") or REPOSITORY.parent / "shared")
DATA = SHARED / "data"
SEA = [sys.executable, "-m", "seatools"]
FLORES = {
    "en": "eng_Latn", "vi": "vie_Latn", "th": "tha_Thai", "id": "ind_Latn",
    "jv": "jav_Latn", "km": "khm_Khmr", "lo": "lao_Laoo", "my": "mya_Mymr",
}  # fmt: skip
NTREX = {"en": "eng", "vi": "vie", "th": "tha", "id": "ind", "km": "khm", "lo": "lao", "my": "mya"}
UDHR = {"eng": "en", "vie": "vi", "tha": "th", "ind": "id", "jav": "jv", "khm": "km", "lao": "lo", "mya": "my"}
SENTENCES = {  # one sentence a line or record: joined by eights
    "en": ("mono/en_commonvoice.txt",),
    "vi": ("mono/vi_commonvoice.txt",),
    "id": ("mono/id_commonvoice.txt", "mono/id_ud_gsd.txt", "nusax/indonesian.train.jsonl"),
    "jv": ("nusax/javanese.train.jsonl", "nusax/javanese.valid.jsonl"),
    "km": ("mono/km_prompts.jsonl",),
}
DOCUMENTS = {
    "en": ("mono/en_speeches.jsonl", "xquad/en.jsonl"),
    "vi": ("mono/vi_wiki.jsonl", "xquad/vi.jsonl"),
    "th": ("mono/th_thaigov.jsonl", "xquad/th.jsonl"),
    "id": ("mono/id_tldr.jsonl", "global_mmlu_lite/id.test.jsonl", "global_mmlu_lite/id.dev.jsonl"),
    "lo": ("mono/lo_tldr.jsonl",),
    "my": ("mono/my_voa.jsonl", "global_mmlu_lite/my.test.jsonl", "global_mmlu_lite/my.dev.jsonl"),
}
LOW = "jv"  # the language that is short in the base and enhanced later
LOW_SHARE, HELD_OUT, JOIN = 8, 60, 8  # one document of eight for the base; documents held out; sentences a document
VOCABULARY, ROW, BATCH = 8_000, 256, 16
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": 192,
    "intermediate_size": 512, "num_hidden_layers": 6, "num_attention_heads": 6, "num_key_value_heads": 2,
    "head_dim": 32, "max_position_embeddings": 1024, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
    "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "initializer_range": 0.02,
}  # fmt: skip


def sea(*arguments: object, stdout: int | None = subprocess.DEVNULL, workers: bool = True) -> None:
    """One `sea` command, of this repository, in one thread; what goes wrong is raised. `workers`: it has that flag."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    one = ["--workers", "1"] if workers else []
    subprocess.run([*SEA, *map(str, arguments), *one], check=True, env=environment, stdout=stdout)


def lines_of(path: Path) -> list[str]:
    """Lines as \\n ends them: str.splitlines also cuts at characters that JSON strings may hold."""
    return path.read_text(encoding="utf-8").rstrip("\n").split("\n")


def texts_of(path: Path) -> Iterator[str]:
    """The texts of a .txt file or of JSONL with a text, a context and question (XQuAD) or prompts (MMLU)."""
    seen: set[str] = set()
    for line in lines_of(path):
        if path.suffix == ".txt":
            yield line.strip().lstrip("\ufeff")
            continue
        record = json.loads(line)
        if "prompts" in record:
            prompt = record["prompts"][0]
            choices = prompt.get("choices", ())
            yield "\n".join([prompt["question"], *(choices if isinstance(choices, list) else map(str, choices))])
        elif "context" in record:
            if record["context"] not in seen:
                seen.add(record["context"])
                yield record["context"].lstrip("\ufeff")
        else:
            yield record["text"]


def joined(sentences: Iterable[str], count: int = JOIN) -> list[str]:
    """Documents of `count` sentences in an order that a seed gives."""
    found = [sentence for sentence in sentences if sentence]
    random.Random(7).shuffle(found)
    return ["\n".join(found[at : at + count]) for at in range(0, len(found), count)]


def write(path: Path, documents: Sequence[str]) -> None:
    """JSONL of texts; the file is there only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in documents), "utf-8")
    part.rename(path)


def gather(work: Path) -> None:
    """WORK/text/LANG.jsonl of every language, WORK/more.jsonl and held.jsonl of the low one, WORK/flores/LANG.txt."""
    declarations = [json.loads(line) for line in lines_of(DATA / "udhr/udhr_all.jsonl")]
    ntrex_docs = lines_of(DATA / "ntrex/doc_ids.txt")
    for lang in FLORES:
        documents = [text for name in DOCUMENTS.get(lang, ()) for text in texts_of(DATA / name)]
        for name in SENTENCES.get(lang, ()):
            documents += joined(texts_of(DATA / name))
        if lang in NTREX:
            by_document: dict[str, list[str]] = {}
            for name, line in zip(ntrex_docs, lines_of(DATA / f"ntrex/{NTREX[lang]}.txt"), strict=True):
                by_document.setdefault(name, []).append(line)
            documents += ["\n".join(lines) for lines in by_document.values()]
        for declaration in declarations:
            if UDHR.get(declaration["key"]) == lang:
                documents += ["\n".join(declaration["paragraphs"][at : at + 12]) for at in range(0, 200, 12)]
        if lang == LOW:
            wiki = joined(texts_of(DATA / "mono/jv_wiki.txt"))
            documents += wiki[::LOW_SHARE]
            rest = [text for number, text in enumerate(wiki) if number % LOW_SHARE]
            write(work / "held.jsonl", rest[:HELD_OUT])
            write(work / "more.jsonl", rest[HELD_OUT:])
        raw = work / f"raw/{lang}.jsonl"
        write(raw, [text for text in documents if text.strip()])
        cleaned = work / f"text/{lang}.jsonl"
        cleaned.parent.mkdir(exist_ok=True)
        zawgyi = ("--normalize", "zawgyi") if lang == "my" else ()
        sea("clean", raw, "--zero-width", "repair", *zawgyi, "--force", "-q", "-o", cleaned)
        flores = work / f"flores/{lang}.txt"
        flores.parent.mkdir(exist_ok=True)
        flores.write_bytes((DATA / f"flores200/dev/{FLORES[lang]}.txt").read_bytes())


def train_tokenizer(work: Path) -> None:
    """WORK/tok: SentencePiece BPE with byte fallback on as many bytes of each language (800 kB at most)."""
    import sentencepiece

    sample = work / "tokenizer.txt"
    with open(sample, "w", encoding="utf-8") as stream:
        for lang in FLORES:
            room = 800_000
            texts = [json.loads(line)["text"] for line in lines_of(work / f"text/{lang}.jsonl")]
            random.Random(7).shuffle(texts)
            for line in (line for text in texts for line in text.split("\n") if line.strip()):
                stream.write(line + "\n")
                room -= len(line.encode())
                if room < 0:
                    break
    folder = work / "tok"
    folder.mkdir(exist_ok=True)
    sentencepiece.SentencePieceTrainer.train(
        input=str(sample), model_prefix=str(folder / "tokenizer"), vocab_size=VOCABULARY, model_type="bpe",
        byte_fallback=True, character_coverage=0.9999, normalization_rule_name="identity", pad_id=0, bos_id=1, eos_id=2,
        unk_id=3, num_threads=1, max_sentence_length=20_000, remove_extra_whitespaces=False, minloglevel=2,
    )  # fmt: skip


def record_base(work: Path) -> None:
    """A line of results: bits per byte of 40 FLORES lines by the base, and by unigrams of the language's own text."""
    from seatools.text.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(work / "base")
    unigram, tokens = {}, {}
    for lang in FLORES:
        counts = np.ones(VOCABULARY)
        for line in lines_of(work / f"text/{lang}.jsonl"):
            np.add.at(counts, tokenizer.encode(json.loads(line)["text"]), 1)
        lines = lines_of(work / f"few/{lang}.txt")
        ids = np.concatenate([tokenizer.encode(line) for line in lines])
        bits = -np.log2(counts / counts.sum())[ids].sum()
        unigram[lang] = round(float(bits) / sum(len(line.encode()) for line in lines), 4)
        tokens[lang] = int(counts.sum()) - VOCABULARY
    metrics = [json.loads(line) for line in lines_of(work / "base/metrics.jsonl")]
    last = [line for line in metrics if line.get("kind") == "eval"][-1]
    bits_per_byte = {lang: round(last[lang]["bits_per_byte"], 4) for lang in FLORES}
    record("lsn_effect", {"stage": "base", "bits": bits_per_byte, "unigram": unigram, "tokens": tokens})


def make_base(work: Path, *, steps: int, lr: float, optimizer: str) -> None:
    """All of the stage; what is there is kept, and a run that was stopped goes on.

    Muon at 7e-3: of AdamW at 3e-3 and Muon at 3e-3, 7e-3, 1.5e-2 the lowest loss after 40 steps (7.27, 6.60, 6.36,
    6.39).
    """
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "flores/my.txt").exists():
        gather(work)
    if not (work / "tok/tokenizer.model").exists():
        train_tokenizer(work)
    start = work / "config"
    if not (start / "config.json").exists():
        start.mkdir()
        (start / "config.json").write_text(json.dumps(CONFIG, indent=1))
        (start / "tokenizer.model").write_bytes((work / "tok/tokenizer.model").read_bytes())
    packed = work / "base.safetensors"
    if not packed.exists():
        tests = work / "tests.list"
        tests.write_text("".join(f"{work}/flores/{lang}.txt\n" for lang in FLORES))
        sources = [f"{lang}={work}/text/{lang}.jsonl" + (":@2" if lang == LOW else "") for lang in FLORES]
        budget = steps * ROW * BATCH
        sea(
            "mix", *sources, "--tokenizer", start, "--unimax", "--max-epochs", 5, "--budget", budget, "--pack", ROW,
            "--decontaminate", f"@{tests}", "--on-exhaust", "renormalize", "--no-index", "-o", packed,
        )  # fmt: skip
    if not (work / "base/model.safetensors").exists():
        evaluated = ",".join(f"{lang}={work}/few/{lang}.txt" for lang in FLORES)
        for lang in FLORES:
            path = work / f"few/{lang}.txt"
            path.parent.mkdir(exist_ok=True)
            path.write_text("\n".join(lines_of(work / f"flores/{lang}.txt")[:40]) + "\n")
        sea(
            "train", start, packed, "-o", work / "base", "--from-config", "--seq-len", ROW, "--batch-size", BATCH,
            "--max-steps", steps, "--lr", lr, "--optimizer", optimizer, "--warmup", 0.03, "--eval-data", evaluated,
            "--eval-every", 200, "--save-minutes", 4, "--seed", 0, "--no-plot", "--resume",
        )  # fmt: skip
        record_base(work)
