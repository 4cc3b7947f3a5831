"""What `--train` means in a model: its parameters trained whole, chosen rows and columns of others, all else frozen.

A weight named by several parts is trained once: whole if one of them trains it whole, else on the union of their rows
or columns. A tied head is the embedding, so its rows are trained once, fed by both. Neurons of k and v projections are
rows of these weights as they are stored; the released PLND code divides them by the number of query groups, and then
trains others than it found (papers.md 2.3). `trained_slices` takes the parts out of the finished model for a patch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from seatools.engine.neuron_parts import selections
from seatools.engine.neurons import check_architecture, load_neurons, union
from seatools.engine.new_rows import new_row_ids
from seatools.engine.patch import TrainedSlice
from seatools.engine.selected import Selection, remove, select
from seatools.engine.train_spec import TrainSpec
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.messages import Messages

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Part = tuple[str, nn.Parameter | Selection]
_DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


@dataclass
class _Chosen:
    """Names of parameters: those trained whole, and the dim and index of those trained in part."""

    whole: set[str] = field(default_factory=set)
    slices: dict[str, tuple[int, torch.Tensor]] = field(default_factory=dict)

    def add(self, name: str, dim: int, index: torch.Tensor) -> None:
        if name in self.slices:
            other, before = self.slices[name]
            if other != dim:
                raise SeaError(f"{name} would be trained on rows and on columns", fix="train it whole, or in two runs")
            index = torch.cat([before, index.to(before.device)]).unique()
        self.slices[name] = dim, index


def choose_parts(
    model: PreTrainedModel,
    spec: TrainSpec,
    *,
    model_path: Path,
    neuron_langs: tuple[str, ...],
    first_new_row: int | None,
    messages: Messages,
    vocab_size: int | None = None,
) -> list[Part]:
    """(name, Parameter or Selection) of everything that `spec` trains, in the model's order; all else is frozen.

    `neuron_langs`: the languages of the neuron files to train, () for all. New rows are those from `first_new_row` to
    `vocab_size` (of the tokenizer), or without `first_new_row` those that `new_row_ids` finds in `model_path`.
    Selections of an earlier stage are removed. Says what share of the parameters is trained.
    Raises UsageError or SeaError for what the model does not have, and where nothing is left to train; the model is
    then as it was.
    """
    parameters = dict(model.named_parameters())
    chosen = _Chosen()
    if spec.all:
        chosen.whole.update(parameters)
    if spec.new_rows:
        _choose_new_rows(chosen, model, model_path, first_new_row, vocab_size)
    if spec.embeddings:
        chosen.whole.update(name for name in _vocabulary_parameters(model))
    _choose_layers(chosen, model, spec.layer_numbers())
    _choose_neurons(chosen, model, spec.neurons, neuron_langs)

    in_part = [(name, *chosen.slices[name]) for name in parameters if name in chosen.slices.keys() - chosen.whole]
    if not in_part and not chosen.whole:
        langs = f" of {', '.join(neuron_langs)}" if neuron_langs else ""
        raise SeaError(f"--train {spec.text}{langs} names nothing that this model has: nothing to train")
    remove(model)
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in chosen.whole)
    parts: dict[str, nn.Parameter | Selection] = {name: parameters[name] for name in chosen.whole}
    if in_part:
        parts |= dict(select(model, in_part))
    trained = sum(num_trained(part) for part in parts.values())
    total = sum(parameter.numel() for parameter in parameters.values())
    messages.info(f"training {spec.text}: {trained:,} of {total:,} parameters ({100 * trained / total:.3g} %)")
    return [(name, parts[name]) for name in parameters if name in parts]


def num_trained(part: nn.Parameter | Selection) -> int:
    """How many numbers of it are trained."""
    if isinstance(part, Selection):
        return part.param.numel() // part.param.shape[part.dim] * len(part.index)
    return part.numel()


def _vocabulary_parameters(model: PreTrainedModel) -> dict[str, nn.Parameter]:
    """Input embedding and head, with the head's bias; a tied head is the embedding."""
    modules = [model.get_input_embeddings(), model.get_output_embeddings()]
    if not isinstance(modules[0], nn.Module):
        raise SeaError(f"{type(model).__name__} tells no input embedding")
    wanted = {id(parameter) for module in modules if module is not None for parameter in module.parameters()}
    return {name: parameter for name, parameter in model.named_parameters() if id(parameter) in wanted}


