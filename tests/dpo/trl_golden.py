"""Writes data/trl_losses.json: TRL's own DPO losses and their gradients on the model and pairs of `golden_inputs.py`.

    PYTHONPATH=tests .venv-peers/bin/python tests/dpo/trl_golden.py

DPOTrainer._compute_loss runs on a batch of its own collator, with a reference of other weights. Made with TRL 1.16.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from golden_inputs import BETA, POLICY, REFERENCE, SFT_WEIGHT, SMOOTHING, examples, figures_of, model_of

CASES: dict[str, dict[str, Any]] = {
    **{kind: {"loss_type": [kind]} for kind in ("sigmoid", "sigmoid_norm", "ipo", "hinge", "apo_zero", "apo_down")},
    "robust": {"loss_type": ["robust"], "label_smoothing": SMOOTHING},
    "sft": {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, SFT_WEIGHT]},
}


def measure(kind: str, options: dict[str, Any], scratch: str) -> dict[str, Any]:
    """One loss by TRL."""
    import torch
    from datasets import Dataset
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast
    from trl import DPOConfig, DPOTrainer

    words = {word: number for number, word in enumerate(["<pad>", "<s>", "</s>", *map(str, range(37))])}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(words, "<pad>")), pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    policy, reference = model_of(POLICY), model_of(REFERENCE)
    config = DPOConfig(
        output_dir=scratch, beta=BETA, use_cpu=True, bf16=False, report_to="none", gradient_checkpointing=False,
        per_device_train_batch_size=8, disable_dropout=True, **options,
    )  # fmt: skip
    text = Dataset.from_list([{"prompt": "1 2", "chosen": " 3", "rejected": " 4"}])
    trainer = DPOTrainer(policy, reference, args=config, train_dataset=text, processing_class=tokenizer)
    batch = trainer.data_collator(examples())
    chosen, rejected = trainer.compute_ref_log_probs(reference, batch)
    policy.eval()
    loss = trainer._compute_loss(policy, batch, False)
    loss.backward()
    logged = {name: float(values[-1]) for name, values in trainer._metrics["eval"].items() if "/" in name}
    gradients = {name: parameter.grad.numpy() for name, parameter in policy.named_parameters()}
    with torch.no_grad():
        return {
            "loss": float(loss), "logged": logged, "gradients": figures_of(gradients),
            "reference": {"chosen": chosen.tolist(), "rejected": rejected.tolist()},
        }  # fmt: skip


def main() -> None:
    """All losses."""
    import torch
    import transformers
    import trl

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        cases = {kind: measure(kind, options, scratch) for kind, options in CASES.items()}
    versions = {"trl": trl.__version__, "transformers": transformers.__version__, "torch": torch.__version__}
    path = Path(__file__).parent / "data" / "trl_losses.json"
    path.write_text(json.dumps({"versions": versions, "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    main()
