"""A mix of real Thai and English, counted again from its output."""

from __future__ import annotations

import json

from seatools.text.documents import Documents
from seatools.text.tokenizer import load_tokenizer


def test_the_ratio_by_tokens_is_the_one_asked_for(sea, shared, tmp_path):
    mono, tokenizer_path = shared / "data" / "mono", shared / "models" / "stories260K"
    sources = [f"th={mono / 'th_thaigov.jsonl'}:3", f"en={mono / 'en_commonvoice.txt'}:1"]
    options = ["--tokenizer", tokenizer_path, "--limit", 2000, "--budget", "300K", "-o", tmp_path / "out.jsonl"]
    result = sea("mix", *sources, *options)
    assert result.code == 0, result.stderr

    lines = (tmp_path / "out.jsonl").read_bytes().splitlines()
    records = [json.loads(line) for line in lines]
    docs = Documents(load_tokenizer(tokenizer_path)).encode(records)
    tokens = {"th": 0, "en": 0}
    for record, doc in zip(records, docs, strict=True):
        tokens["th" if record.get("lang") == "th" else "en"] += len(doc.ids)
    longest = max(len(doc.ids) for doc in docs)
    assert 300_000 <= sum(tokens.values()) < 300_000 + longest
    assert abs(tokens["th"] - 3 * tokens["en"]) <= longest
    manifest = json.loads((tmp_path / "out.jsonl.manifest.json").read_text())
    assert {row["source"]: row["emitted"] for row in manifest["counts"]["sources"]} == tokens

    thai = set((mono / "th_thaigov.jsonl").read_bytes().splitlines())
    assert all(line in thai for line, record in zip(lines, records, strict=True) if "lang" in record)