def _choose_new_rows(
    chosen: _Chosen, model: PreTrainedModel, model_path: Path, first: int | None, vocab_size: int | None
) -> None:
    if first is None:
        ids = new_row_ids(model_path)
    else:
        if vocab_size is None:
            raise ValueError("first_new_row needs the tokenizer's vocab_size")
        if not 0 <= first < vocab_size:
            raise UsageError(
                f"--first-new-row {first}: the tokenizer has ids 0 to {vocab_size - 1}", fix="give the first new id"
            )
        ids = list(range(first, vocab_size))
    for name, parameter in _vocabulary_parameters(model).items():
        if ids[-1] >= parameter.shape[0]:
            raise SeaError(
                f"the new rows go to {ids[-1]}, and {name} has {parameter.shape[0]} rows",
                fix="give the model that sea embed-init made for these tokens",
            )
        chosen.add(name, 0, torch.tensor(ids, dtype=torch.int64, device=parameter.device))


def _choose_layers(chosen: _Chosen, model: PreTrainedModel, numbers: Sequence[int]) -> None:
    if not numbers:
        return
    layers: Any = getattr(model.get_decoder(), "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise SeaError(f"{type(model).__name__} has no list of decoder layers called `layers`")
    if numbers[-1] >= len(layers):
        raise UsageError(f"--train names layer {numbers[-1]}, the model has 0 to {len(layers) - 1}")
    wanted = {id(parameter) for number in numbers for parameter in layers[number].parameters()}
    chosen.whole.update(name for name, parameter in model.named_parameters() if id(parameter) in wanted)


def _choose_neurons(
    chosen: _Chosen, model: PreTrainedModel, files: Iterable[str], neuron_langs: tuple[str, ...]
) -> None:
    """Several files are one: each language is trained by the neurons of all files that have it."""
    loaded = {file: load_neurons(file) for file in files}
    there = {lang for sets, _ in loaded.values() for lang in sets}
    missing = [lang for lang in neuron_langs if lang not in there]
    if missing:
        fix = f"there are {', '.join(sorted(there)) or 'none'}"
        raise UsageError(f"{', '.join(loaded)}: no neurons for {missing[0]}", fix=fix)
    for sets, metadata in loaded.values():
        check_architecture(metadata, model)
        langs = [lang for lang in sorted(sets) if not neuron_langs or lang in neuron_langs]
        for name, dim, index in selections(model, union(sets, langs)):
            chosen.add(name, dim, index)


def trained_slices(model: PreTrainedModel, parts: Iterable[Part]) -> list[TrainedSlice]:
    """The trained values of `parts` (of all stages of a run) as they stand in the model, for `engine.patch.save_patch`.

    A sharded parameter is gathered, so every rank must call this. Values that are on the CPU already are not copied.
    """
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    chosen, parameters = _Chosen(), dict(model.named_parameters())
    for name, part in parts:
        if isinstance(part, Selection):
            chosen.add(name, part.dim, part.index)
        else:
            chosen.whole.add(name)
    slices = []
    for name, parameter in parameters.items():
        dim, index = (None, None) if name in chosen.whole else chosen.slices.get(name, (None, None))
        if index is None and name not in chosen.whole:
            continue
        value: Any = parameter.detach()
        value = value.full_tensor() if hasattr(value, "full_tensor") else value
        shape = tuple(value.shape)
        if dim is not None and index is not None:
            value = value.index_select(dim, index.to(value.device))
        if value.dtype not in _DTYPES:
            raise SeaError(f"{name} is {value.dtype}, and patches hold fp32, fp16 and bf16")
        value = value.cpu().contiguous()
        bits = (value.view(torch.uint16) if value.dtype == torch.bfloat16 else value).numpy()
        slices.append(
            TrainedSlice(
                names=tuple(names[id(parameter)]),
                dim=dim,
                index=None if index is None else index.cpu().numpy(),
                shape=shape,
                dtype=_DTYPES[value.dtype],
                values=bits,
            )
        )
    return slices
