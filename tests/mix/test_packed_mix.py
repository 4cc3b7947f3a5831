"""`sea mix --pack`: every token of every emitted document stands in the rows once, with its mask and source."""

from __future__ import annotations

from collections import Counter

import numpy as np
import orjson
import pytest

from seatools.text.packed import read_packed

BOS, EOS = 0, 1
A = [f"a{'x' * i}" for i in range(40)]
B = [f"b{'y' * (i % 5)}" for i in range(60)]


@pytest.fixture
def sources(tmp_path):
    for name, texts in (("a", A), ("b", B)):
        (tmp_path / f"{name}.jsonl").write_bytes(b"\n".join(orjson.dumps({"text": text}) for text in texts))
    return [f"a={tmp_path / 'a.jsonl'}", f"b={tmp_path / 'b.jsonl'}"]


def run(sea, tmp_path, *options):
    path = tmp_path / "packed.safetensors"
    result = sea("mix", *options, "-o", path, "--force")
    assert result.code == 0, result.stderr
    return read_packed(path)


def segments(data):
    """(source name, ids, loss mask) of every segment, row by row."""
    for row in range(data.num_rows):
        for (ids, mask), source in zip(data.row(row), data.row_sources(row), strict=True):
            yield data.sources[source], ids.tolist(), mask.tolist()


def test_the_rows_hold_the_documents_of_the_jsonl_mix(sea, tmp_path, sources, byte_tokenizer):
    options = [*sources, "--tokenizer", byte_tokenizer, "--budget", "1500", "--max-epochs", "3"]
    mixed = sea("mix", *options).stdout.splitlines()
    data = run(sea, tmp_path, *options, "--pack", 64, "--pack-window", 30)
    engine = _engine(byte_tokenizer)
    expected = Counter((BOS, *engine.encode(orjson.loads(line)["text"]).ids, EOS) for line in mixed)
    assert Counter(tuple(ids) for _, ids, _ in segments(data)) == expected
    assert max(Counter(mixed).values()) > 1  # documents of a second epoch are among them


def test_text_is_trained_but_for_its_first_token(sea, tmp_path, sources, byte_tokenizer):
    data = run(sea, tmp_path, *sources, "--tokenizer", byte_tokenizer, "--pack", 64)
    assert all(mask == [0] + [1] * (len(ids) - 1) for _, ids, mask in segments(data))


def test_chat_is_trained_where_the_assistant_speaks(sea, tmp_path, sources, byte_tokenizer, template_path):
    record = {"messages": [{"role": "user", "content": "ab"}, {"role": "assistant", "content": "xyz"}]}
    (tmp_path / "c.jsonl").write_bytes(orjson.dumps(record))
    options = [sources[0], f"c={tmp_path / 'c.jsonl'}", "--tokenizer", byte_tokenizer, "--chat-template", template_path]
    data = run(sea, tmp_path, *options, "--pack", 64)
    # <s> <|user|> a b <|end|> <|assistant|> x y z <|end|>
    masks = [mask for source, _, mask in segments(data) if source == "c"]
    assert masks == [[0] * 6 + [1] * 4]
    assert data.num_targets == sum(sum(mask) for _, _, mask in segments(data))


def test_every_segment_knows_its_source_in_the_order_given(sea, tmp_path, sources, byte_tokenizer):
    data = run(sea, tmp_path, *reversed(sources), "--tokenizer", byte_tokenizer, "--pack", 64)
    assert data.sources == ["b", "a"]
    first = {"a": _engine(byte_tokenizer).encode("a").ids[0], "b": _engine(byte_tokenizer).encode("b").ids[0]}
    assert all(ids[:2] == [BOS, first[source]] for source, ids, _ in segments(data))


def test_long_documents_are_cut_and_no_token_is_lost(sea, tmp_path, sources, byte_tokenizer):
    result = sea("mix", *sources, "--tokenizer", byte_tokenizer, "--dry-run", "-q")
    emitted = {row["source"]: row["emitted_tokens"] for row in map(orjson.loads, result.stdout.splitlines())}
    data = run(sea, tmp_path, *sources, "--tokenizer", byte_tokenizer, "--pack", 8)
    found = Counter()
    for source, ids, _ in segments(data):
        found[source] += len(ids)
    assert found == emitted and data.row_length == 8


def test_the_ratio_holds_along_the_rows(sea, tmp_path, byte_tokenizer):
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_bytes(b'{"text": "%b"}\n' % (name * 14).encode() * 800)
    sources = [f"a={tmp_path / 'a.jsonl'}:1", f"b={tmp_path / 'b.jsonl'}:3"]
    options = ["--tokenizer", byte_tokenizer, "--budget", 1000 * 16, "--pack", 64, "--pack-window", 100]
    data = run(sea, tmp_path, *sources, *options)
    per_window = np.array([source == "b" for source, _, _ in segments(data)]).reshape(-1, 100).mean(axis=1)
    assert len(per_window) == 10 and np.abs(per_window - 0.75).max() <= 0.01


def test_the_same_bytes_for_any_workers_and_none_for_another_seed(sea, tmp_path, sources, byte_tokenizer):
    path = tmp_path / "packed.safetensors"
    options = ["mix", *sources, "--tokenizer", byte_tokenizer, "--pack", 64, "-o", path, "--force"]
    contents = []
    for more in (["--workers", 1], ["--workers", 3], ["--seed", 1]):
        assert sea(*options, *more).code == 0
        contents.append(path.read_bytes())
    assert contents[0] == contents[1] != contents[2]


def test_the_manifest_counts_rows(sea, tmp_path, sources, byte_tokenizer):
    data = run(sea, tmp_path, *sources, "--tokenizer", byte_tokenizer, "--pack", 64)
    packed = orjson.loads((tmp_path / "packed.safetensors.manifest.json").read_bytes())["counts"]["packed"]
    assert packed == {
        "rows": data.num_rows,
        "row_length": 64,
        "tokens": data.num_tokens,
        "loss_tokens": data.num_targets,
        "fill": round(data.num_tokens / (64 * data.num_rows), 6),
        "cut_docs": 0,
        "cut_loss_tokens": 0,
    }


def test_loss_tokens_of_the_plan_are_trained_or_counted_as_cut(sea, tmp_path, sources, byte_tokenizer):
    options = ["--on-exhaust", "renormalize", "--pack", 16, "--pack-window", 30]
    data = run(sea, tmp_path, *sources, "--tokenizer", byte_tokenizer, *options)
    manifest = orjson.loads((tmp_path / "packed.safetensors.manifest.json").read_bytes())["counts"]
    packed, emitted = manifest["packed"], sum(row["emitted_loss_tokens"] for row in manifest["sources"])
    lengths = [len(text) + 2 for text in A + B]
    assert packed["cut_docs"] == int(data.metadata["num_cut_docs"]) == sum(length > 16 for length in lengths) > 10
    assert packed["cut_loss_tokens"] == int(data.metadata["num_cut_targets"]) == sum((n - 1) // 16 for n in lengths)
    assert packed["loss_tokens"] == data.num_targets == emitted - packed["cut_loss_tokens"]


def _engine(folder):
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(folder / "tokenizer.json"))
