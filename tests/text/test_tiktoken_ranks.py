"""Which rank files have a preset's special tokens: the published one, and that with ranks above them."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import tiktoken

from seatools.streams.errors import SeaError
from seatools.text.agreement import PROBES
from seatools.text.pretokenizer_presets import PRESETS
from seatools.text.tokenizer import load_tokenizer


def published_ids(name: str) -> set[int]:
    """The ids of the published rank file, as `openai_public.py` states them: all below `explicit_n_vocab`, or a run."""
    if name == "p50k_base":
        return set(range(50281)) - {50256}
    return set(range(PRESETS[name].num_ranks))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_owns_its_published_ids_and_more_above_its_special_tokens(name: str) -> None:
    preset, ids = PRESETS[name], published_ids(name)
    assert len(ids) == preset.num_ranks
    above = max(*preset.special.values(), *ids) + 1
    assert preset.owns(ids)
    assert preset.owns(ids | {above, above + 7})
    assert not preset.owns(ids - {100})
    assert not preset.owns((ids - {100}) | {above})
    between = set(range(max(preset.special.values()))) - ids - set(preset.special.values())
    assert not any(preset.owns(ids | {id}) for id in sorted(between)[:3])
    assert not preset.owns(ids | {max(preset.special.values())})


@pytest.fixture(scope="module")
def extended(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = shared / "tokenizers/cl100k-tiktoken/cl100k_base.tiktoken"
    target = tmp_path_factory.mktemp("extended") / source.name
    line = base64.b64encode(" ที่".encode()) + b" 100277\n"
    target.write_bytes(source.read_bytes() + line)
    return target


@pytest.mark.parametrize("pattern", [None, "cl100k_base"])
def test_an_extended_file_keeps_pattern_and_special_tokens(shared: Path, extended: Path, pattern: str | None) -> None:
    base, new = load_tokenizer(shared / "tokenizers/cl100k-tiktoken"), load_tokenizer(extended, pattern=pattern)
    assert (new.special_ids, new.eos_id, new.notes) == (base.special_ids, base.eos_id, [])
    assert (base.vocab_size, new.vocab_size) == (100277, 100278)
    english = [text for text in PROBES if text.isascii()]
    assert new.encode_batch(english) == base.encode_batch(english)
    assert new.encode("ab<|endoftext|>", special=True) == [*base.encode("ab"), 100257]
    oracle = tiktoken.Encoding(
        "extended",
        pat_str=PRESETS["cl100k_base"].pattern,
        mergeable_ranks=dict(new.ranks),  # type: ignore[attr-defined]
        special_tokens={},
    )
    assert [new.encode(text) for text in PROBES] == [oracle.encode_ordinary(text) for text in PROBES]


def test_a_rank_among_the_special_ids_is_refused_without_a_pattern_and_noted_with_one(
    shared: Path, tmp_path: Path
) -> None:
    source = shared / "tokenizers/cl100k-tiktoken/cl100k_base.tiktoken"
    path = tmp_path / source.name
    path.write_bytes(source.read_bytes() + b"AAECAwQ= 100265\n")
    with pytest.raises(SeaError, match="not cl100k_base's 100256 with more above its special tokens"):
        load_tokenizer(path)
    named = load_tokenizer(path, pattern="cl100k_base")
    assert named.special_ids == {} and "not its special tokens" in named.notes[0]
