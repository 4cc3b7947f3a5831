"""chrF as sacrebleu computes it, its error bar, and greedy answers that end with their line."""

from __future__ import annotations

import time

import pytest
import sacrebleu
from asked_model import requests, samples, scores
from made_samples import chrf
from tiny_eval import records
from tiny_llama import BOS, EOS

from seatools.eval.sources import Source
from seatools.streams.errors import UsageError
from seatools.streams.records import BadRecord

OURS = ["the cat sat on the mat", "สวัสดีครับ ผม", "xin chào"]
THEIRS = ["a cat sat on a mat", "สวัสดีครับผม", "xin chào các bạn"]


@pytest.mark.parametrize("word_order", [0, 2])
def test_equals_sacrebleu(word_order):
    theirs = sacrebleu.corpus_chrf(OURS, [THEIRS], word_order=word_order)
    found = chrf(OURS, THEIRS, word_order=word_order, seed=0)
    assert found["value"] == theirs.score
    assert found["config"]["signature"].startswith(
        f"chrF2{'+' * word_order}|nrefs:1|case:mixed|eff:yes|nc:6|nw:{word_order}|space:no|"
    )


def test_composed_and_decomposed_text_are_the_same():
    assert chrf(["tie\u0302\u0301ng Vie\u0323\u0302t"], ["tiếng Việt"], word_order=0, seed=0)["value"] == 100


def test_zero_width_spaces_do_not_count():
    assert chrf(["ខ្ញុំ\u200bទៅ"], ["ខ្ញុំទៅ"], word_order=2, seed=0)["value"] == 100


def test_stderr_is_that_of_resampled_corpora():
    import numpy as np

    rng = np.random.default_rng(1)
    ours = [" ".join(rng.choice(["cat", "dog", "mat", "sat", "the"], 6)) for _ in range(30)]
    theirs = [" ".join(rng.choice(["cat", "dog", "mat", "sat", "the"], 6)) for _ in range(30)]
    plain = []
    for _ in range(300):
        rows = rng.integers(0, 30, 30)
        plain.append(sacrebleu.corpus_chrf([ours[i] for i in rows], [[theirs[i] for i in rows]]).score)
    assert chrf(ours, theirs, word_order=0, seed=0)["stderr"] == pytest.approx(np.std(plain), rel=0.15)


def test_stderr_repeats_with_the_seed_and_needs_two_sentences():
    first, again, other = (chrf(OURS, THEIRS, word_order=0, seed=seed)["stderr"] for seed in (1, 1, 2))
    assert first == again != other
    assert chrf(OURS[:1], THEIRS[:1], word_order=0, seed=0)["stderr"] is None


def test_a_thousand_resamples_take_no_second():
    ours, theirs = OURS * 100, THEIRS * 100
    chrf(OURS, THEIRS, word_order=2, seed=0)
    start = time.process_time()
    plain = sacrebleu.corpus_chrf(ours, [theirs], word_order=2)
    once = time.process_time() - start
    found = chrf(ours, theirs, word_order=2, seed=0)
    assert found["value"] == plain.score
    assert time.process_time() - start < 1 + 6 * once  # 1,000 resamples are not 1,000 scorings


def source(*rows: dict) -> Source:
    return Source("en", ("data.jsonl",), records(*rows))


