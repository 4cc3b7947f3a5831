"""The same model, strings and values as lm-evaluation-harness, which lives in .venv-peers (`make peers`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_llama import write_model, write_tokenizer

from seatools.engine.load import load_model
from seatools.engine.prefix_scores import prefix_scores
from seatools.text.documents import Documents
from seatools.text.tokenizer import load_tokenizer

REPOSITORY = Path(__file__).resolve().parents[2]
PEERS = Path(os.environ.get("PEER_PYTHON") or REPOSITORY / ".venv-peers/bin/python")
LM_EVAL = list(PEERS.parent.parent.glob("lib/python*/site-packages/lm_eval"))


@pytest.mark.slow  # importing lm_eval takes most of it
@pytest.mark.skipif(not LM_EVAL, reason="no lm_eval in .venv-peers (make peers)")
def test_values_are_the_harness_own(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, names=("eos",), template=None)  # a BOS is ours to add, and never the harness'
    folder = write_model(tmp_path, max_position_embeddings=160)
    asked = [
        [f"Q: 2 + 2?\nA: 4\n\nQ: {question}\nA:", f" {choice}"]
        for question in ("ฟ้าสีอะไร", "What is green?", "1 + 2?")
        for choice in ("A", "B", "grass", "greenery", "น้ำ")
    ]
    (tmp_path / "requests.json").write_text(json.dumps(asked), encoding="utf-8")
    task = {
        "worker": "harness", "folder": str(folder), "requests": str(tmp_path / "requests.json"), "batch_size": 4,
        "threads": 1, "result": str(tmp_path / "result.json"),
    }  # fmt: skip
    benchmark = REPOSITORY / "benchmarks/eval_choice.py"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [str(PEERS), str(benchmark), "--worker", json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = json.loads((tmp_path / "result.json").read_text())["values"]
    documents = Documents(load_tokenizer(folder), None, add_eos=False)
    encoded = documents.encode([{"prompt": context, "completion": choice} for context, choice in asked], workers=1)
    model = load_model(folder, device="cpu", dtype=torch.float32)
    found = prefix_scores(model, [doc.document for doc in encoded])  # type: ignore[union-attr]
    assert sys.float_info.epsilon < np.ptp(found)
    np.testing.assert_allclose(found, theirs, atol=1e-4)
