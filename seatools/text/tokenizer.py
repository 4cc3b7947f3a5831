"""One view over the tokenizers that models ship with: ids, pieces, bytes, special tokens, encode, decode, save.

The engines are sentencepiece, tokenizers and tiktoken themselves, one subclass a file (`sentencepiece_model.py`,
`huggingface_json.py`, `tiktoken_ranks.py`), so ids are theirs by construction; `folder.py` looks at what a path holds
and picks. Nothing here adds BOS or EOS: whoever builds a document does. Cost: the engine's, plus one pass of
`str.encode` over each text, which finds lone surrogates (the engines differ on them: crash, error, or a silent U+FFFD).
Two objects of one class never share state, and `encode` may be called from several threads at once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path

from seatools.streams.cores import available_cores
from seatools.streams.errors import SeaError, UsageError


class Tokenizer(ABC):
    """A loaded tokenizer. Made by `load_tokenizer`; not changed afterwards."""

    kind: str
    """sentencepiece-bpe, sentencepiece-unigram, json-bpe, json-unigram, vocab-merges, tiktoken or tekken."""
    path: Path
    """The path that was asked for."""
    files: tuple[Path, ...]
    """Every tokenizer file of the source; what `save` copies."""
    vocab_size: int
    """Highest id + 1, added tokens included; ids below it may be unused."""
    special_ids: dict[str, int]
    """Text of a special token -> its id."""
    bos_id: int | None = None
    eos_id: int | None = None
    unk_id: int | None = None
    pad_id: int | None = None
    add_bos: bool = False
    """True if the model was trained with BOS before every text (as far as the files say)."""
    byte_level: bool = False
    """True if the ordinary pieces are byte strings, so that encoding is lossless (up to a normaliser)."""
    byte_ids: frozenset[int] = frozenset()
    """Ids of the `<0xNN>` pieces of byte fallback; empty for byte-level tokenizers."""
    notes: list[str]
    """What a command should print as warnings: assumptions made, differences found between the files."""

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Ids of `text`, without BOS or EOS.

        With `special=False` text that spells a special token stays text; with `special=True` it becomes that token
        (for chat templates that are already rendered). Added tokens that are not special are recognised either way.
        Errors: `SeaError` for a lone surrogate.
        """
        return self.encode_batch([text], special=special, workers=1)[0]

    def encode_batch(self, texts: Sequence[str], *, special: bool = False, workers: int = 0) -> list[list[int]]:
        """`encode` for every text, on `workers` cores (0: all of them); the ids do not depend on `workers`."""
        if workers < 0:
            raise UsageError(f"workers is {workers}", fix="give 0 for all cores, or a positive number")
        for text in texts:
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise SeaError(
                    f"a text holds a lone surrogate (U+{ord(text[error.start]):04X} at character {error.start})",
                    fix="repair the text: it was cut inside a character or decoded wrongly",
                ) from None
        if not texts:
            return []
        return self._encode_batch(list(texts), special, workers or available_cores())

    @abstractmethod
    def _encode_batch(self, texts: list[str], special: bool, workers: int) -> list[list[int]]: ...

    @abstractmethod
    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """The text of `ids` as the engine gives it; ids that no piece has stand for nothing.

        Where the engine puts a space before every text (SentencePiece's dummy prefix) it takes one leading space off
        again, also off the decoded rest of a longer text. Bytes that are not UTF-8 become U+FFFD.
        """

    @abstractmethod
    def _piece(self, id: int) -> str | None: ...

    @abstractmethod
    def _piece_bytes(self, id: int) -> bytes: ...

    def piece(self, id: int) -> str:
        """The piece as its file spells it (`▁the`, `Ġthe`, `<0x0A>`; base64 for tiktoken). `SeaError` if unused."""
        piece = self._piece(id) if id >= 0 else None
        if piece is None:
            raise SeaError(
                f"{self.path}: no piece has id {id}",
                fix=f"ids run from 0 to {self.vocab_size - 1}, and some tokenizers leave gaps",
            )
        return piece

    def piece_bytes(self, id: int) -> bytes:
        """The UTF-8 bytes that the piece stands for (perhaps part of a character); b"" for special, control and UNK."""
        self.piece(id)
        return self._piece_bytes(id)

    def bytes_or_none(self, id: int) -> bytes | None:
        """As `piece_bytes`; None for an id that no piece has. (An exception a gap is ten times as slow.)"""
        return None if id < 0 or self._piece(id) is None else self._piece_bytes(id)

    @abstractmethod
    def piece_to_id(self, piece: str) -> int | None:
        """The inverse of `piece`; None if no id has it."""

    @abstractmethod
    def _canonical(self) -> Iterable[bytes]:
        """Everything that decides ids, in an order of its own."""

    def digest(self) -> str:
        """sha256 (hex) of all that decides ids: pieces, scores or merges, normaliser, pre-tokenizer, special ids.

        The same for copies in other folders; what does not change ids (decoder, chat template, padding) is left out.
        """
        roles = (self.bos_id, self.eos_id, self.unk_id, self.pad_id)
        sha = hashlib.sha256(f"{self.kind} {roles} {sorted(self.special_ids.items())}".encode())
        for part in self._canonical():
            sha.update(len(part).to_bytes(8, "little"))
            sha.update(part)
        return sha.hexdigest()

    def save(self, folder: Path) -> None:
        """Copy every tokenizer file of the source into `folder` (made if need be), byte for byte.

        A `pattern` that the user gave is in no file, so it has to be given again for the copy.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for file in self.files:
            target = folder / file.name
            if target.exists() and target.samefile(file):
                raise SeaError(f"{folder} is the tokenizer's own folder", fix="save it to another one")
            shutil.copyfile(file, target)

    @property
    def context_id(self) -> int:
        """The token put before a document: BOS, else EOS."""
        for id in (self.bos_id, self.eos_id):
            if id is not None:
                return id
        raise SeaError(
            f"{self.path} names neither a BOS nor an EOS token",
            fix='put a tokenizer_config.json with "bos_token" or "eos_token" beside it',
        )


def load_tokenizer(path: str | os.PathLike[str], *, pattern: str | None = None) -> Tokenizer:
    """Load the tokenizer that a file or a folder holds; what it is comes from the content, not from the name.

    `pattern`: for files that do not hold their pre-tokenizer (tiktoken ranks, vocab.json + merges.txt), the name of a
    preset (`pretokenizer_presets.PRESETS`) or a regular expression. Errors: `SeaError` for everything wrong with
    the files, `UsageError` for a pattern that has no use.
    """
    from seatools.text.folder import load

    return load(Path(path), pattern)