def test_answers_are_greedy_and_end_with_the_line(model, setup_of, monkeypatch):
    setup = setup_of(max_new_tokens=8)
    prompts = ["The cat", "แมว", "Once upon"]
    asked = requests("chrf", [source(*({"prompt": prompt, "reference": "a mat"} for prompt in prompts))], setup)
    import torch

    answers = []
    for prompt in prompts:
        ids = [BOS, *setup.tokenizer.encode(prompt)]
        with torch.no_grad():
            made = model.generate(torch.tensor([ids]), max_new_tokens=8, do_sample=False, pad_token_id=0)[0, len(ids) :]
        kept = []
        for id in made.tolist():
            if id in (BOS, EOS):
                break
            kept.append(id)
        text = setup.tokenizer.decode(kept)
        answers.append(text.partition("\n")[0] if "\n" in text else text.rstrip("\ufffd"))
    assert [one.result["text"].rstrip("\ufffd") for one in samples(model, asked, setup)] == answers
    found = scores(model, asked, setup)
    assert found["chrf"]["value"] == chrf(answers, ["a mat"] * 3, word_order=0, seed=0)["value"]
    assert (found["chrf++"]["n"], found["chrf"]["task"]) == (3, "chrf")
    assert found["chrf"]["config"]["max_new_tokens"] == 8


def test_shots_come_with_their_references(setup_of):
    setup = setup_of(shots=1, max_new_tokens=8)
    (request,) = requests(
        "translation", [source({"prompt": "dog =", "reference": "หมา"})], setup,
        [source({"prompt": "cat =", "reference": "แมว"})],
    )  # fmt: skip
    assert setup.tokenizer.decode(request.ids) == "cat = แมว\n\ndog ="


@pytest.mark.parametrize(
    "row", [{"prompt": "x"}, {"reference": "x"}, {"prompt": "", "reference": "x"}, {"prompt": "x", "reference": " "}]
)
def test_prompts_without_what_they_need_are_named(setup_of, row):
    with pytest.raises(BadRecord) as caught:
        requests("chrf", [source(row)], setup_of(max_new_tokens=8))
    assert caught.value.where == "data.jsonl:1"


def test_a_prompt_without_room_for_its_answer_is_named(setup_of):
    with pytest.raises(BadRecord, match="154 tokens, the model has room for 152"):
        requests("chrf", [source({"prompt": "x" * 153, "reference": "y"})], setup_of(max_new_tokens=8))


def test_an_answer_longer_than_the_model_is_refused(setup_of):
    with pytest.raises(UsageError, match="leaves no room"):
        requests("chrf", [source({"prompt": "x", "reference": "y"})], setup_of(max_new_tokens=160))


def test_answers_in_another_language_than_the_target_are_counted():
    pytest.importorskip("pycld2")
    from made_samples import answer

    from seatools.eval.engines import off_target
    from seatools.eval.results import collect
    from seatools.eval.results import scores as records_of

    texts = ["วันนี้อากาศดีมาก เราจึงไปเดินเล่นที่สวนสาธารณะ", "The weather is very nice today, so we go to the park.", "?"]
    found = [off_target(text, "tha_Thai") for text in texts]
    assert [one["off_target"] for one in found] == [False, True, None]
    made = [answer(n, text, "chrf", reference="x", **found[n]) for n, text in enumerate(texts)]
    config = records_of(collect(made))[0]["config"]
    assert (config["off_target"], config["language_unsure"]) == (1, 1)


def test_line_aligned_files_are_translated_in_every_direction(sea, model_folder, tmp_path):
    import json

    for lang, lines in {"en": "one\ntwo\n", "th": "หนึ่ง\nสอง\n", "lo": "ໜຶ່ງ\nສອງ\n"}.items():
        (tmp_path / f"{lang}.txt").write_text(lines, encoding="utf-8")
    data = [word for lang in ("en", "th", "lo") for word in ("--data", f"{lang}={tmp_path / lang}.txt")]
    base = ["eval", model_folder, "flores", *data, "--max-new-tokens", "4"]
    rows = [json.loads(line) for line in sea(*base).stdout.splitlines()]
    pairs = ["en-th", "en-lo", "th-en", "th-lo", "lo-en", "lo-th", "mean"]
    assert [row["lang"] for row in rows if row["metric"] == "chrf"] == pairs
    one = [json.loads(line) for line in sea(*base, "--pair", "th-en").stdout.splitlines()]
    assert one == [row for row in rows if row["lang"] == "th-en"]
