"""Answers from a server that speaks OpenAI's protocol: completions, or chat completions; one request per answer.

Requests run in threads; 429, 5xx and broken connections are tried again, after the seconds that the server names or
twice as long each time. The threads are daemons and nobody waits for them: a pool's are joined when the program ends,
and Ctrl-C would take as long as a server that hangs. Only the standard library is used, and the key comes from an
environment variable, so that no command line or record holds it. The server decides what a seed means: its answers may
differ from run to run.
"""

from __future__ import annotations

import http.client
import json
import os
import queue
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seatools.engine.prompts import PromptError
from seatools.engine.sampling import SamplingOptions
from seatools.engine.stop_strings import Generated
from seatools.streams.errors import SeaError, UsageError

KEY_VARIABLE = "OPENAI_API_KEY"
MAX_STOPS = 4  # stop strings that the protocol allows; the others are cut here, after the server has gone on
_LONGEST_WAIT = 60.0  # seconds between two tries
_OF_THE_PROMPT = (400, 413, 422)  # too long, refused by a filter, not understood; another prompt may be answered
Messages = Sequence[Mapping[str, Any]]


class _Refused(SeaError):
    """What a server answers to one prompt, and may not to another."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where to ask and how: `url` ends where `/completions` or `/chat/completions` follows (https://host/v1)."""

    url: str
    model: str
    key_variable: str = KEY_VARIABLE
    """Environment variable that holds the key; one that is not set sends none (local servers)."""
    threads: int = 8
    """Requests at a time."""
    timeout: float = 600.0
    """Seconds that one request may take."""
    tries: int = 6
    first_wait: float = 1.0
    """Seconds before the second try."""

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UsageError(f"{self.url!r} is not the address of a server", fix="http://HOST:PORT/v1")
        if self.threads < 1 or self.tries < 1 or not self.timeout > 0:
            raise UsageError("threads, tries and timeout of a server must be above 0")

    def ask(
        self,
        prompts: Sequence[str | Messages],
        options: SamplingOptions,
        *,
        seeds: Sequence[int],
        progress: Callable[[int], Any] | None = None,
    ) -> list[Generated]:
        """One answer per prompt in their order; a string is completed, messages are answered. `ids` stay empty.

        SeaError for the first request that fails for good, PromptError where that may be the prompt's doing (too long
        for the server, withheld by its filter); those that wait are not sent then.
        """
        answers: list[Generated | None] = [None] * len(prompts)
        for row, answer in self.stream(prompts, options, seeds=seeds):
            answers[row] = answer
            if progress is not None:
                progress(1)
        return [answer for answer in answers if answer is not None]

    def stream(
        self, prompts: Sequence[str | Messages], options: SamplingOptions, *, seeds: Sequence[int]
    ) -> Iterator[tuple[int, Generated]]:
        """(index of the prompt, answer) as they arrive."""
        if len(seeds) != len(prompts):
            raise ValueError(f"{len(prompts)} prompts but {len(seeds)} seeds")
        todo: queue.SimpleQueue[int] = queue.SimpleQueue()
        done: queue.SimpleQueue[tuple[int, Generated | BaseException]] = queue.SimpleQueue()
        for row in range(len(prompts)):
            todo.put(row)
        ended = threading.Event()

        def work() -> None:
            while not ended.is_set():
                try:
                    row = todo.get_nowait()
                except queue.Empty:
                    return
                try:
                    done.put((row, self._one(prompts[row], options, seeds[row], ended)))
                except BaseException as error:  # raised where the answers are waited for
                    done.put((row, error))

        try:
            for _ in range(min(self.threads, len(prompts))):
                threading.Thread(target=work, daemon=True).start()
            for _ in prompts:
                row, found = done.get()
                if isinstance(found, _Refused):
                    raise PromptError(row, f"{self.url}: {found.what}", fix=found.fix) from found
                if isinstance(found, BaseException):
                    raise found
                yield row, found
        finally:
            ended.set()

    def _one(
        self, prompt: str | Messages, options: SamplingOptions, seed: int, ended: threading.Event
    ) -> Generated:  # fmt: skip
        is_text = isinstance(prompt, str)
        body: dict[str, Any] = {
            "model": self.model, "max_tokens": options.max_new_tokens, "temperature": options.temperature,
            "seed": seed % (1 << 31), "n": 1,
        }  # fmt: skip
        body |= {"prompt": prompt} if is_text else {"messages": list(prompt)}
        if options.top_p < 1:
            body["top_p"] = options.top_p
        # No part of the protocol; vLLM, SGLang and llama.cpp know them, and others refuse them, which is right.
        body |= {name: value for name in ("top_k", "min_p") if (value := getattr(options, name))}
        if options.repetition_penalty != 1:
            body["repetition_penalty"] = options.repetition_penalty
        if options.stop_strings:
            body["stop"] = list(options.stop_strings[:MAX_STOPS])
        path = "/completions" if is_text else "/chat/completions"
        return self._read(self._post(path, body, ended), is_text, options)

    def _read(self, found: Any, is_text: bool, options: SamplingOptions) -> Generated:
        try:
            choice = found["choices"][0]
            text = choice["text"] if is_text else choice["message"]["content"]
            finish = choice.get("finish_reason")  # some servers leave it out
        except (KeyError, IndexError, TypeError, AttributeError):
            raise SeaError(f"an answer without choices: {json.dumps(found)[:200]}", where=self.url) from None
        if finish == "content_filter":
            raise _Refused("the server's content filter withheld an answer")
        text = text or ""  # null where nothing was said
        if not isinstance(text, str):
            raise SeaError(f"an answer that is no text: {json.dumps(text)[:200]}", where=self.url)
        ends = [place for stop in options.stop_strings if (place := text.find(stop)) >= 0]
        if ends:
            return Generated([], "stop", text[: min(ends)])
        return Generated([], "length" if finish == "length" else "stop", text)

    def _post(self, path: str, body: dict[str, Any], ended: threading.Event) -> Any:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(self.key_variable):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(
            self.url.rstrip("/") + path, data=json.dumps(body).encode(), headers=headers, method="POST"
        )
        wait = self.first_wait
        for number in range(1, self.tries + 1):
            asked_wait = None
            try:
                with urllib.request.urlopen(request, timeout=self.timeout) as response:
                    content = response.read()
                break
            except urllib.error.HTTPError as error:
                problem = f"HTTP {error.code}: {_message(error)}"
                if error.code in _OF_THE_PROMPT:
                    raise _Refused(problem) from None
                if error.code != 429 and error.code < 500:
                    fix = f"set {self.key_variable}" if error.code in (401, 403) else None
                    fix = "http://HOST:PORT/v1, and the model's name as the server has it" if error.code == 404 else fix
                    raise SeaError(problem, where=request.full_url, fix=fix) from None
                asked_wait = _seconds(error.headers.get("Retry-After"))
            except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
                problem = f"no answer: {getattr(error, 'reason', None) or error or type(error).__name__}"
            if number == self.tries:
                raise SeaError(f"{problem}; tried {self.tries} times", where=request.full_url)
            if ended.wait(min(_LONGEST_WAIT, wait if asked_wait is None else asked_wait)):
                raise SeaError(problem, where=request.full_url)  # nobody waits for it any more
            wait *= 2
        try:
            return json.loads(content)
        except ValueError:
            raise SeaError(f"an answer that is no JSON: {content[:80]!r}", where=request.full_url) from None


def _message(error: urllib.error.HTTPError) -> str:
    """What the server says is wrong, in one line."""
    try:
        content = error.read()
        found = json.loads(content)
        found = found.get("error", found) if isinstance(found, dict) else found
        text = found.get("message", found) if isinstance(found, dict) else found
        return " ".join(str(text).split())[:300]
    except (OSError, ValueError, http.client.HTTPException):
        return error.reason if isinstance(error.reason, str) else "no reason given"


def _seconds(value: str | None) -> float | None:
    try:
        return max(0.0, float(value)) if value is not None else None
    except ValueError:  # a date
        return None
