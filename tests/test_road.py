"""The whole road on real data, as a data team would type it: examples/adapt.mk, and the pipes of the README."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory):
    """Run a bash command line in one folder where `sea` is on the PATH; any failure in a pipe fails it."""
    folder = tmp_path_factory.mktemp("road")
    program = folder / "bin" / "sea"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m seatools "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "OMP_NUM_THREADS": "1",
    }

    def run(line: str) -> str:
        command = ["bash", "-euo", "pipefail", "-c", line]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    run.folder = folder  # type: ignore[attr-defined]
    return run


def scores(path: Path) -> dict[tuple[str, str], float]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {(row["metric"], row["lang"]): row["value"] for row in rows}


@pytest.mark.slow
def test_adapt_mk_teaches_a_real_model_thai(shared: Path, shell) -> None:
    if shutil.which("make") is None:
        pytest.skip("no make here")
    shell(
        f"make -f {REPOSITORY}/examples/adapt.mk SHARED={shared} OUT=th ADD=400 BUDGET=120k BATCH=8 NEURON_STEPS=3"
        " EVAL='--limit 60'"
    )
    folder = shell.folder / "th"
    base, extended = scores(folder / "base.audit.jsonl"), scores(folder / "tok.audit.jsonl")
    assert extended["bytes_per_token", "th"] > 2 * base["bytes_per_token", "th"]
    before, after = scores(folder / "base.eval.jsonl"), scores(folder / "model.eval.jsonl")
    assert after["bits_per_byte", "th"] < 0.25 * before["bits_per_byte", "th"]
    assert 0 < after["bits_per_byte", "en"] < before["bits_per_byte", "en"]
    report = (folder / "report.txt").read_text()
    assert "neurons-model" in report and "nan" not in report


@pytest.mark.slow
def test_the_pipes_of_the_readme_work_as_typed(shared: Path, shell) -> None:
    folder: Path = shell.folder
    mono, flores = shared / "data/mono", shared / "data/flores200/dev"
    english = [json.dumps({"text": line}) for line in (mono / "en_commonvoice.txt").read_text().splitlines()[:2000]]
    (folder / "en.jsonl.zst").write_bytes(zstandard.compress("\n".join(english).encode()))
    thai = (mono / "th_thaigov.jsonl").read_bytes().splitlines()[:40]
    (folder / "th.jsonl.gz").write_bytes(gzip.compress(b"\n".join(thai)))
    for lang, name in (("th", "tha_Thai"), ("en", "eng_Latn")):
        lines = (flores / f"{name}.txt").read_text().splitlines()[:20]
        (folder / f"flores_{lang}.txt").write_text("\n".join(lines) + "\n")
    prompts = ["Once upon a time", "The big dog", "Lily went to", "One day, Tom", "In the park", "Her mom said"] * 2
    rows = [json.dumps({"prompt": text, "id": n}) for n, text in enumerate(dict.fromkeys(prompts))]
    (folder / "prompts.jsonl").write_text("\n".join(rows) + "\n")

    shell(f"mkdir -p OUT && sea vocab-extend {shared}/models/stories260K th=th.jsonl.gz --add 300 -o OUT/tok")
    shell(f"sea embed-init {shared}/models/stories260K --tokenizer OUT/tok -o OUT/init")
    shell(
        "sea mix en=en.jsonl.zst:1 th=th.jsonl.gz:3 --tokenizer OUT/tok --unit tokens --budget 20k"
        " | sea train OUT/init - -o OUT/th --seq-len 256"
    )
    # The pairs that an untaught judge keeps are few and by chance, so the last filter is fed twice as much.
    shell(
        "sea sample OUT/th prompts.jsonl -n 4 --max-new-tokens 24 | sea judge OUT/th"
        " | sea dpo OUT/th - -o OUT/th-dpo --max-steps 2"
    )
    value = shell(
        "sea eval OUT/th perplexity --data th=flores_th.txt --data en=flores_en.txt --json"
        f" | {sys.executable} -c 'import json, sys; [print(json.loads(line)[\"value\"]) for line in sys.stdin]'"
    )
    assert [float(line) > 0 for line in value.split()] == [True, True]
    assert (folder / "OUT/th-dpo/model.safetensors").is_file()
    assert json.loads((folder / "OUT/th-dpo.manifest.json").read_text())["command"] == "dpo"
