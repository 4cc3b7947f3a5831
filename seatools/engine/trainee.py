"""The model side of a run, for every kind of training: the model made ready, what of it is trained, the optimiser.

Order matters where several processes share a model: layers are wrapped (recomputation, compile) before FSDP2 sees them,
what is frozen is decided before it cuts them, and the optimiser is made from what it leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from seatools.engine.device import pick_device, pick_dtype
from seatools.engine.load import build_model, check_vocabulary, load_model
from seatools.engine.muon import muon_names
from seatools.engine.optimise import MasterAdamW
from seatools.engine.selected import Selection
from seatools.engine.shard import LossModule, shard
from seatools.engine.train_spec import parse_train
from seatools.engine.trained_parts import Part, choose_parts
from seatools.engine.training_mode import prepare_for_training
from seatools.engine.training_options import TrainingOptions
from seatools.engine.world import World
from seatools.streams.errors import UsageError
from seatools.streams.messages import Messages

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_STATES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Trainee:
    """A model ready to be trained: `root` computes its loss, `parts` are what is trained of it."""

    model: PreTrainedModel
    root: LossModule
    parts: list[Part]
    shared: bool
    """Its weights are cut over the processes (FSDP2)."""
    dtype: torch.dtype
    """In which it is multiplied and exported."""


def load_trainee(
    model_path: Path,
    options: TrainingOptions,
    *,
    seq_len: int,
    vocab_size: int,
    tokenizer_path: Path,
    world: World,
    messages: Messages,
    from_config: bool = False,
    option: str = "--seq-len",
    lengths_vary: bool = False,
) -> Trainee:
    """The model on its device, ready to be trained on rows of `seq_len` tokens (set by `option`), or of up to as many.

    `vocab_size`: of the tokenizer at `tokenizer_path`, which the model is checked against. `from_config`: fresh
    weights by the folder's config.json.
    """
    device = world.device or pick_device(options.device)
    dtype = pick_dtype(options.dtype, device)
    spec = parse_train(options.train)
    shared = world.size > 1 and options.parallel != "ddp" and not (spec.neurons or spec.new_rows)
    # Shared weights are fp32, and moved to the device layer by layer by FSDP2.
    place, kept = (torch.device("cpu"), torch.float32) if shared and not options.fp8 else (device, dtype)
    if from_config:
        model = build_model(
            model_path, vocab_size=None, seed=options.seed, device=place, dtype=kept, attention=options.attention
        )
    else:
        model = load_model(model_path, device=place, dtype=kept, attention=options.attention)
    check_vocabulary(model, vocab_size, str(tokenizer_path))
    prepare_for_training(
        model, seq_len=seq_len, recompute=options.activation_checkpointing, compile_blocks=options.compile,
        fp8=options.fp8, announce=lambda: messages.info("compiling the layers: the first step takes longer"),
        option=option, lengths_vary=lengths_vary,
    )  # fmt: skip
    parts = choose_parts(
        model, spec, model_path=model_path, neuron_langs=options.neuron_langs, first_new_row=options.first_new_row,
        messages=messages, vocab_size=vocab_size,
    )  # fmt: skip
    root = LossModule(model)
    if shared:
        shard(root, world, dtype)
        parameters = dict(model.named_parameters())
        parts = [(name, parameters[name]) for name, _ in parts]
    return Trainee(model, root, parts, shared, dtype)


def make_optimizer(trainee: Trainee, options: TrainingOptions) -> MasterAdamW:
    """The optimiser of what is trained, with the learning rates of its parts."""
    modules = [trainee.model.get_input_embeddings(), trainee.model.get_output_embeddings()]
    vocabulary = {id(parameter) for module in modules if module is not None for parameter in module.parameters()}
    scales: dict[str, float] = {}
    if options.embedding_lr is not None:
        for name, part in trainee.parts:
            if id(part.param if isinstance(part, Selection) else part) in vocabulary:
                scales[name] = options.embedding_lr / options.lr
    whole = {name for name, part in trainee.parts if not isinstance(part, Selection)}
    inside = frozenset(muon_names(trainee.model) & whole if options.optimizer == "muon" else ())
    if options.optimizer == "muon" and not inside:  # else refused by `run_checks`
        raise UsageError("--optimizer muon: this model has no matrices for it in its layers", fix="--optimizer adamw")
    return MasterAdamW(
        trainee.parts, lr_scales=scales, weight_decay=options.weight_decay, masters=options.masters,
        state_dtype=_STATES[options.optimizer_states],
        muon=inside,
    )  # fmt: skip
