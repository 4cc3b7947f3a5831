"""Optional packages: imported when they are used, and answered by one line when they are not installed."""

from __future__ import annotations

import importlib
from typing import Any

from seatools.streams.errors import SeaError

EXTRAS = {
    "matplotlib": "plot", "vllm": "vllm", "kernels": "kernels", "pycld2": "lid", "fasttext": "lid", "gigatoken": "fast",
    "gensim": "vectors", "pythainlp": "segment", "khmercut": "segment", "laonlp": "segment",
    "tensorboard": "tensorboard", "wandb": "wandb", "trackio": "trackio", "torchao": "fp8",
    "datasets": "hub",
}  # fmt: skip


def require(package: str) -> Any:
    """The module `package`, which belongs to one of the EXTRAS; SeaError says what to install when it is missing."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        fix = f'pip install "sea-adapt[{EXTRAS[package]}]"'
        raise SeaError(f"this needs {package}, which is not installed", fix=fix) from None
