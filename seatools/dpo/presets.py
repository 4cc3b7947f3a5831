"""The published recipe of preference training, as values of options of `sea dpo`."""

from __future__ import annotations

from seatools.streams.presets import Preset

PRESETS: dict[str, Preset] = {
    "sambalingo-dpo": Preset(
        "32 pairs a step, 3 epochs, beta 0.1, learning rate 5e-7, linear, warm-up 10 %",
        "model cards of sambanovasystems/SambaLingo-*-Chat (SambaLingo, arXiv 2404.05829): ultrafeedback_binarized and "
        "cai-conversation-harmless, a tenth of it translated into the target language: en=EN.jsonl:10 th=TH.jsonl:1",
        {"batch-size": 32, "epochs": 3.0, "beta": 0.1, "lr": 5e-7, "schedule": "linear", "warmup": 0.1},
    ),
}  # fmt: skip
