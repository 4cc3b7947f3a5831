"""Before a model is used: does it keep packed documents apart, and does our head agree with its own?

Both depend on code that is not ours (transformers' masks, each architecture's output head), and both fail silently:
a state-space layer carries its state from one document into the next, an architecture ignores position_ids, another
scales its logits. So each loaded model answers two questions on 11 made-up tokens:
  1. a row of two documents gives each target the log-probability that the model's own logits give it alone (through
     sdpa or eager: `sea_varlen` without document starts is sdpa, so it is never compared with itself);
  2. changing the first document does not move the hidden states of the second.
Cost: four forward passes of a few tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from seatools.engine.loss import forward_hidden, target_log_probs
from seatools.engine.rows import make_batch
from seatools.streams.errors import SeaError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FIRST, SECOND = 5, 6  # tokens of the two documents


def check_soundness(model: PreTrainedModel) -> None:
    """Raise SeaError, naming the architecture, if packed rows or our output head would give wrong numbers.

    The tolerances tell a defect from rounding: in half precision the logits themselves are only good to about 1 %.
    """
    name = f"{type(model).__name__} ({model.config.model_type})"
    embeddings: Any = model.get_input_embeddings()
    vocab_size = embeddings.weight.shape[0]
    exact = model.dtype == torch.float32
    first, other, second = (_document(n, stride, vocab_size) for n, stride in ((FIRST, 7), (FIRST, 11), (SECOND, 13)))
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            batch = make_batch([[first, second], [second, first]], device=model.device)
            moved = make_batch([[other, second], [second, other]], device=model.device)
            packed = target_log_probs(model, batch).values
            alone = torch.cat([_own_log_probs(model, doc[0]) for doc in (first, second, second, first)])
            before, after = forward_hidden(model, batch).float(), forward_hidden(model, moved).float()
    except (TypeError, ValueError, RuntimeError, AttributeError, NotImplementedError) as error:
        raise SeaError(f"{name} cannot run packed rows: {str(error).splitlines()[0]}") from error
    finally:
        model.train(was_training)
    if not bool(packed.isfinite().all() and before.isfinite().all()):
        bad = [key for key, weight in model.named_parameters() if not bool(weight.isfinite().all())]
        what = f"{bad[0]} holds numbers that are not finite" if bad else f"it overflows in {model.dtype}"
        raise SeaError(f"{name} computes NaN or infinity: {what}", fix="fetch it again" if bad else "--dtype fp32")
    leaks = []
    for row, part in ((0, slice(FIRST, None)), (1, slice(0, SECOND))):
        change = (after[row, part] - before[row, part]).norm(dim=-1) / before[row, part].norm(dim=-1)
        leaks.append(float(change.max()))
    # the largest, not a mean: a short convolution touches only the first tokens of the next document;
    # `not <=` rather than `>`, so that NaN is refused as well
    if not max(leaks) <= (1e-4 if exact else 0.05):
        raise SeaError(f"{name} does not keep the documents of a packed row apart, so its results would be wrong")
    difference = ((packed - alone).abs() / (1 + alone.abs())).median()
    if not float(difference) <= (1e-3 if exact else 0.1):
        raise SeaError(
            f"{name}: the log-probabilities of packed rows are not the model's own (off by {float(difference):.2g})"
        )


def _document(length: int, stride: int, vocab_size: int) -> tuple[list[int], list[int]]:
    return [(3 + stride * (i + 1)) % vocab_size for i in range(length)], [1] * length


def _own_log_probs(model: PreTrainedModel, ids: list[int]) -> Tensor:
    """The log-probabilities [n - 1] of ids[1:], from the model's own forward pass over this document alone."""
    tokens = torch.tensor([ids], device=model.device)
    logits = model(input_ids=tokens, use_cache=False).logits[0, :-1].float()
    return logits.log_softmax(-1).gather(1, tokens[0, 1:, None])[:, 0]
