"""Whether a chat template writes the system turn: some leave it out without a word (early Gemma and Mistral copies)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seatools.streams.errors import SeaError
from seatools.text.chat import ChatTemplate


def check_system_turn(template: ChatTemplate, messages: Sequence[Mapping[str, Any]]) -> None:
    """Raises SeaError where `messages` begin with a system turn whose words do not come out of `template`."""
    if not messages or messages[0].get("role") != "system":
        return
    said = str(messages[0].get("content") or "").strip()
    whole = template.render(messages, add_generation_prompt=True)
    without = template.render(messages[1:], add_generation_prompt=True) if len(messages) > 1 else ""
    if said and (said not in whole or whole == without):
        raise SeaError(
            "the chat template leaves the system turn out",
            where=template.path,
            fix="put its words into the user's turn, or give another template with --chat-template FILE",
        )
