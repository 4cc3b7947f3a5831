"""Readers of the model side and of the commands: model folders, patches, neurons, plans, tasks, samples, tokens."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import orjson
from fuzz.contract import check
from fuzz.layouts import as_input, folder_input, header_input, tensor_file, write_folder

from seatools.embed_init.checkpoint import read_checkpoint
from seatools.embed_init.subword_pieces import read_new_tokens
from seatools.engine.patch import Patch, bits, load_patch, write_patch
from seatools.streams.errors import SeaError

_WEIGHTS = ("model.safetensors", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
_MODEL = ("config.json", "generation_config.json", "model.safetensors.index.json", *_WEIGHTS)


def read_model(data: bytes, folder: Path) -> None:
    """A model folder by its headers: its tensors lie inside its own files."""
    from seatools.engine.load import check_folder, model_positions
    from seatools.text.stop_tokens import stop_ids

    write_folder(data, folder, _MODEL)
    refused = 0
    try:
        found = read_checkpoint(folder)
        for tensor in found.vocabulary_tensors:
            inside = tensor.path.parent == folder and tensor.start + tensor.num_bytes <= tensor.path.stat().st_size
            check(inside, "a tensor outside its file")
            check(tensor.open().size * tensor.open().dtype.itemsize == tensor.num_bytes, "not the bytes of its shape")
    except SeaError:
        refused += 1
    with contextlib.suppress(SeaError):
        stop_ids(SimpleNamespace(eos_id=1, bos_id=None), folder)  # type: ignore[arg-type]
    try:
        check_folder(folder)
        model_positions(folder)
    except SeaError:
        refused += 1
    if refused == 2:
        raise SeaError("refused")


def read_patch(data: bytes, folder: Path) -> None:
    """A patch, written again, is the same."""
    (folder / "p.safetensors").write_bytes(tensor_file(data))
    patch = load_patch(folder / "p.safetensors")
    for name, part in patch.parts.items():
        check(part.old.shape == part.new.shape, f"old and new of {name} differ in shape")
        if part.index is not None and part.dim is not None:
            check(part.index.size == 0 or 0 <= part.index.min() <= part.index.max() < part.shape[part.dim], "an index")
    with (folder / "q.safetensors").open("wb") as stream:
        write_patch(stream, patch)
    _check_same(patch, load_patch(folder / "q.safetensors"))


def _check_same(one: Patch, other: Patch) -> None:
    check(one.parts.keys() == other.parts.keys() and one.architecture == other.architecture, "another patch")
    check((one.languages, one.trained) == (other.languages, other.trained), "another patch")
    for name, part in one.parts.items():
        again = other.parts[name]
        check((part.shape, part.dtype, part.dim) == (again.shape, again.dtype, again.dim), "another part")
        check(
            np.array_equal(bits(part.new), bits(again.new)) and np.array_equal(bits(part.old), bits(again.old)),
            "values",
        )


def read_neurons(data: bytes, folder: Path) -> None:
    """Neurons, written again, are the same; `sea-neuron-statistics` by its own reader."""
    from seatools.engine.neurons import load_neurons, save_neurons
    from seatools.lsn_detect.table import load_stats

    path = folder / "n.safetensors"
    path.write_bytes(tensor_file(data))
    with contextlib.suppress(SeaError):
        load_stats([path])
    sets, metadata = load_neurons(path)
    save_neurons(folder / "m.safetensors", sets, metadata)
    again, _ = load_neurons(folder / "m.safetensors")
    check(again.keys() == sets.keys(), "other languages")
    for lang, weights in sets.items():
        for name, (indices, scores) in weights.items():
            check(np.array_equal(again[lang][name].indices, indices), "other indices")
            check(np.array_equal(again[lang][name].scores, scores), "other scores")


def read_plan(data: bytes, folder: Path) -> None:
    """`--plan`: sources, phases and settings as a mix takes them."""
    from seatools.mix.plan_file import read_plan_file
    from seatools.streams.source_specs import check_sources, parse_source

    (folder / "p.toml").write_bytes(data)
    for line in data.decode("utf-8", "replace").split("\n")[:4]:
        with contextlib.suppress(SeaError):
            parse_source(line)
    plan = read_plan_file(folder / "p.toml")
    check_sources(plan.sources)
    for spec in plan.sources:
        check(spec.weight is None or spec.weight >= 0, "a negative weight")
        check(spec.name and spec.glob, "a source without name or files")
        str(spec.weight), float(spec.weight or 0)
    for phase in plan.phases:
        check(all(weight >= 0 for weight in phase.weights.values()), "a negative weight")
    orjson.dumps({key: value for key, value in plan.settings.items() if isinstance(value, int | float | str)})


def read_index(data: bytes, folder: Path) -> None:
    """An index beside a data file: nothing, or columns that fit each other. Its checksum and identity are made true."""
    from seatools.mix import index_sidecar
    from seatools.mix.document_store import identity_of
    from seatools.mix.index_sidecar import Sidecars
    from seatools.streams.tensors import map_tensors, save_tensors

    source = folder / "a.jsonl"
    source.write_bytes(b'{"text": "a"}\n{"text": "b"}\n')
    told: list[str] = []
    sidecars = Sidecars(None, warn=told.append)
    path = sidecars.path_of(source)
    path.write_bytes(tensor_file(data))
    with contextlib.suppress(SeaError):
        tensors, metadata = map_tensors(path)
        tensors = {name: tensor.copy() for name, tensor in tensors.items()}
        metadata.pop("xxh3", None)
        metadata = {key: sidecars.key if value == "KEY" else value for key, value in metadata.items()}
        if metadata.get("identity") == "NOW":
            metadata["identity"] = json.dumps(identity_of(str(source)))
        if all(tensor.ndim for tensor in tensors.values()):
            metadata["xxh3"] = index_sidecar._checksum(tensors, metadata)
            save_tensors(path, tensors, metadata)
    found = sidecars.load(str(source))
    if found is None:
        raise SeaError("refused")
    index, sha256 = found
    check(isinstance(sha256, str), "no digest")
    check({len(column) for column in index.columns.values()} == {len(index)}, "columns of several lengths")
    check(all(isinstance(lang, str) for lang in index.langs), "a language that is no name")
    check(int(index.columns["lang_ids"].max(initial=0)) < max(len(index.langs), 1), "a language without a name")
    counts = (index.num_unk, index.num_sampled, index.num_not_nfc)
    check(all(type(number) is int and number >= 0 for number in counts), "a count that is none")
    for line in index.rejected:
        check(
            isinstance(line.raw, bytes) and isinstance(line.reason, str) and type(line.line) is int, "a rejected line"
        )


def read_task(data: bytes, folder: Path) -> None:
    """A task file with every variant, and its prompt of one row."""
    from seatools.eval.task_file import parse_task

    text = data.decode("utf-8", "replace")
    task = parse_task(text, "t.toml")
    for variant in task.variants[:3]:
        with contextlib.suppress(SeaError):
            parse_task(text, "t.toml", variant)
    row = {"question": "q", "choices": ["a", "b"], "answer": 0, "a": "x", "lang": "th"}
    task.recognises(row)
    if task.prompt is not None:
        with contextlib.suppress(SeaError):
            check(len(task.prompt.render(row | {"row": row, "lang": "th"})) < 8 << 20, "a prompt without bounds")


def read_samples(data: bytes, folder: Path) -> None:
    """A samples file: scores that are numbers or null."""
    from seatools.eval.results import as_jsonl, collect, scores
    from seatools.eval.sample_file import SampleFile
    from seatools.eval.samples import SampleReader

    path = folder / "s.jsonl"
    path.write_bytes(data)
    for record in as_jsonl(scores(collect(SampleReader([str(path)])), resamples=4)).splitlines():
        value = orjson.loads(record)["value"]
        check(value is None or isinstance(value, int | float), "a score that is no number")
    with SampleFile(path) as samples:
        size = len(samples)
    check(size == len({sample.key for sample in SampleReader([str(path)])}), "another number of samples")


def read_tokens(data: bytes, folder: Path) -> None:
    """new_tokens.jsonl and existing_tokens.jsonl."""
    from seatools.embed_init.existing_tokens import woken_in

    path = folder / "new_tokens.jsonl"
    path.write_bytes(data)
    check(woken_in(path) >= 0, "a negative count")
    for id, pieces in read_new_tokens(path).items():
        check(type(id) is int and all(type(piece) is int for piece in pieces), "ids that are none")


def _model_seeds() -> list[bytes]:
    config = json.dumps(
        {
            "model_type": "llama",
            "vocab_size": 4,
            "hidden_size": 2,
            "tie_word_embeddings": False,
            "max_position_embeddings": 64,
            "eos_token_id": [1, 2],
        }
    ).encode()
    embedding, head = {"model.embed_tokens.weight": ("F32", [4, 2], 32)}, {"lm_head.weight": ("F32", [4, 2], 32)}
    names = {"model.embed_tokens.weight": _WEIGHTS[1], "lm_head.weight": _WEIGHTS[2]}
    index = json.dumps({"metadata": {"total_size": 64}, "weight_map": names}).encode()
    nested = json.dumps({"model_type": "llava", "text_config": {"vocab_size": 4, "hidden_size": 2}}).encode()
    return [
        folder_input({"config.json": config, "model.safetensors": header_input(embedding | head, {"format": "pt"})}),
        folder_input(
            {
                "config.json": config,
                "model.safetensors.index.json": index,
                _WEIGHTS[1]: header_input(embedding),
                _WEIGHTS[2]: header_input(head),
                "generation_config.json": b'{"eos_token_id": 2}',
            }
        ),
        folder_input({"config.json": nested, "model.safetensors": header_input(embedding)}),
    ]


def _patch_seeds() -> list[bytes]:
    def patch(layout: object, tensors: dict[str, tuple[str, list[int], int]]) -> bytes:
        metadata = {
            "format": "sea-patch",
            "format_version": "1",
            "architecture": '{"model_type": "llama"}',
            "base_digest": "b",
            "tokenizer_digest": "",
            "trained": "x",
            "languages": '["th"]',
            "parts": json.dumps(layout),
        }
        return header_input(tensors, metadata)

    rows = {"index/w": ("I64", [1], 8), "old/w": ("F32", [1, 3], 12), "new/w": ("F32", [1, 3], 12)}
    whole = {"old/b": ("BF16", [2], 4), "new/b": ("BF16", [2], 4)}
    return [
        patch({"w": {"dim": 0, "shape": [2, 3]}}, rows),
        patch({"b": {"dim": None, "shape": [2]}}, whole),
        patch({"w": {"dim": 0, "shape": [2, 3]}, "b": {"dim": None, "shape": [2]}}, rows | whole),
    ]


def _neuron_seeds() -> list[bytes]:
    from seatools.engine.neurons import Neurons, save_neurons

    name, stream = "model.layers.0.mlp.down_proj", io.BytesIO()
    metadata = {
        "sizes": json.dumps({name: 8}),
        "architecture": '{"model_type": "llama"}',
        "method": "lape",
        "thresholds": "{}",
        "model_digest": "m",
        "model_type": "llama",
        "num_parameters": "9",
        "corpora": '{"th": "c"}',
    }
    sets = {"th": {name: Neurons(np.array([1, 5], np.int32), np.array([0.5, 1], np.float32))}, "en": {}}
    save_neurons(stream, sets, metadata)
    layout = {"version": 1, "places": []}
    stats = {
        "format": "sea-neuron-statistics",
        "format_version": "1",
        "layout": json.dumps(layout),
        "langs": '{"th": {}}',
        "model_digest": "m",
        "tokenizer_digest": "t",
        "architecture": "{}",
        "num_parameters": "1",
        "options": "{}",
    }
    return [
        as_input(stream.getvalue()),
        header_input({"th//tokens": ("I64", [2], 16), "th//docs": ("I64", [2], 16)}, stats),
    ]


def _index_seeds() -> list[bytes]:
    from seatools.mix.index_sidecar import COLUMNS, FORMAT, WITHOUT_TOKENIZER

    codes = {"uint64": ("U64", 8), "uint32": ("U32", 4), "uint16": ("U16", 2)}
    tensors = {name: (codes[COLUMNS[name]][0], [2], 2 * codes[COLUMNS[name]][1]) for name in sorted(WITHOUT_TOKENIZER)}
    metadata = {
        "format": FORMAT,
        "key": "KEY",
        "sha256": "x",
        "identity": "NOW",
        "langs": '["", "th"]',
        "counts": '{"unk": 0, "sampled": 2, "not_nfc": 0}',
    }
    rejected = b'[[1, "nul", "what", null, "fix", "raw"]]'
    whole = header_input(tensors | {"rejected": ("U8", [len(rejected)], len(rejected))}, metadata)
    return [whole[: -len(rejected)] + rejected, whole[: -len(rejected)] + b"[]".ljust(len(rejected))]


def _sample_seeds() -> list[bytes]:
    digests = {"model_digest": "m", "tokenizer_digest": "t", "task_digest": "d", "data_digest": "e"}

    def row(kind: str, scoring: str, result: object, number: int) -> bytes:
        from seatools.eval.samples import DIGESTS

        config = dict.fromkeys(DIGESTS, "x") | digests
        return (
            orjson.dumps(
                {
                    "key": f"k{number}",
                    "task": "t",
                    "lang": "th",
                    "kind": kind,
                    "scoring": scoring,
                    "item": f"i{number}",
                    "index": number,
                    "result": result,
                    "config": config,
                }
            )
            + b"\n"
        )

    choices = {"logprobs": [-1.0, -2.5], "bytes": [3, 4], "gold": 0}
    nats = {"nats": -3.5, "bytes": 7, "tokens": 3, "words": 2}
    text = {"text": "12", "finish": "stop", "gold": "12", "extracted": "12", "correct": True}
    return [
        row("choice", "choice", choices, 0) + row("choice", "choice", choices | {"gold": 1}, 1),
        row("loglikelihood", "bits_per_byte", nats, 0) + row("loglikelihood", "bits_per_byte", nats, 1)[:-9],
        row("generation", "exact_match", text, 0),
        row("generation", "chrf", text | {"reference": "13"}, 0),
    ]


def _task_seeds() -> list[bytes]:
    from seatools.eval.task_file import builtin_names, task_text

    return [task_text(name).encode() for name in builtin_names()]


def seeds() -> dict[str, list[bytes]]:
    """Well-formed inputs to begin from, by the reader's name."""
    return {
        "model": _model_seeds(),
        "patch": _patch_seeds(),
        "neurons": _neuron_seeds(),
        "plan": [
            b'unit = "tokens"\nbudget = "10B"\ntemperature = 0.7\nseed = 1\n'
            b'[[source]]\nname = "th"\nfiles = "a.jsonl"\nweight = 3\n'
            b'[[source]]\nname = "en"\nfiles = "-"\nmax_epochs = 1\nlang = "en"\n[[phase]]\nshare = 0.1\n'
            b"weights = { th = 1, en = 0 }\n"
            b"max_epochs = { th = 8 }\n",
            b'max_epochs = 4\nunimax = true\non_exhaust = "stop"\nshuffle = "global"\n'
            b'[[phase]]\nname = "a"\nbudget = 100\nmax_epochs = 2\n',
            b"th=a.jsonl:0.5@2\nen=-:1e3\nx=y:z\n",
            b"a = 1e400\nb = [1, 2, {c = 1979-05-27}]\n",
        ],
        "index": _index_seeds(),
        "task": _task_seeds(),
        "samples": _sample_seeds(),
        "tokens": [
            b'{"token": "ab", "id": 300, "bytes": 2, "pieces": [1, 2], "count": 3, "reason": "woken"}\n',
            b'{"id": 1, "token": "x", "reason": "unused", "pieces": []}\n',
        ],
    }
