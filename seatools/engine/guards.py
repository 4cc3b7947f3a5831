"""Is this a model, and is this data, that training makes sense of? Asked before the first step and before each save.

What they catch costs others a run and is found at generation time: ids without rows (LLaMA-Factory #3125, peft #1457),
rows that an extension left at zero or NaN, a head untied from the embeddings that its config calls tied (mergekit #328,
unsloth #1225), an end-of-turn token that no target teaches (trl warns of it), chat data without the template to talk
with. Each fault is said with how to mend it. Cost: one pass over the weights by `aminmax`, which copies nothing
(measured on one core: 0.2 s/GB in fp32, 0.4 in bf16), one comparison a block of vocabulary rows, and of the data as
little as shows that all is well: with an end token in the first documents of each source, those documents.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from seatools.engine.tensor_rows import rows_of
from seatools.streams.errors import SeaError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BLOCK_ROWS = 8192
SEGMENTS = 1024


class Packed(Protocol):
    """Packed data of one or several files; `text.packed.PackedData` and `PackedShards` are."""

    @property
    def path(self) -> str: ...

    @property
    def sources(self) -> list[str]: ...

    @property
    def shards(self) -> Sequence[Any]: ...


def check_model(model: PreTrainedModel, vocab_size: int, *, exempt: Collection[int | None] = ()) -> None:
    """Raise SeaError where model, config and a tokenizer of `vocab_size` ids do not belong together, or a weight is
    not a number.

    `exempt`: ids whose rows may be zero, as padding and UNK are in many models, and ids that no piece has. Of a sharded
    model each rank looks at its own rows, so that one may raise where the others do not: the caller tells them.
    """
    fault = _form_fault(model, vocab_size) or _weight_fault(
        model, vocab_size, {id_ for id_ in exempt if id_ is not None}
    )
    if fault is not None:
        raise fault


def _form_fault(model: PreTrainedModel, vocab_size: int) -> SeaError | None:
    config: Any = model.config.get_text_config(decoder=True)
    embeddings: Any = model.get_input_embeddings()
    head: Any = model.get_output_embeddings()
    rows = embeddings.weight.shape[0]
    if vocab_size > rows:
        what = f"the tokenizer has ids up to {vocab_size - 1}, the model has {rows} embedding rows"
        return SeaError(what, fix="make the missing rows with sea embed-init, or give the model's own tokenizer")
    if config.vocab_size != rows:
        what = f"config.json says vocab_size {config.vocab_size}, the embeddings have {rows} rows"
        return SeaError(what, fix=f"set vocab_size to {rows} in config.json")
    if head is None:
        return None
    if head.weight.shape[0] != rows:
        what = f"the head has {head.weight.shape[0]} rows, the embeddings {rows}"
        return SeaError(what, fix="resize both: sea embed-init does")
    same = head.weight is embeddings.weight
    if bool(config.tie_word_embeddings) != same:
        says, are = ("tied", "two tensors") if not same else ("untied", "one tensor")
        what = f"config.json calls embeddings and head {says}, but they are {are}"
        return SeaError(what, fix=f"set tie_word_embeddings to {str(same).lower()} in config.json")
    return None


@torch.no_grad()
def _weight_fault(model: PreTrainedModel, vocab_size: int, exempt: set[int]) -> SeaError | None:
    names = [(name, rows_of(p).tensor) for name, p in model.named_parameters() if p.is_floating_point()]
    names = [(name, tensor) for name, tensor in names if tensor.numel()]
    # Least and greatest of each weight: NaN and infinity show in them, and there is one wait for the device.
    ends = torch.stack([torch.stack(torch.aminmax(tensor)).float() for _, tensor in names])
    bad = (~torch.isfinite(ends).all(1)).nonzero()[:, 0].tolist()
    if bad:
        more = f" and {len(bad) - 1} more weights" if len(bad) > 1 else ""
        return SeaError(
            f"{names[bad[0]][0]}{more} hold numbers that are not finite (NaN or infinity)",
            fix="go on from the last good checkpoint with a lower --lr; before the first step, fetch the model again",
        )
    modules: list[Any] = [model.get_input_embeddings(), model.get_output_embeddings()]
    for label, module in zip(("embedding", "head"), modules, strict=True):
        if module is None or (label == "head" and module.weight is modules[0].weight):
            continue
        zero = [id_ for id_ in _zero_rows(module.weight, vocab_size) if id_ not in exempt]
        if zero:
            more = f" and of {len(zero) - 1} more" if len(zero) > 1 else ""
            what = f"the {label} row of token {zero[0]}{more} is all zeros: nothing was ever put there"
            return SeaError(what, fix="give the rows a start with sea embed-init")
    return None


def _zero_rows(weight: Tensor, vocab_size: int) -> list[int]:
    """The ids below `vocab_size` whose row, of those that this rank holds, is zero."""
    held = rows_of(weight)
    zero = [(block == 0).all(1) for block in held.tensor[: max(0, vocab_size - held.start)].split(BLOCK_ROWS)]
    return (torch.cat(zero).nonzero()[:, 0] + held.start).tolist() if zero else []


@dataclass(frozen=True)
class SourceCheck:
    """What was seen of one source: whether an end token is trained in it, and whether parts of it are masked."""

    ends: bool
    masked: bool


def check_data(
    packed: Packed,
    end_ids: Collection[int],
    *,
    num_rows: int,
    template_missing: bool = False,
    warn: Callable[[str], None] = lambda text: None,
) -> dict[str, SourceCheck]:
    """Raise SeaError for data that would teach something else than was meant.

    `end_ids`: what ends an answer (EOS; the template's end-of-turn token). A source whose prompts are masked and in
    which no target is one of them makes a model that never stops: an error. Text that is trained whole is warned of.
    Ids beyond the model's `num_rows`, and masked sources while `template_missing` (the data was made with a chat
    template, and the model would be saved without one), are errors. The check looks at each source until it has seen an
    end token, and at all of it if there is none. Returns what it saw, by name, of sources with a target.
    """
    found: dict[str, SourceCheck] = {}
    for number, name in enumerate(packed.sources):
        seen = _look_at(packed, number, np.array(sorted(end_ids), dtype=np.int64), num_rows)
        if seen is None:
            continue
        found[name] = seen
        if seen.masked and template_missing:
            raise SeaError(
                f"{name} is chat data, and the model would be saved without a chat template to talk with",
                where=packed.path,
                fix="--chat-template FILE, the one that the data was made with",
            )
        if seen.ends or not end_ids:
            continue
        ids = ", ".join(map(str, sorted(end_ids)))
        what = f"{name}: no target is a token that ends an answer (ids {ids}), so the model would not learn to stop"
        if seen.masked:
            fix = "name the template's end-of-turn token as eos_token in tokenizer_config.json, and make the data again"
            raise SeaError(what, where=packed.path, fix=fix)
        warn(what)
    return found


def _look_at(packed: Packed, source: int, end_ids: np.ndarray, num_rows: int) -> SourceCheck | None:
    """Read the documents of a source until one of its targets ends an answer; None for a source without a target."""
    any_target = masked = False
    for shard in packed.shards:
        starts = np.concatenate([[0], np.cumsum(shard.doc_lens, dtype=np.int64)])
        segments = np.flatnonzero(shard.source_id == source)
        for first in range(0, len(segments), SEGMENTS):
            chosen = segments[first : first + SEGMENTS]
            spans = [slice(int(starts[i]), int(starts[i + 1])) for i in chosen]
            ids = np.concatenate([shard.input_ids[span] for span in spans])
            targets = np.concatenate([shard.loss_mask[span] for span in spans]).astype(bool)
            highest = int(ids.max(initial=0))
            if highest >= num_rows:
                raise SeaError(
                    f"token {highest} is in the data, and the model has {num_rows} rows",
                    where=packed.path,
                    fix="give the model that belongs to the data's tokenizer, or make its rows with sea embed-init",
                )
            any_target |= bool(targets.any())
            masked |= len(chosen) < len(ids) - int(targets.sum())  # the first token of each is never a target
            if np.isin(ids[targets], end_ids).any():
                return SourceCheck(ends=True, masked=masked)
    return SourceCheck(ends=False, masked=masked) if any_target else None
