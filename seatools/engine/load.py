"""Models in and out: any Hugging Face causal language model folder, offline, safetensors only, no code from the folder.

Everything that would otherwise end in a traceback or, worse, in a model with some random weights is looked for first:
pickles, remote code, missing or cut shards, tensors that do not belong. After loading, the model proves on a few tokens
that packed rows and our output head give its own log-probabilities (engine/soundness.py), with the attention chosen.
Cost: the weights are read once; the checks read headers only.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from seatools.engine import attention as document_attention
from seatools.engine.device import pick_device, pick_dtype
from seatools.engine.soundness import check_soundness
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.parsed import parse_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ATTENTIONS = ("auto", document_attention.NAME, "sdpa", "eager", "flash_attention_2", "flash_attention_3")
KERNELS = "kernels-community/"  # attention of the kernels package, by the name of its repository, already downloaded
MAX_SHARD = "5GB"
# Buffers that older versions wrote into checkpoints and that every version computes by itself.
_COMPUTED = re.compile(r"(rotary_emb\.inv_freq|attn\.(masked_)?bias|attention\.(masked_)?bias)$")


def load_model(
    path: str | Path,
    *,
    device: torch.device | str,
    dtype: torch.dtype,
    attention: str = "auto",
    packing: bool = True,
) -> PreTrainedModel:
    """The causal language model in folder `path`, on `device`, weights in `dtype`, in eval mode.

    `attention`: one of ATTENTIONS, or a name that begins with KERNELS. auto: sea_varlen where the architecture takes it
    and passes the proof with it, else sdpa, else eager (Gemma 2 caps attention scores).
    `packing=False` leaves out the proof that packed documents are kept apart (for use with one document a row only);
    auto is then sdpa or eager.
    Raises SeaError for a folder that is no such model, is damaged, or holds too few or too many tensors.
    """
    folder = Path(path)
    implementation = _implementation(attention)
    check_folder(folder)
    transformers = _transformers()
    try:
        model, info = transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation=implementation,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except Exception as error:  # transformers and safetensors raise many kinds here, all of them about this folder
        raise SeaError(f"cannot be loaded: {_first_line(error)}", where=str(folder)) from error
    _check_keys(folder, "has no weights for", info["missing_keys"])
    _check_keys(folder, "has weights that the model has no place for:", info["unexpected_keys"])
    model = model.to(device).eval()
    _keep_caps(model, attention)
    if packing:
        prove(model, attention)
    return model


def open_model(
    path: str | Path, *, device: str, dtype: str, vocab_size: int | None = None, packing: bool = True
) -> PreTrainedModel:
    """`load_model` with device and dtype as the command line names them, checked against its own tokenizer's size."""
    place = pick_device(device)
    model = load_model(path, device=place, dtype=pick_dtype(dtype, place), packing=packing)
    if vocab_size is not None:
        check_vocabulary(model, vocab_size, path)
    return model


def max_positions(config: Any) -> int | None:
    """The longest input of a model by its (transformers) configuration; None where it is not limited."""
    positions = getattr(config.get_text_config(decoder=True), "max_position_embeddings", None)
    return positions if isinstance(positions, int) and positions > 0 else None


def model_positions(folder: Path, *, has_weights: bool = True) -> int | None:
    """`max_positions` of the model in `folder`; its weights are not read, nor missed if not `has_weights`."""
    config = check_folder(folder) if has_weights else _read_config(folder / "config.json")
    try:
        return max_positions(_transformers().CONFIG_MAPPING[config["model_type"]].from_dict(config))
    except Exception as error:  # transformers and huggingface_hub raise many kinds here, all of them about this file
        raise SeaError(f"describes no model: {_first_line(error)}", where=str(folder / "config.json")) from error


