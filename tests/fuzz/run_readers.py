"""Readers of what runs leave for later ones: manifests, checkpoints, reference caches, answers that are kept."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from fuzz.contract import check
from fuzz.layouts import SPLIT, folder_input, header_input, tensor_file, write_folder
from safetensors import numpy as theirs

from seatools.streams.errors import CheckFailed, SeaError
from seatools.streams.messages import Messages
from seatools.streams.provenance import as_typed, parent_digest

_QUIET = Messages(quiet=True, silent=True)


@contextlib.contextmanager
def standing_in(folder: Path) -> Iterator[None]:
    """The working folder for the time being."""
    here = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)


def printed(act: Callable[[], object]) -> bytes:
    """What `act` writes to stdout, whether it raises CheckFailed or not."""
    out, before = io.TextIOWrapper(io.BytesIO()), sys.stdout
    sys.stdout = out
    try:
        with contextlib.suppress(CheckFailed):
            act()
        out.flush()
        return out.buffer.getvalue()  # type: ignore[attr-defined]
    finally:
        sys.stdout = before


def read_manifests(data: bytes, folder: Path) -> None:
    """`out`, its manifest and those of its inputs: what verify calls ok has that hash, replay's words are argv's."""
    from seatools.replay.script import script
    from seatools.verify.run import run

    (folder / "sub").mkdir()
    (folder / "sub" / "config.json").write_bytes(b"{}")
    names = ("out", "in", "out.manifest.json", "in.manifest.json", "sub.manifest.json")
    files = write_folder(data, folder, names)
    with standing_in(folder):
        for name in ("out", "in", "sub", "sub/config.json"):  # as every command does that reads one
            digest = parent_digest(name)
            check(digest is None or len(digest) == 64, "no digest")
        rows = printed(lambda: run(["out"], _QUIET, json=True)).splitlines()
        hashes = {hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}
        for row in map(json.loads, rows):
            if row["state"] == "ok":
                check(row["sha256"] == row["found"], "ok, with another hash")
                elsewhere = row["role"] == "parent" or os.path.isdir(as_typed(row["path"])) or row["path"][0] == "/"
                check(elsewhere or row["found"] in hashes, "ok, and no file has this hash")
        lines = printed(lambda: run(["out"], Messages(silent=True), json=False)).decode().split("\n")
        check(all(line.isprintable() for line in lines), "a line that moves the cursor")
        words = shlex.split(os.fsdecode(script(["out"], comments=False)))
    argv = orjson.loads(files["out.manifest.json"])["argv"]
    if not any("\\udc" in word for word in argv) and not orjson.loads(files["out.manifest.json"]).get("settings"):
        check(words[-len(argv) - 1 :] == ["sea", *argv], "other words than those that ran")


_WEIGHTS, _MOMENTS = "model.safetensors", "optimizer.safetensors"
_PARTS = tuple(f"{kind}-0000{i}-of-00002.safetensors" for kind in ("model", "optimizer") for i in (1, 2))


def _tiny() -> tuple[Any, Any]:
    """A model of six weights, and its optimiser."""
    import torch

    from seatools.engine.optimise import MasterAdamW

    class Tiny(torch.nn.Linear):
        device = torch.device("cpu")

    model = Tiny(3, 2, bias=False)
    return model, MasterAdamW(list(model.named_parameters()))


def read_checkpoint(data: bytes, folder: Path) -> None:
    """`--resume` in a folder with one checkpoint and metrics: the weights of its file, or a refusal; the curves."""
    from seatools.engine.curves import read_curves
    from seatools.engine.forgetting import read_baseline
    from seatools.engine.loop import _Run
    from seatools.engine.loop_options import LoopOptions
    from seatools.engine.world import SINGLE

    place = folder / "checkpoints" / "step-3"
    place.mkdir(parents=True)
    files = write_folder(data, place, ("state.json", "metrics.jsonl", _WEIGHTS, _MOMENTS, *_PARTS))
    if "state.json" in files:
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
            state = json.loads(files["state.json"])
            for name, size in state["files"].items():  # lengths that are true: the fuzzer does not find them
                if size == "SIZE" and name in files:
                    state["files"][name] = (place / name).stat().st_size
            (place / "state.json").write_text(json.dumps(state))
    metrics = folder / "metrics.jsonl"
    if "metrics.jsonl" in files:
        (place / "metrics.jsonl").rename(metrics)
        for curves in read_curves(files["metrics.jsonl"].split(b"\n")).values():
            check(all(np.isfinite(value) for curve in curves.values() for _, value in curve), "a point that is none")
        baseline = read_baseline(metrics, "th")
        check(baseline is None or isinstance(baseline, float), "a baseline that is no number")
    model, optimizer = _tiny()
    before = model.weight.detach().clone()
    run = _Run(model, optimizer, LoopOptions(max_steps=9, lr=0.1), folder, {"seed": 1}, SINGLE, None, None)
    step = run.resume()
    if not step:  # none, or one of step 0: then there is nothing to go on from
        check((model.weight == before).all(), "no checkpoint, and other weights")
        raise SeaError("refused")
    check(step == json.loads((place / "state.json").read_bytes())["state"]["step"], "another step than was saved")
    if _WEIGHTS in files and _WEIGHTS in json.loads((place / "state.json").read_bytes())["files"]:
        saved = theirs.load_file(place / _WEIGHTS)["weight"]
        check(model.weight.detach().numpy().tobytes() == saved.tobytes(), "other weights than were saved")
    for line in metrics.read_bytes().splitlines() if metrics.exists() else ():
        check(float(orjson.loads(line)["step"]) <= step, "a line of a later step")


_EXPECTED = {"model": "m", "tokenizer": "t", "template": "c", "pairs": "p", "num_pairs": "2", "dtype": "float32"}


def read_reference(data: bytes, folder: Path) -> None:
    """`dpo --reference`: two numbers a pair, as safetensors reads them, of this model and these pairs."""
    from seatools.dpo.reference import FORMAT, load_reference

    path = folder / "r.safetensors"
    path.write_bytes(tensor_file(data))
    found = load_reference(path, {**_EXPECTED, "format": FORMAT}, _QUIET)
    for name, values in theirs.load_file(path).items():
        check(found[name].tobytes() == values.tobytes(), "other numbers than safetensors reads")
    for name in ("chosen", "rejected"):
        check(found[name].shape == (2,) and found[name].dtype == np.float32, "not a float32 for each pair")
        check(np.isfinite(found[name]).all(), "numbers that are none")


_RUN = {"model": "m", "seed": 1}


def read_partial(data: bytes, folder: Path) -> None:
    """`sample --resume`: answers of this run under their keys; a refused file is left as it is."""
    from seatools.engine.world import SINGLE
    from seatools.sample.partial import Partial

    path = folder / "a.partial"
    path.write_bytes(data)
    known: dict[str, Any] = {}
    for line in data.split(b"\n"):
        with contextlib.suppress(ValueError, TypeError, KeyError):
            row = orjson.loads(line)
            known.setdefault(row["key"] if isinstance(row["key"], str) else "", row)
    try:
        with Partial(path, _RUN, SINGLE, _QUIET) as partial:
            for key in partial.lines:
                if key == "run":
                    continue
                outcome = partial.get(key)
                check(list(outcome.responses) == known[key].get("responses", []), "answers to another prompt")
                check(all(isinstance(text, str) for text in outcome.responses), "an answer that is no text")
            check(path.read_bytes().startswith(data[: data.rfind(b"\n") + 1]), "lines that were there are gone")
    except SeaError:
        check(not path.exists() or data.startswith(path.read_bytes().rstrip(b"\n")), "a refused file is changed")
        raise


def _manifest(**more: Any) -> bytes:
    body = {
        "schema": 2, "tool": "sea 1.0", "command": "clean", "argv": ["clean", "in", "-o", "out"], "settings": [],
        "options": {"limit": None}, "seed": 0, "inputs": [], "outputs": [], "counts": {"records": 1}, "rejects": {},
        "run": {"started": "2026-11-22T00:00:00Z", "folder": ".", "host": "h"},
    }  # fmt: skip
    return json.dumps(body | more).encode()


def _row(path: str, content: bytes, **more: Any) -> dict[str, Any]:
    return {"path": path, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), **more}


def _manifest_seeds() -> list[bytes]:
    first = _manifest(
        command="mix", argv=["mix", "a b", "-", "it's"], outputs=[_row("in", b"x\n")], inputs=[{"path": "-"}]
    )
    body = {key: value for key, value in orjson.loads(first).items() if key != "run"}
    parent = hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()
    setting = {"option": "--limit", "source": "sea.toml", "words": ["--limit", "3"]}
    whole = {"path": "sub", "bytes": 2, "sha256": "0" * 64, "by_size": ["config.json"]}
    second = _manifest(outputs=[_row("out", b"y\n")], inputs=[_row("in", b"x\n", parent=parent), whole])
    made = _manifest(outputs=[{"path": "sub", "files": [_row("config.json", b"{}")]}], inputs=[{"path": "in"}])
    return [
        folder_input({"in": b"x\n", "in.manifest.json": first, "out": b"y\n", "out.manifest.json": second}),
        folder_input({"out": b"y\n", "out.manifest.json": _manifest(settings=[setting], outputs=[_row("out", b"z")])}),
        folder_input({"out.manifest.json": _manifest(inputs=[{"path": "sub"}, {"path": "caf\\udce9"}]),
                      "sub.manifest.json": made}),
        folder_input({"out.manifest.json": _manifest(schema=1, inputs=[_row("in", b"")]), "in.manifest.json": b"[]"}),
    ]  # fmt: skip


def _saved(model: bytes, optimizer: bytes) -> dict[str, bytes]:
    state = {"step": 3, "seed": 1}
    sizes = {_WEIGHTS: "SIZE", _MOMENTS: "SIZE"}
    lines = [
        {"step": 0, "kind": "eval", "th": {"bits_per_byte": 1.5}},
        {"step": 1, "loss": 2.5, "lr": 0.1, "grad_norm": 1, "tokens_per_second": 9, "sources": {"th": {"loss": 1}}},
        {"step": 2, "reward_margin": 0.5, "accuracy": 1, "by_lang": {"th": {"margin": 1, "accuracy": 1}}},
        {"step": 4, "loss": None},
    ]
    return {
        "state.json": json.dumps({"format": "sea-checkpoint-1", "files": sizes, "state": state}).encode(),
        "metrics.jsonl": b"".join(orjson.dumps(line) + b"\n" for line in lines) + b'{"st',
        _WEIGHTS: model,
        _MOMENTS: optimizer,
    }


def _checkpoint_seeds() -> list[bytes]:
    both = {f"weight.{name}": ("F32", [2, 3], 24) for name in ("exp_avg", "exp_avg_sq")}
    moments = header_input({"step": ("I64", [], 8)} | both)
    weights = header_input({"weight": ("F32", [2, 3], 24)})
    whole = _saved(weights, moments)
    state = json.loads(whole["state.json"])
    state["files"] = dict.fromkeys((*_PARTS[:2], _MOMENTS), "SIZE")
    parts = {
        name: header_input(
            {"weight": ("F32", [1, 3], 12)}, {"DCP_SHARDING_INFO": json.dumps({"weight": {"saved_offsets": [at, 0]}})}
        )
        for at, name in enumerate(_PARTS[:2])
    }
    shared = {"state.json": json.dumps(state).encode(), _MOMENTS: moments, **parts}
    return [folder_input(whole), folder_input(shared)]


def _reference_seeds() -> list[bytes]:
    from seatools.dpo.reference import FORMAT

    two = {"chosen": ("F32", [2], 8), "rejected": ("F32", [2], 8)}
    own = {**_EXPECTED, "format": FORMAT, "model_name": "tiny", "pairs_name": "p.jsonl"}
    values = np.array([-1.5, -2, -3, -4.25], np.float32).tobytes()
    changes = ({}, {"dtype": "bfloat16", "tokenizer": "u"}, {"pairs": "q"}, {"num_pairs": "3"})
    return [header_input(two, own | change).partition(SPLIT)[0] + SPLIT + values for change in changes]


def _partial_seeds() -> list[bytes]:
    head = orjson.dumps({"key": "run", "run": _RUN}) + b"\n"
    answers = {"key": "k1", "responses": ["a", "b"], "finish": ["stop", "length"], "scores": None, "prompt": "x",
               "engine": "torch", "reject": None}  # fmt: skip
    turns = [{"role": "user", "content": "x"}]
    other = answers | {"key": "k2", "responses": [], "finish": [], "scores": [], "prompt": turns, "reject": ["r", "w"]}
    lines = [orjson.dumps(row) + b"\n" for row in (answers, other, answers | {"key": "k3", "scores": [-1.5, None]})]
    return [head + b"".join(lines), head + lines[0] + lines[1][:-9], head.replace(b"1", b"2") + lines[0], lines[0]]


def seeds() -> dict[str, list[bytes]]:
    """Well-formed inputs to begin from, by the reader's name."""
    return {
        "manifest": _manifest_seeds(),
        "checkpoint": _checkpoint_seeds(),
        "reference": _reference_seeds(),
        "partial": _partial_seeds(),
    }
