"""`--join-turns`: artificial conversations of single-turn chats, and nothing else touched."""

from __future__ import annotations

import json
from collections import Counter

import orjson
from hypothesis import given
from hypothesis import strategies as st

from seatools.mix.join_turns import join_turns
from seatools.streams.records import Record


def chat(number, *, system=None, lang=None, **more):
    head = [] if system is None else [{"role": "system", "content": system}]
    turns = [{"role": "user", "content": f"q{number}"}, {"role": "assistant", "content": f"a{number}"}]
    return {"messages": [*head, *turns], **({"lang": lang} if lang else {}), **more}


def run(values, max_turns=3, *, seed=0, name="s"):
    records = [Record(orjson.dumps(value), value, "x.jsonl", line) for line, value in enumerate(values, 1)]
    return list(join_turns(max_turns, seed=seed, name=name)(iter(records)))


SINGLES = st.lists(
    st.tuples(st.sampled_from([None, "s", "t"]), st.sampled_from([None, "th", "lo"])), min_size=0, max_size=40
)


@given(SINGLES, st.integers(2, 6), st.integers(0, 3))
def test_every_exchange_comes_once_and_with_its_like(drawn, max_turns, seed):
    singles = [chat(number, system=system, lang=lang) for number, (system, lang) in enumerate(drawn)]
    joined = run(singles, max_turns, seed=seed)
    came, left_over = Counter(), Counter()
    for record in joined:
        assert orjson.loads(record.raw) == record.value
        messages = record.value["messages"]
        system = messages[0]["content"] if messages[0]["role"] == "system" else None
        exchanges = messages[system is not None :]
        assert [message["role"] for message in exchanges] == ["user", "assistant"] * (len(exchanges) // 2)
        count = len(exchanges) // 2
        if count == 1:
            left_over[system, record.value.get("lang")] += 1
        else:
            assert count <= max_turns and len(record.value["joined"]) == count
        for question, answer in zip(exchanges[::2], exchanges[1::2], strict=True):
            number = int(question["content"][1:])
            assert answer["content"] == f"a{number}"
            assert drawn[number] == (system, record.value.get("lang"))
            came[number] += 1
    assert came == Counter(range(len(drawn)))
    assert all(count == 1 for count in left_over.values())


def test_what_is_no_single_turn_passes_as_it_came_and_in_its_place():
    others = [
        {"text": "t"},
        {"prompt": "p", "completion": "c"},
        {"messages": [*chat(0)["messages"], *chat(1)["messages"]]},
        {"messages": [{"role": "user", "content": "q"}]},
        {"messages": chat(0)["messages"], "tools": []},
        {"prompt": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "completion": "c"},
    ]
    given = [others[0], chat(7), *others[1:3], chat(8), *others[3:]]
    records = run(given)
    assert [record.value for record in records[:-1]] == others
    assert [record.raw for record in records[:-1]] == [orjson.dumps(value) for value in others]
    assert len(records[-1].value["messages"]) == 4


def test_prompts_of_messages_with_a_completion_are_single_turns():
    value = {"prompt": [{"role": "user", "content": "q0"}], "completion": "a0"}
    (record,) = run([value, chat(1)], 2)
    assert sorted(message["content"] for message in record.value["messages"]) == ["a0", "a1", "q0", "q1"]


def test_a_joined_record_names_its_parts_and_its_language():
    (record,) = run([chat(0, lang="th", id="x7", url="u"), chat(1, lang="th")], 2)
    assert sorted(record.value["joined"]) == ["x.jsonl:2", "x7"]
    assert list(record.value) == ["messages", "lang", "joined"] and record.value["lang"] == "th"


def test_lengths_are_spread_and_the_seed_decides():
    singles = [chat(number) for number in range(3000)]
    lengths = Counter(len(record.value["joined"]) for record in run(singles, 4) if "joined" in record.value)
    assert set(lengths) == {2, 3, 4} and min(lengths.values()) > 0.8 * max(lengths.values())
    raws = [
        [record.raw for record in run(singles, 4, seed=seed, name=name)]
        for seed, name in ((0, "s"), (1, "s"), (0, "t"))
    ]
    assert raws[0] != raws[1] and raws[0] != raws[2] and raws[0] == [record.raw for record in run(singles, 4)]


def test_mixing_joined_turns(sea, tmp_path, byte_tokenizer, template_path):
    path = tmp_path / "chat.jsonl"
    path.write_bytes(b"".join(orjson.dumps(chat(number, lang="th")) + b"\n" for number in range(20)))
    options = [f"c={path}", "--join-turns", 3, "--tokenizer", byte_tokenizer, "--chat-template", template_path, "-q"]
    result = sea("mix", *options)
    assert result.code == 0, result.stderr
    records = [json.loads(line) for line in result.stdout.splitlines()]
    contents = Counter(message["content"] for record in records for message in record["messages"])
    assert contents == Counter({f"{kind}{number}": 1 for kind in "qa" for number in range(20)})
    assert all(f"{path}:" in part for record in records for part in record.get("joined", []))
    row = json.loads(sea("mix", *options, "--dry-run", "--json").stdout)
    # Nothing but <s> and the turns: 3 tokens of marks or content a message, 4 from q10 on.
    trained = sum(len(f"a{number}") + 1 for number in range(20))
    assert row["docs"] == len(records) and row["loss_tokens"] == trained
