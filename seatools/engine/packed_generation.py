"""Answers to a group of prompts with nothing padded, nothing computed twice, and nobody waiting for a slow answer.

A batch is the newest token of every running answer, and, where a place is free, as much of the next prompts as the
budget of a batch allows. Shared beginnings are read once (shared_beginnings.py) and looked at once a step for all
answers (row_attention.py). The limit: a step of 64 answers of a 51 M-parameter model (50,266 pieces) is 6.6 GFLOP,
51 ms at the 130 GFLOP/s of one core, while reading its weights would take 20; more places gain nothing on a CPU.
Everything follows from the prompts of the group, their seeds and the options, so that a group that is run again has
the same answers to the byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from seatools.engine.loss import Head, head_of
from seatools.engine.prefix_scores import unshareable
from seatools.engine.prompts import PromptError
from seatools.engine.row_attention import Beginning, Piece, RowLayout, Slots, row_attention, row_hidden
from seatools.engine.sampling import SamplingOptions, next_tokens, penalised
from seatools.engine.shared_beginnings import shared_beginnings
from seatools.engine.stop_strings import Answer, Decode, Generated
from seatools.streams.errors import SeaError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Answers that run at once, and tokens of prompts read in one batch.
_SLOTS_CPU, _SLOTS_CUDA = 64, 256
_READ_CPU, _READ_CUDA = 1024, 8192


@dataclass
class _Row:
    """A prompt and its answer."""

    number: int
    own: list[int]
    """The tokens after the beginning that it hangs on."""
    start: int
    """Position of the first of these."""
    on: Beginning | None
    uniforms: np.ndarray
    answer: Answer
    prompt: Sequence[int]
    """The whole prompt, for the repetition penalty."""
    length: int = 0
    """Tokens in its slot."""
    token: int = -1
    """The newest token, not yet in the slot; -1 while the prompt is being read."""


def packed_answers(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    options: SamplingOptions,
    *,
    seeds: Sequence[int],
    batch_tokens: int,
    decode: Decode | None,
) -> Iterator[tuple[int, Generated]]:
    """(index of the prompt, answer) as the answers finish. `unpackable(model)` must be None."""
    with row_attention(model):
        yield from _Loop(model, prompts, options, seeds, batch_tokens, decode).run()


class _Loop:
    def __init__(
        self,
        model: PreTrainedModel,
        prompts: Sequence[Sequence[int]],
        options: SamplingOptions,
        seeds: Sequence[int],
        batch_tokens: int,
        decode: Decode | None,
    ) -> None:
        self.model, self.options, self.head = model, options, head_of(model)
        cuda = model.device.type == "cuda"
        self.read_tokens = _READ_CUDA if cuda else _READ_CPU
        steps = options.max_new_tokens
        rows = []
        for number, (prompt, on) in enumerate(zip(prompts, shared_beginnings(prompts), strict=True)):
            start = on.start + len(on.ids) if on is not None else 0
            uniforms = np.random.default_rng(seeds[number]).random(steps) if options.temperature else np.zeros(0)
            rows.append(_Row(number, list(prompt[start:]), start, on, uniforms, Answer(options, decode), prompt))
        # Longest first, those that hang on one beginning side by side, so that slots beside each other are alike.
        order = {id(row.on): place for place, row in reversed(list(enumerate(rows)))}
        self.waiting = sorted(rows, key=lambda row: (order[id(row.on)], -len(row.own), row.number))
        longest = max(len(row.own) for row in rows) + steps
        number = min(len(rows), _SLOTS_CUDA if cuda else _SLOTS_CPU, max(1, batch_tokens // (steps + 1)))
        # A CPU gives memory where a token lands; the address space is bounded all the same.
        number = min(number, max(1, (1 if cuda else 4) * batch_tokens // longest))
        self.store = Slots(number, longest)
        self.live: list[_Row | None] = [None] * number
        self.room = batch_tokens

    def run(self) -> Iterator[tuple[int, Generated]]:
        while self.waiting or any(row is not None for row in self.live):
            running = [(slot, row) for slot, row in enumerate(self.live) if row is not None and row.token >= 0]
            pieces, asked = self._next_pieces()
            hidden = self._step(running, pieces)
            asked = [row for _, row in running] + asked
            if not asked:
                continue
            logits = _logits(hidden, self.head)
            finite = torch.isfinite(logits.amax(-1))
            if not bool(finite.all()):
                what = "the model gave logits that are not finite"
                raise PromptError(asked[finite.tolist().index(False)].number, what, fix="try --dtype bf16 or fp32")
            for row, token in zip(asked, self._choose(logits, asked), strict=True):
                row.token = token
                if (answer := row.answer.add(token)) is not None:
                    self._leave(row)
                    yield row.number, answer

    def _step(self, running: Sequence[tuple[int, _Row]], pieces: Sequence[Piece]) -> Tensor:
        """Last hidden states [n, D] of the running answers and of the pieces that end a prompt."""
        ids, positions, lengths, ends = [], [], [], list(range(len(running)))
        for _, row in running:
            ids.append(row.token)
            positions.append(row.start + row.length)
            row.length += 1
            lengths.append(row.length)
        for piece in pieces:
            if isinstance(piece.into, Beginning):
                source, start = piece.into.ids, piece.into.start
            else:
                row = self._row_in(piece.into)
                source, start = row.own, row.start
                row.length += piece.size
            ids.extend(source[piece.at : piece.at + piece.size])
            positions.extend(range(start + piece.at, start + piece.at + piece.size))
            if isinstance(piece.into, int) and piece.at + piece.size == len(source):
                ends.append(len(ids) - 1)
        device = self.model.device
        layout = RowLayout(
            self.store, [slot for slot, _ in running], lengths, [row.on for _, row in running], pieces,
            torch.tensor(positions, device=device),
        )  # fmt: skip
        hidden = row_hidden(self.model, torch.tensor(ids, device=device), layout)
        for piece in pieces:
            if isinstance(piece.into, Beginning):
                piece.into.done += piece.size
        return hidden if len(ends) == len(ids) else hidden[torch.tensor(ends, dtype=torch.int64, device=device)]

    def _row_in(self, slot: int) -> _Row:
        row = self.live[slot]
        assert row is not None
        return row

    def _next_pieces(self) -> tuple[list[Piece], list[_Row]]:
        """What is read beside the running answers, beginnings and prompts, and the rows whose prompts that ends."""
        pieces: list[Piece] = []
        ended: list[_Row] = []
        left = self.read_tokens

        def read(into: Beginning | int, at: int, length: int, on: Beginning | None) -> int:
            nonlocal left
            size = min(left, length - at)
            pieces.append(Piece(into, at, size, on))
            left -= size
            return at + size

        def read_own(slot: int, row: _Row) -> None:
            if read(slot, row.length, len(row.own), row.on) == len(row.own):
                ended.append(row)

        for slot, row in enumerate(self.live):
            if row is not None and row.token < 0 and left:
                read_own(slot, row)
        free = [slot for slot, row in enumerate(self.live) if row is None]
        reserved = sum(self._need(row) for row in self.live if row is not None)
        begun: set[int] = set()
        for row in self.waiting[: len(free)]:
            if not left:
                break
            unread = [one for one in (row.on.chain() if row.on is not None else ()) if not one.is_read]
            if unread:
                top = unread[-1]
                if id(top) not in begun:
                    begun.add(id(top))
                    read(top, top.done, len(top.ids), top.above)
                continue
            if reserved and reserved + self._need(row) > self.room:
                break
            reserved += self._need(row)
            slot = free.pop(0)
            self.live[slot] = row
            read_own(slot, row)
        self.waiting = [row for row in self.waiting if not any(row is other for other in self.live)]
        return pieces, ended

    def _choose(self, logits: Tensor, rows: Sequence[_Row]) -> list[int]:
        if (penalty := self.options.repetition_penalty) != 1:
            seen = [np.array([*row.prompt, *row.answer.ids], dtype=np.int64) for row in rows]
            logits = penalised(logits, seen, penalty)
        sampled = bool(self.options.temperature)
        uniforms = np.array([row.uniforms[len(row.answer.ids)] for row in rows]) if sampled else np.zeros(0)
        return next_tokens(logits, self.options, torch.from_numpy(uniforms).to(logits.device)).tolist()

    def _leave(self, row: _Row) -> None:
        self.live[next(slot for slot, other in enumerate(self.live) if other is row)] = None
        for beginning in row.on.chain() if row.on is not None else ():
            beginning.users -= 1
            if not beginning.users:
                beginning.kept.clear()

    def _need(self, row: _Row) -> int:
        return len(row.own) + self.options.max_new_tokens


def _logits(hidden: Tensor, head: Head) -> Tensor:
    """[n, D] -> [n, V], as the model's own forward gives them."""
    logits = torch.nn.functional.linear(hidden.to(head.weight.dtype), head.weight, head.bias)
    if head.scale != 1:
        logits = logits * head.scale
    return torch.tanh(logits / head.softcap) * head.softcap if head.softcap else logits


