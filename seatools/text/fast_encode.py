"""The optional fast engine, gigatoken (the `fast` extra): the same ids, several times faster, or an error.

It is a second implementation, so it is believed only after it gave the library's ids for the probe texts and for a
sample of the user's own text. Texts that spell a special token go to the library, which leaves them text. Not for
Unigram models, SentencePiece models with added tokens, and tiktoken ranks with a pattern of the user's. Measured on
10 MB of Thai and English, two cores: Qwen2 4.6 s -> 0.56 s, Mistral v1 0.77 -> 0.19, o200k 0.80 -> 0.44.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from seatools.streams.errors import SeaError
from seatools.streams.extras import require
from seatools.text.agreement import PROBES
from seatools.text.huggingface_json import JsonTokenizer
from seatools.text.pretokenizer_presets import PRESETS
from seatools.text.sentencepiece_model import SentencePieceTokenizer
from seatools.text.tiktoken_ranks import TiktokenTokenizer
from seatools.text.tokenizer import Tokenizer

_SCHEMES = {"cl100k_base": "gpt4", "o200k_base": "o200k", "gpt2": "gpt2"}


class FastEncoder:
    """Encodes as `tokenizer` does, without BOS or EOS, special tokens left as text.

    Errors: SeaError where the `fast` extra is missing or gigatoken cannot run this tokenizer or gives other ids.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        package = require("gigatoken")
        try:
            self._engine = _engine(package, tokenizer)
        except SeaError:
            raise
        except Exception as error:  # gigatoken raises ValueError, NotImplementedError and others, none of its own
            raise _refused(tokenizer, f"gigatoken cannot run it: {error}") from None
        spelled = sorted((re.escape(text) for text in tokenizer.special_ids if text), key=len, reverse=True)
        self._special = re.compile("|".join(spelled) or r"(?!)")
        self.check(PROBES)

    def check(self, texts: Sequence[str]) -> None:
        """SeaError for the first text that the library encodes otherwise."""
        ids, num_tokens = self.encode(texts)
        ends = np.cumsum(num_tokens)
        for text, wanted, end, size in zip(texts, self.tokenizer.encode_batch(texts), ends, num_tokens, strict=True):
            if ids[end - size : end].tolist() != wanted:
                shown = text if len(text) <= 40 else f"{text[:40]}..."
                raise _refused(self.tokenizer, f"gigatoken gives other ids for {shown!r}")

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(ids [tokens] uint32 of all texts in a row, tokens [texts] int64)."""
        texts = list(texts)
        plain = [text for text in texts if not self._special.search(text)]
        encoded = self._engine.encode_batch(plain).layout
        offsets = np.asarray(encoded.offsets.data, np.int64)
        ids, num_tokens = np.asarray(encoded.content.data)[offsets[0] : offsets[-1]], np.diff(offsets)
        if len(plain) == len(texts):
            return ids, num_tokens
        fast = iter(np.split(ids, np.cumsum(num_tokens)[:-1]))
        rows = [
            np.array(self.tokenizer.encode(text), ids.dtype) if self._special.search(text) else next(fast)
            for text in texts
        ]
        return np.concatenate(rows), np.fromiter(map(len, rows), np.int64, len(rows))


def _engine(package: Any, tokenizer: Tokenizer) -> Any:
    if isinstance(tokenizer, SentencePieceTokenizer):
        if tokenizer.vocab_size > tokenizer.engine.vocab_size():
            raise _refused(tokenizer, "it has added tokens that are no SentencePiece pieces")
        return package.Tokenizer.from_sentencepiece(tokenizer.model_proto.SerializeToString())
    if isinstance(tokenizer, JsonTokenizer):
        return package.Tokenizer.from_json(json.dumps(tokenizer.json_model))
    if isinstance(tokenizer, TiktokenTokenizer):
        return _from_ranks(package, tokenizer)
    raise _refused(tokenizer, f"it is of the kind {tokenizer.kind}")


def _from_ranks(package: Any, tokenizer: TiktokenTokenizer) -> Any:
    import base64
    import tempfile
    from pathlib import Path

    scheme = next((scheme for name, scheme in _SCHEMES.items() if PRESETS[name].pattern == tokenizer.pattern), None)
    if scheme is None:
        raise _refused(tokenizer, "gigatoken does not know its pattern")
    lines = (b"%s %d\n" % (base64.b64encode(data), id) for data, id in tokenizer.ranks.items())
    with tempfile.TemporaryDirectory() as folder:  # gigatoken reads ranks from a file only, and not tekken.json
        path = Path(folder) / "ranks.tiktoken"
        path.write_bytes(b"".join(lines))
        return package.Tokenizer.from_tiktoken(path, scheme, {})


def _refused(tokenizer: Tokenizer, why: str) -> SeaError:
    return SeaError(f"{tokenizer.path}: the fast engine cannot be used: {why}", fix="run again without --fast")