def build_model(
    config_path: str | Path,
    *,
    vocab_size: int | None = None,
    seed: int = 0,
    device: torch.device | str,
    dtype: torch.dtype,
    attention: str = "auto",
) -> PreTrainedModel:
    """A fresh model from a config.json (the file or its folder), initialised from `seed`, in eval mode.

    The numbers are drawn on the CPU in fp32 and then rounded, so that they do not depend on `device`; the global
    random state stays as it was.
    """
    file = Path(config_path)
    file = file / "config.json" if file.is_dir() else file
    implementation = _implementation(attention)
    document = _read_config(file)
    transformers = _transformers()
    try:
        config = transformers.CONFIG_MAPPING[document["model_type"]].from_dict(document)
        if vocab_size is not None:
            config.get_text_config().vocab_size = vocab_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = transformers.AutoModelForCausalLM.from_config(
                config, dtype=torch.float32, attn_implementation=implementation
            )
    except Exception as error:
        raise SeaError(f"no model can be built from it: {_first_line(error)}", where=str(file)) from error
    for parameter in model.parameters():  # not model.to(dtype): that would round the rotary frequencies too
        parameter.data = parameter.data.to(dtype)
    model.config.dtype = dtype
    model = model.to(device).eval()
    _keep_caps(model, attention)
    prove(model, attention)
    return model


def save_model(model: PreTrainedModel, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
    """Write `model` as a Hugging Face folder (config.json, safetensors in shards of 5 GB) into the existing `folder`.

    Weights are stored in `dtype`, or in the model's own. Tied weights are stored once.
    """
    folder = Path(folder)
    _transformers()
    state: dict[str, Any] | None = None
    if dtype is not None and dtype != model.dtype:
        state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in _untied(model).items()}
    try:
        model.save_pretrained(folder, state_dict=state, max_shard_size=MAX_SHARD)
    except Exception as error:
        raise SeaError(f"the model cannot be written: {_first_line(error)}", where=str(folder)) from error
    for weights in folder.glob("*.safetensors"):  # safetensors makes them for their owner's eyes only
        shutil.copymode(folder / "config.json", weights)
    if state is not None:
        file = folder / "config.json"
        document = json.loads(file.read_text("utf-8"))
        document["dtype"] = str(dtype).removeprefix("torch.")
        file.write_text(json.dumps(document, indent=2) + "\n", "utf-8")


def check_vocabulary(model: PreTrainedModel, vocab_size: int, path: str | Path) -> None:
    """Raise SeaError if a tokenizer of `vocab_size` ids (from `path`) needs rows that `model` does not have."""
    embeddings: Any = model.get_input_embeddings()
    rows = embeddings.weight.shape[0]
    if vocab_size > rows:
        raise SeaError(
            f"the tokenizer has ids up to {vocab_size - 1}, the model has {rows} embedding rows",
            where=str(path),
            fix="give the model that belongs to this tokenizer, or make its rows with sea embed-init",
        )


def check_folder(folder: Path) -> dict[str, Any]:
    """The config.json of a model folder, after looking for all that can be seen without reading weights.

    Raises SeaError: not a folder, no or broken config.json, remote code, quantised, pickles only, missing or cut files.
    """
    if not folder.is_dir():
        raise SeaError("is not a folder" if folder.exists() else "does not exist", where=str(folder))
    config = _read_config(folder / "config.json")
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        files = [single]
    elif index.is_file():
        try:
            names = sorted(set(parse_json(index.read_bytes())["weight_map"].values()))
            outside = [name for name in names if Path(name).name != name]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SeaError("is not an index of safetensors files", where=str(index)) from error
        if outside:
            raise SeaError(f'names "{outside[0]}", which is not a file of this folder', where=str(index))
        files = [folder / name for name in names]
    else:
        pickles = sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth"))
        if pickles:
            raise SeaError(
                f"holds its weights as a pickle only ({pickles[0]}), which can run code when it is opened",
                where=str(folder),
                fix='if you trust it, convert it: python -c "from transformers import AutoModelForCausalLM as M; '
                f"M.from_pretrained('{folder}', use_safetensors=False).save_pretrained('{folder}-safetensors')\" "
                "and copy the tokenizer files",
            )
        raise SeaError("has no model.safetensors and no model.safetensors.index.json", where=str(folder))
    from safetensors import safe_open

    for file in files:
        if not os.path.isfile(file):
            raise SeaError(f"is missing, and {index.name} names it", where=str(file), fix="copy or download it again")
        try:
            with safe_open(file, framework="pt"):
                pass
        except Exception as error:  # safetensors has one class for all damage, and OSError for the rest
            raise SeaError(
                f"is cut short or damaged: {_first_line(error)}", where=str(file), fix="copy or download it again"
            ) from error
    return config