_reasons: WeakKeyDictionary[Any, tuple[Any, str | None]] = WeakKeyDictionary()


def unpackable(model: PreTrainedModel) -> str | None:
    """Why `packed_answers` cannot run `model`, after "it has"; None where a proof says that it can.

    The proof is that of `prefix_scores.unshareable`, as the attention layers are asked for the same, and that the
    head gives the logits of the model's own forward. Kept for each model and dtype.
    """
    known = _reasons.get(model)
    if known is None or known[0] != model.dtype:
        _reasons[model] = known = model.dtype, _reason(model)
    return known[1]


def _reason(model: PreTrainedModel) -> str | None:
    if changes_with_length(model):
        return "rotary frequencies that change with the length of a text"
    if (why := unshareable(model)) is not None:
        return why
    embeddings: Any = model.get_input_embeddings()
    ids = torch.arange(3, 9, device=model.device)[None] % len(embeddings.weight)
    with torch.no_grad():
        try:
            head = head_of(model)
        except SeaError as error:
            return f"no head of one layer: {error.what}"
        decoder: Any = model.get_decoder()
        decoder = model.model if decoder is model else decoder
        ours = _logits(decoder(input_ids=ids, use_cache=False).last_hidden_state[0], head)
        theirs = model(input_ids=ids, use_cache=False).logits[0]
    same = (ours.float() - theirs.float()).abs().max() <= 1e-3 * theirs.float().abs().max()
    return None if bool(same) else "a head that computes its logits otherwise"


def changes_with_length(model: PreTrainedModel) -> bool:
    """Whether a long text changes the rotary frequencies of all its batch (Phi-3 long, dynamic NTK)."""
    found = getattr(model.config.get_text_config(decoder=True), "rope_parameters", None) or {}
    ropes = (found, *(value for value in found.values() if isinstance(value, dict)))
    return any(rope.get("rope_type") in ("longrope", "dynamic") for rope in ropes)
