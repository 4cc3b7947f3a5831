"""Leave-one-out drift by hand, and measured drift."""

from __future__ import annotations

from seatools.text.tokenizer import load_tokenizer
from seatools.vocab_extend.corpus import Corpus
from seatools.vocab_extend.drift import expected_drift, measured_drift
from seatools.vocab_extend.extension import open_base


def test_a_refused_pair_that_one_document_holds_would_have_changed_that_document(byte_level, tmp_path):
    base = open_base(load_tokenizer(byte_level(tmp_path / "base", [])))
    corpus = Corpus()
    corpus.count("protect", "en", ["ab cd", "cd ef", "ab ax", "gh"], base)
    words, counted = corpus.encoded("protect", "en", base), corpus.words["protect", "en"]

    def drift(*pairs):
        return expected_drift(words, counted, [(ord(left), ord(right)) for left, right in pairs])

    assert drift() == 0
    assert drift("ab") == 0  # two documents have it: leaving one out, the other still forbids it
    assert drift("ax") == 1 / 4 and drift("gh", "ax") == 2 / 4
    assert drift("ef", "cd") == 1 / 4
    assert drift("zz") == 0


def test_measured_drift_counts_documents_and_tokens(byte_level, tmp_path):
    old = load_tokenizer(byte_level(tmp_path / "old", []))
    new = load_tokenizer(byte_level(tmp_path / "new", [(b"a", b"b")]))
    drift = measured_drift(old, new, ["ab", "abab", "cd"])
    assert (drift.num_docs, drift.changed, drift.num_bytes) == (3, 2, 8)
    assert (drift.base_tokens, drift.new_tokens) == (8, 5)
