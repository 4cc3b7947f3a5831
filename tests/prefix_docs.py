"""Documents that begin alike, and what a model says of one of them alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

Doc = tuple[list[int], list[int]]


def alone(model: Any, doc: Doc) -> float:
    """The sum of log p over the trained tokens, by the model's own logits on this document alone."""
    ids, mask = doc
    if len(ids) < 2:
        return 0.0
    tokens = torch.tensor([ids])
    with torch.no_grad():
        log_probs = model(input_ids=tokens, use_cache=False).logits.double().log_softmax(-1)[0, :-1]
    picked = log_probs.gather(1, tokens[0, 1:, None])[:, 0]
    return float((picked * torch.tensor(mask[1:], dtype=torch.float64)).sum())


def questions(seed: int = 0) -> list[Doc]:
    """Two languages with a few-shot prefix each, questions, and choices of one to four tokens, their last shared."""
    draw = np.random.default_rng(seed)

    def text(length: int) -> list[int]:
        return [int(token) for token in draw.integers(3, 97, length)]

    docs: list[Doc] = []
    for shots, num_choices in ((17, 4), (9, 2)):
        prefix = [1, *text(shots)]
        for question in (text(11), text(6), text(6)):
            for length in draw.integers(1, 5, num_choices):
                choice = text(int(length))
                ids = prefix + question + choice
                docs.append((ids, [0] * (len(ids) - len(choice)) + [1] * len(choice)))
    return docs


def odd_ones() -> list[Doc]:
    """What no task asks for and anybody may: the same twice, one that begins another, nothing to score, one token."""
    long = [1, *range(5, 60), 7, 8]
    return [
        ([5, 6, 7, 8], [0, 0, 1, 1]),
        ([5, 6, 7, 8], [0, 0, 1, 1]),
        ([5, 6, 7, 8], [1, 1, 0, 0]),
        ([5, 6], [0, 1]),
        ([5, 6, 7, 8, 9, 10], [0, 1, 0, 1, 0, 0]),
        ([9], [1]),
        ([9, 3], [1, 1]),
        ([4, 4, 4], [0, 0, 0]),
        (long, [0] * 50 + [1] * 8),
        (long[:40] + [3, 3], [0] * 38 + [1] * 4),
    ]


def build(model_type: str, **values: Any) -> Any:
    """A small random model of any architecture of transformers, in eval mode."""
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    sizes: dict[str, Any] = dict(vocab_size=97, hidden_size=32, num_hidden_layers=3, num_attention_heads=4)
    config = CONFIG_MAPPING[model_type](**{**sizes, **values})
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, 0, 0.2)
    return model.eval()
