"""The published recipes of continued pretraining, chat and neurons, as values of options of `sea train`."""

from __future__ import annotations

from seatools.streams.presets import Preset

PRESETS: dict[str, Preset] = {
    "sambalingo-cpt": Preset(
        "continued pretraining: 1,024 rows of 4,096 tokens a step, learning rate 1e-4, cosine, warm-up 1 %",
        "model cards of sambanovasystems/SambaLingo-*-Base (SambaLingo, arXiv 2404.05829)",
        {"seq-len": 4096, "batch-size": 1024, "lr": 1e-4, "schedule": "cosine", "warmup": 0.01, "weight-decay": 0.1},
    ),
    "sambalingo-sft": Preset(
        "chat: 512 rows of 2,048 tokens a step, one epoch, learning rate 2e-5, linear, warm-up 10 %",
        "model cards of sambanovasystems/SambaLingo-*-Chat (SambaLingo, arXiv 2404.05829)",
        {"seq-len": 2048, "batch-size": 512, "epochs": 1.0, "lr": 2e-5, "schedule": "linear", "warmup": 0.1},
    ),
    "plnd": Preset(
        "neurons only (give --neurons): 32 rows of 512 tokens a step, 1 epoch, learning rate 2e-6, cosine, warm-up 5 %",
        "code of arXiv 2402.18815 (DAMO-NLP-SG/multilingual_analysis, neuron_enhancement/train_neuron.py); it clips at "
        "0.3 by the norm of all gradients, we by that of the trained ones",
        {
            "seq-len": 512, "batch-size": 32, "epochs": 1.0, "lr": 2e-6, "schedule": "cosine", "warmup": 0.05,
            "clip": 0.3,
        },
    ),
}  # fmt: skip
