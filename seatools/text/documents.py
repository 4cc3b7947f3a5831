"""From records to tokens and the mask of those that are trained.

Plain text is trained whole, a chat only where the assistant speaks (its end-of-turn token included), a prompt with a
completion only in the completion. What a chat template lets the assistant say is found by rendering the conversation
up to each turn, so that no template has to mark it: stock templates of Llama 3.1, Qwen3 and Gemma 3 mark nothing, and
masks taken from their marks are all zero (marin #7237, trl #4201). A boundary in characters becomes one in tokens by
the longest common prefix of two encodings; a token that spans it counts as trained. Cost: one encoding of the text,
and two of what stands before each assistant turn. A special token spelled in a message is that token, as in
transformers' `apply_chat_template`; in plain text it stays text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from seatools.streams.errors import SeaError

if TYPE_CHECKING:
    from seatools.text.chat import ChatTemplate
    from seatools.text.tokenizer import Tokenizer

Messages = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class TokenizedDoc:
    """One document. `loss_mask[t]` = 1 where token t is predicted from those before it and trained; never at t = 0."""

    ids: np.ndarray  # [tokens] uint32
    loss_mask: np.ndarray  # [tokens] uint8

    @property
    def num_targets(self) -> int:
        return int(np.count_nonzero(self.loss_mask))

    @property
    def document(self) -> tuple[np.ndarray, np.ndarray]:
        """(ids, loss_mask), the form in which token arrays pass to the engine."""
        return self.ids, self.loss_mask


class _Plan(NamedTuple):
    """What to encode for one record, before anything is encoded."""

    whole: str
    trained: list[tuple[str, str]]  # (before, through): prefixes of `whole`; what `through` adds to `before` is trained
    special: bool  # special tokens in the text are recognised
    ends: bool  # EOS follows and is trained


class Documents:
    """Encodes records with one tokenizer and one chat template (None: chat records are refused)."""

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate | None = None, *, add_eos: bool = True) -> None:
        self.tokenizer = tokenizer
        self.add_eos = add_eos
        # A template file of its own comes without the tokens it writes; the tokenizer knows them.
        spelling = {id_: text for text, id_ in tokenizer.special_ids.items()}
        named = {"bos": tokenizer.bos_id, "eos": tokenizer.eos_id, "unk": tokenizer.unk_id, "pad": tokenizer.pad_id}
        variables = {f"{name}_token": spelling[id_] for name, id_ in named.items() if id_ in spelling}
        self.template = template.with_defaults(variables) if template else None
        not_endings = {tokenizer.bos_id, tokenizer.unk_id} - {tokenizer.eos_id}
        self._turn_endings = tuple(text for text, id_ in tokenizer.special_ids.items() if id_ not in not_endings)

    def encode(self, records: Sequence[Mapping[str, Any]], *, workers: int = 0) -> list[TokenizedDoc | SeaError]:
        """For each record its tokens, or the error that makes it a reject (no other record suffers from it).

        A record is, in this order, `messages`; `prompt` and `completion` (strings, which no template touches, or lists
        of messages); or `text`. Where the tokenizer has a BOS it stands first, once; EOS ends texts and completions,
        and a final assistant turn that its template does not end with a special token (never with `add_eos=False`).
        """
        plans: list[_Plan | SeaError] = []
        for record in records:
            try:
                plan = self._plan(record)
                plan.whole.encode()
                plans.append(plan)
            except SeaError as error:
                plans.append(error)
            except UnicodeEncodeError:  # the tokenizer would refuse the whole batch for it
                plans.append(SeaError("the text holds lone surrogates", fix="repair it: it is cut inside a character"))

        encoded: dict[bool, dict[str, np.ndarray]] = {}
        for special in (False, True):
            # Each distinct string once: for a single-turn chat `through` is `whole`.
            chosen = [plan for plan in plans if isinstance(plan, _Plan) and plan.special is special]
            texts = list(dict.fromkeys(text for plan in chosen for text in (plan.whole, *chain(*plan.trained))))
            ids = self.tokenizer.encode_batch(texts, special=special, workers=workers) if texts else []
            encoded[special] = {text: np.array(i, dtype=np.uint32) for text, i in zip(texts, ids, strict=True)}
        return [plan if isinstance(plan, SeaError) else self._assemble(plan, encoded[plan.special]) for plan in plans]

    def prompt_ids(self, record: Mapping[str, Any]) -> np.ndarray:
        """The tokens [n] uint32 to generate from: `prompt` (a string as it is, or messages through the template with
        the header of an assistant turn), or `messages`, of which a last assistant turn is the answer and left out."""
        if "messages" in record:
            messages = _checked_messages(record["messages"], "messages")
            prompt: str | Messages = messages[:-1] if messages[-1]["role"] == "assistant" else messages
        elif "prompt" in record:
            prompt = record["prompt"]
        else:
            raise SeaError("a prompt record needs `prompt` or `messages`")
        if isinstance(prompt, str):
            ids = self.tokenizer.encode(prompt)
        else:
            prompt = _checked_messages(prompt, "prompt")
            if prompt[-1]["role"] == "assistant":
                raise SeaError("the prompt ends with an assistant turn, so there is nothing to answer")
            ids = self.tokenizer.encode(self._template().render(prompt, add_generation_prompt=True), special=True)
        ids = self._bos_before(ids, may_have_it=not isinstance(prompt, str)) + ids
        if not ids:
            raise SeaError("the prompt is empty, and the tokenizer has no BOS to start from")
        return np.array(ids, dtype=np.uint32)

    def _plan(self, record: Mapping[str, Any]) -> _Plan:
        if "messages" in record:
            return self._plan_chat(_checked_messages(record["messages"], "messages"), first_trained=0)
        if "prompt" in record and "completion" in record:
            prompt, completion = record["prompt"], record["completion"]
            if isinstance(prompt, str) and isinstance(completion, str):
                return _Plan(prompt + completion, [(prompt, prompt + completion)], special=False, ends=True)
            if isinstance(prompt, str):
                raise SeaError("`prompt` is a string and `completion` is not", fix="give both as messages")
            prompt = _checked_messages(prompt, "prompt")
            if isinstance(completion, str):
                completion = [{"role": "assistant", "content": completion}]
            completion = _checked_messages(completion, "completion")
            return self._plan_chat([*prompt, *completion], first_trained=len(prompt))
        if "text" in record:
            if not isinstance(record["text"], str):
                raise SeaError("`text` is not a string")
            if not record["text"]:
                raise SeaError("nothing to train: the text is empty")
            return _Plan(record["text"], [("", record["text"])], special=False, ends=True)
        raise SeaError("the record has neither `text`, nor `messages`, nor `prompt` and `completion`")

    def _plan_chat(self, messages: Messages, *, first_trained: int) -> _Plan:
        turns = [i for i in range(first_trained, len(messages)) if messages[i]["role"] == "assistant"]
        if not turns:
            raise SeaError("nothing to train: no assistant turn")
        template = self._template()
        whole = template.render(messages)
        trained = []
        for i in turns:
            before = template.render(messages[:i], add_generation_prompt=True)
            through = whole if i == len(messages) - 1 else template.render(messages[: i + 1])
            if not through.startswith(before) or not whole.startswith(through):
                raise SeaError(
                    f"the chat template rewrites earlier turns: turn {i + 1} of {len(messages)} is written differently "
                    f"{'after its prompt' if not through.startswith(before) else 'once the conversation goes on'}",
                    where=template.path,
                    fix="give one record per assistant turn with that turn last, or another --chat-template FILE",
                )
            trained.append((before, through))
        last_turn = whole[len(trained[-1][0]) :]
        ends = turns[-1] == len(messages) - 1 and not last_turn.rstrip().endswith(self._turn_endings)
        return _Plan(whole, trained, special=True, ends=ends)

    def _template(self) -> ChatTemplate:
        if self.template is None:
            raise SeaError(
                f"a chat record needs a chat template, and {self.tokenizer.path} has none",
                fix="give one with --chat-template FILE",
            )
        return self.template

    def _bos_before(self, ids: Sequence[int] | np.ndarray, *, may_have_it: bool) -> list[int]:
        """[BOS], or [] if the tokenizer has none or a rendered template has already written it."""
        bos_id = self.tokenizer.bos_id
        return [] if bos_id is None or (may_have_it and len(ids) and ids[0] == bos_id) else [bos_id]

    def _assemble(self, plan: _Plan, encoded: Mapping[str, np.ndarray]) -> TokenizedDoc | SeaError:
        whole = encoded[plan.whole]
        mask = np.zeros(len(whole), dtype=np.uint8)
        for before, through in plan.trained:
            start = _common_prefix(encoded[before], whole) if before else 0
            mask[start : self._end_of(encoded[through], whole)] = 1
        head = self._bos_before(whole, may_have_it=plan.special)
        tail = [self.tokenizer.eos_id] if plan.ends and self.add_eos and self.tokenizer.eos_id is not None else []
        ids = np.concatenate([np.array(head, np.uint32), whole, np.array(tail, np.uint32)])
        mask = np.concatenate([np.zeros(len(head), np.uint8), mask, np.ones(len(tail), np.uint8)])
        mask[:1] = 0  # nothing stands before the first token, so nothing can predict it
        if not mask.any():
            return SeaError("nothing to train: no token to predict")
        return TokenizedDoc(ids, mask)

    def _end_of(self, through: np.ndarray, whole: np.ndarray) -> int:
        """How many tokens of `whole` it takes to cover the text of `through`, with the one that spans its end."""
        end = _common_prefix(through, whole)
        missing = sum(len(self.tokenizer.piece_bytes(int(id_))) for id_ in through[end:])
        while missing > 0 and end < len(whole):
            missing -= len(self.tokenizer.piece_bytes(int(whole[end])))
            end += 1
        return end


def load_documents(
    path: str | Path,
    *,
    pattern: str | None = None,
    chat_template: str | Path | None = None,
    add_eos: bool = True,
    note: Callable[[str], None] = lambda text: None,
) -> Documents:
    """The tokenizer at `path` and the chat template: the one given, else that of the tokenizer's folder, if any.

    `note` is told what the tokenizer has to say about itself (`Tokenizer.notes`).
    """
    from seatools.text.chat import load_chat_template
    from seatools.text.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(path, pattern=pattern)
    for text in tokenizer.notes:
        note(text)
    template = load_chat_template(chat_template or path, tokenizer_path=path)
    return Documents(tokenizer, template, add_eos=add_eos)


def _common_prefix(a: np.ndarray, b: np.ndarray) -> int:
    """The number of leading ids that `a` and `b` share."""
    length = min(len(a), len(b))
    different = a[:length] != b[:length]
    return int(different.argmax()) if different.any() else length


def _checked_messages(messages: Any, key: str) -> Messages:
    """`messages` if it is a conversation: at least one message, each with a string `role` and a string `content`."""
    if not isinstance(messages, list) or not messages:
        raise SeaError(f"`{key}` is not a list of messages" if messages != [] else f"`{key}` is empty")
    for i, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise SeaError(f"message {i + 1} of `{key}` has no `role`")
        # A template would print a list of parts as Python writes it, without complaint.
        if not isinstance(message.get("content"), str | None):
            raise SeaError(f"`content` of message {i + 1} of `{key}` is not a string")
    return messages
