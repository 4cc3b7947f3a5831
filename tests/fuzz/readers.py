"""The list of readers under test: name -> function and inputs to begin from (`tests/fuzz/corpus/NAME` holds more)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from fuzz import model_readers, stream_readers, text_readers
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
}


@lru_cache
def _seeds() -> dict[str, list[bytes]]:
    return {**stream_readers.SEEDS, **text_readers.SEEDS, **model_readers.seeds()}


def seeds_of(name: str) -> list[bytes]:
    """The inputs to begin from."""
    return _seeds()[name]


def corpus_of(name: str) -> list[Path]:
    """The kept inputs of a reader."""
    return sorted(path for path in (CORPUS / name).glob("*") if path.is_file())
