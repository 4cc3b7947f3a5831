"""tiktoken rank files: one line a piece, its bytes in base64 and its rank, which is its id.

The file holds neither the pattern nor the special tokens. They come from a preset (`pretokenizer_presets.py`) that the
user names or the file's stem does, or from a regular expression of the user; nothing is guessed and nothing is
downloaded. A preset's special tokens belong to its published rank file, and to that file with ranks appended above all
of them (as `sea vocab-extend` writes it); for any other set of ranks they are left out. Engine: the tiktoken package.
Cost: 0.3 s for 200,000 ranks.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from seatools.streams.errors import SeaError, UsageError
from seatools.text.agreement import PROBES
from seatools.text.engine_errors import is_panic
from seatools.text.pretokenizer_presets import PRESETS
from seatools.text.special_tokens import MAX_IDS, read_bytes
from seatools.text.tokenizer import Tokenizer


class TiktokenTokenizer(Tokenizer):
    """A rank file with its pattern. `ranks`: bytes -> id; `pattern`: the regular expression in use."""

    kind = "tiktoken"
    byte_level = True

    def __init__(self, path: Path, ranks_path: Path, pattern: str | None, files: tuple[Path, ...]) -> None:
        self.path, self.files, self.notes = path, files, []
        ranks = read_ranks(ranks_path)
        found, special_ids = self._resolve(ranks_path, ranks, pattern)
        self._set_engine(ranks_path, ranks, found, special_ids)
        if pattern is not None:
            self._check_pattern()
        self.eos_id = self.special_ids.get("<|endoftext|>")

    def _set_engine(self, source: Path, ranks: dict[bytes, int], pattern: str, special_ids: dict[str, int]) -> None:
        import tiktoken

        self.ranks, self.pattern, self.special_ids = ranks, pattern, special_ids
        try:
            self.engine = tiktoken.Encoding(
                source.stem, pat_str=pattern, mergeable_ranks=ranks, special_tokens=special_ids
            )
        except ValueError as error:
            raise UsageError(f"tiktoken cannot use the pattern {pattern!r}: {error}", fix="mend it") from None
        self._pieces = {id: data for data, id in ranks.items()}
        self._special = {id: text for text, id in special_ids.items()}
        self.vocab_size = max(*self._pieces, *self._special) + 1

    def _resolve(self, ranks_path: Path, ranks: dict[bytes, int], pattern: str | None) -> tuple[str, dict[str, int]]:
        name = pattern if pattern is not None else ranks_path.stem
        preset = PRESETS.get(name)
        if preset is None:
            if pattern is not None:
                return pattern, {}
            raise SeaError(
                f"{ranks_path} does not say how text is split, and its name is not that of a known encoding",
                fix=f"give --pattern: {', '.join(PRESETS)}, or a regular expression",
            )
        if preset.owns(ranks.values()):
            return preset.pattern, dict(preset.special)
        says = f"{ranks_path} holds {len(ranks)} ranks"
        if len(ranks) >= preset.num_ranks:
            says += f", but not {name}'s {preset.num_ranks} with more above its special tokens"
        else:
            says += f", {name} has {preset.num_ranks}"
        if pattern is None:
            raise SeaError(says, fix=f"get the file again, or give --pattern {name} if it is another vocabulary")
        self.notes.append(f"{says}: only its pattern is used, not its special tokens")
        return preset.pattern, {}

    def _check_pattern(self) -> None:
        # tiktoken drops whatever the pattern does not match, and panics where it matches nothing.
        for text in PROBES:
            try:
                kept = self.engine.decode(self.engine.encode_ordinary(text)) == text
            except BaseException as error:
                if not is_panic(error):
                    raise
                kept = False
            if not kept:
                raise UsageError(
                    f"the pattern {self.pattern!r} loses a part of {text!r}",
                    fix="let it match every character, and never an empty string",
                )

    def _encode_batch(self, texts: list[str], special: bool, workers: int) -> list[list[int]]:
        encode = partial(self.engine.encode, allowed_special="all") if special else self.engine.encode_ordinary
        # In shares, for tiktoken's own batch call hands texts to its threads one by one: 2.1 s for 65,000 lines (10 MB)
        # where one thread needs 0.8 s.
        share = -(-len(texts) // (4 * workers))
        shares = [texts[start : start + share] for start in range(0, len(texts), share)]
        try:
            if workers == 1 or len(texts) == 1:
                return [encode(text) for text in texts]
            with ThreadPoolExecutor(workers) as pool:
                return [ids for part in pool.map(lambda part: [encode(text) for text in part], shares) for ids in part]
        except BaseException as error:
            # The known panic is a full stack of the regex engine, on huge runs of one class of characters.
            if not is_panic(error):
                raise
            raise SeaError(
                f"tiktoken gave up on a text of up to {max(map(len, texts))} characters: {error}",
                fix="break up texts with very long runs of spaces",
            ) from None

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        data = b"".join(
            self._pieces[id] if id in self._pieces else b"" if skip_special else self._special.get(id, "").encode()
            for id in map(int, ids)
        )
        return data.decode("utf-8", "replace")

    def _piece(self, id: int) -> str | None:
        if id in self._pieces:
            return base64.b64encode(self._pieces[id]).decode()
        return self._special.get(id)

    def _piece_bytes(self, id: int) -> bytes:
        return self._pieces.get(id, b"")

    def piece_to_id(self, piece: str) -> int | None:
        if piece in self.special_ids:
            return self.special_ids[piece]
        try:
            return self.ranks.get(base64.b64decode(piece, validate=True))
        except (binascii.Error, ValueError):
            return None

    def _canonical(self) -> Iterable[bytes]:
        yield self.pattern.encode()
        yield b"".join(b"%d %d " % (id, len(data)) + data for id, data in sorted(self._pieces.items()))


def read_ranks(path: Path) -> dict[bytes, int]:
    """Bytes -> rank; `SeaError` with file:line for a broken line, a repeated piece or rank, or a missing byte."""
    ranks: dict[bytes, int] = {}
    used: set[int] = set()
    for number, line in enumerate(read_bytes(path).split(b"\n"), 1):
        line = line.removesuffix(b"\r")
        if not line:
            continue
        try:
            encoded, rank_text = line.split(b" ")
            data, rank = base64.b64decode(encoded, validate=True), int(rank_text)
        except ValueError:  # binascii.Error is one
            data, rank = b"", -1
        if not data or not 0 <= rank < MAX_IDS:
            shown = line[:40].decode("utf-8", "replace")
            raise SeaError(
                f"{shown!r} is not a rank", where=f"{path}:{number}", fix="a line is base64, a space and a number"
            )
        if data in ranks or rank in used:
            raise SeaError(f"{line.decode()!r} comes twice", where=f"{path}:{number}", fix="get the file again")
        ranks[data] = rank
        used.add(rank)
    missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if missing:
        raise SeaError(
            f"{path} has no rank for {len(missing)} of the 256 single bytes (first: 0x{missing[0]:02X})",
            fix="get the file again; tiktoken cannot encode every text without them",
        )
    return ranks