def _read_config(file: Path) -> dict[str, Any]:
    try:
        config = parse_json(file.read_bytes())
    except FileNotFoundError as error:
        raise SeaError("does not exist: not a Hugging Face model", where=str(file)) from error
    except (ValueError, OSError) as error:
        raise SeaError(f"is not JSON: {error}", where=str(file)) from error
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise SeaError("has no model_type", where=str(file))
    if "auto_map" in config:
        raise SeaError(
            "asks for Python code from the model's folder (auto_map), which sea never runs",
            where=str(file),
            fix=f"if transformers itself knows {config['model_type']}, remove auto_map from config.json",
        )
    if "quantization_config" in config:
        raise SeaError(
            "the weights are quantised; sea works on plain weights", where=str(file), fix="use the original model"
        )
    if config["model_type"] not in _transformers().CONFIG_MAPPING:
        raise SeaError(f"transformers does not know the model type {config['model_type']!r}", where=str(file))
    return config


def _check_keys(folder: Path, problem: str, keys: Iterable[str]) -> None:
    odd = sorted(key for key in keys if not _COMPUTED.search(key))
    if odd:
        more = f" and {len(odd) - 4} more" if len(odd) > 4 else ""
        raise SeaError(f"{problem} {', '.join(odd[:4])}{more}", where=str(folder), fix="it is not a whole checkpoint")


def _untied(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """The state with each tied weight once, under its first name: a cast copy would lose the tie otherwise."""
    every_name = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    first_names = {name for name, _ in model.named_parameters()}
    return {k: v for k, v in model.state_dict().items() if k in first_names or k not in every_name}


def _implementation(attention: str) -> str | None:
    """The name for transformers: None lets it take sdpa where the architecture has it, else eager."""
    if attention not in ATTENTIONS and not attention.startswith(KERNELS):
        raise UsageError(f"unknown attention {attention!r}", fix=f"use one of {', '.join(ATTENTIONS)}, {KERNELS}NAME")
    document_attention.register()
    return None if attention == "auto" else attention


def _keep_caps(model: PreTrainedModel, attention: str) -> None:
    """Never sdpa for a model that caps its attention scores (Gemma 2): transformers 5.17 leaves the cap out there and
    says nothing (5.23 refuses), and the proof, whose reference would be sdpa too, could not see it."""
    capped = getattr(model.config.get_text_config(decoder=True), "attn_logit_softcapping", None)
    if not capped or model.config._attn_implementation != "sdpa":
        return
    if attention != "auto":
        what = f"{type(model).__name__} caps its attention scores, which scaled_dot_product_attention cannot"
        raise SeaError(what, fix="--attention eager")
    model.set_attn_implementation("eager")


def prove(model: PreTrainedModel, attention: str) -> None:
    """`check_soundness`, having chosen the attention where that is left open."""
    if attention == "auto" and model.config._attn_implementation == "sdpa" and document_attention.can_keep_apart(model):
        try:
            model.set_attn_implementation(document_attention.NAME)
            check_soundness(model)
            return
        except (SeaError, ValueError):  # an architecture that does something of its own with its masks
            model.set_attn_implementation("sdpa")
    check_soundness(model)


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _transformers() -> Any:
    """transformers, told to stay offline and to keep quiet."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TRANSFORMERS_OFFLINE"] = "1"
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers
