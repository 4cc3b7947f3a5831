"""The list of readers under test: name -> function and inputs to begin from (`tests/fuzz/corpus/NAME` holds more)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from fuzz import data_readers, model_readers, pair_readers, run_readers, setting_readers, stream_readers, text_readers
from fuzz.contract import Reader

CORPUS = Path(__file__).parent / "corpus"
READERS: dict[str, Reader] = {
    "records": stream_readers.read_records,
    "compressed": stream_readers.read_compressed,
    "inputs": stream_readers.read_inputs,
    "safetensors": stream_readers.read_safetensors,
    "config": stream_readers.read_config,
    "tokenizer": text_readers.read_tokenizer,
    "ranks": text_readers.read_ranks,
    "sentencepiece": text_readers.read_sentencepiece,
    "chat": text_readers.read_chat,
    "packed": text_readers.read_packed_data,
    "model": model_readers.read_model,
    "patch": model_readers.read_patch,
    "neurons": model_readers.read_neurons,
    "plan": model_readers.read_plan,
    "index": model_readers.read_index,
    "task": model_readers.read_task,
    "samples": model_readers.read_samples,
    "tokens": model_readers.read_tokens,
    "manifest": run_readers.read_manifests,
    "checkpoint": run_readers.read_checkpoint,
    "reference": run_readers.read_reference,
    "partial": run_readers.read_partial,
    "pairs": pair_readers.read_pairs,
    "judge": pair_readers.read_judged,
    "criteria": pair_readers.read_criteria,
    "items": data_readers.read_items,
    "rules": data_readers.read_rules,
    "settings": setting_readers.read_settings,
    "plugins": setting_readers.read_plugins,
}


@lru_cache
def _seeds() -> dict[str, list[bytes]]:
    made = (module.seeds() for module in (model_readers, run_readers, pair_readers, data_readers, setting_readers))
    return {**stream_readers.SEEDS, **text_readers.SEEDS, **{name: own for part in made for name, own in part.items()}}


def seeds_of(name: str) -> list[bytes]:
    """The inputs to begin from."""
    return _seeds()[name]


def corpus_of(name: str) -> list[Path]:
    """The kept inputs of a reader."""
    return sorted(path for path in (CORPUS / name).glob("*") if path.is_file())
