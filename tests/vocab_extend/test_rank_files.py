"""tiktoken rank files and tekken.json with new tokens, read back by tiktoken, mistral_common and our own loader."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from seatools.streams.errors import SeaError, UsageError
from seatools.text.agreement import PROBES
from seatools.text.tokenizer import Tokenizer, load_tokenizer
from seatools.vocab_extend.new_token import NewToken
from seatools.vocab_extend.tokenizer_files import write_extended


def joined(base: Tokenizer, words: list[str]) -> list[NewToken]:
    """One token for the first two tokens of each word, in order, each a new piece."""
    tokens: list[NewToken] = []
    made: set[bytes] = set()
    for word in words:
        left, right = base.encode(word)[:2]
        data = base.piece_bytes(left) + base.piece_bytes(right)
        if data in made or base.piece_to_id(base64.b64encode(data).decode()) is not None:
            continue
        made.add(data)
        id = base.vocab_size + len(tokens)
        tokens.append(NewToken(id, base64.b64encode(data).decode(), data, "merge", (left, right), (left, right)))
    return tokens


@pytest.mark.parametrize("name", ["cl100k_base", "o200k_base"])
def test_a_rank_file_is_the_old_one_and_lines_after_it(shared: Path, tmp_path: Path, name: str) -> None:
    from tiktoken.load import load_tiktoken_bpe

    source = shared / f"tokenizers/{name.removesuffix('_base')}-tiktoken/{name}.tiktoken"
    base = load_tokenizer(source)
    tokens = joined(base, ["ลองกอง", "ສະບາຍດີ", "ကျွန်တော်", "សួស្តី"])
    assert len(tokens) > 1
    assert write_extended(base, tokens, tmp_path) == [source.name]
    written = tmp_path / source.name
    assert written.read_bytes().startswith(source.read_bytes())
    ranks = load_tiktoken_bpe(str(written))
    assert ranks == base.ranks | {token.data: token.id for token in tokens}  # type: ignore[attr-defined]
    new = load_tokenizer(tmp_path)
    assert (new.special_ids, new.notes) == (base.special_ids, [])
    for token in tokens:
        assert new.piece(token.id) == token.piece and new.piece_bytes(token.id) == token.data
    assert any(token.id in new.encode("ကျွန်တော် ສະບາຍດີ") for token in tokens)
    english = [text for text in PROBES if text.isascii()]
    assert new.encode_batch(english) == base.encode_batch(english)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_last_line_without_an_end_gets_one(tmp_path: Path, end: str) -> None:
    ranks = b"\n".join(base64.b64encode(bytes([byte])) + b" %d" % byte for byte in range(256)) + end.encode()
    (tmp_path / "mine.tiktoken").write_bytes(ranks)
    base = load_tokenizer(tmp_path, pattern="gpt2")
    (tmp_path / "out").mkdir()
    write_extended(base, [NewToken(256, "YWI=", b"ab", "merge", (97, 98), (97, 98))], tmp_path / "out")
    assert (tmp_path / "out/mine.tiktoken").read_bytes() == ranks.rstrip() + (end or "\n").encode() + b"YWI= 256\n"
    assert load_tokenizer(tmp_path / "out", pattern="gpt2").encode("abc") == [256, 99]


def test_tekken_keeps_what_is_in_use_and_mistral_common_reads_it(tmp_path: Path) -> None:
    mistral_common = pytest.importorskip("mistral_common", reason="needs mistral-common, which carries tekken files")
    from mistral_common.tokens.tokenizers.tekken import Tekkenizer

    source = Path(mistral_common.__file__).parent / "data/tekken_240911.json"
    base = load_tokenizer(source)
    torn = base.encode("ລາວ")[:2]  # two bytes of one character: no text of its own
    data = b"".join(map(base.piece_bytes, torn))
    first = NewToken(131072, base64.b64encode(data).decode(), data, "char", (torn[0], torn[1]), tuple(torn))
    others = joined(base, ["ສະບາຍດີ", "នគរ", "น้ำใจ"])
    tokens = [first, *(token for token in others if token.data != data)]
    tokens = [NewToken(131072 + at, t.piece, t.data, t.origin, t.parents, t.base_ids) for at, t in enumerate(tokens)]
    assert write_extended(base, tokens, tmp_path) == ["tekken.json"]

    old, new = json.loads(source.read_text("utf-8")), json.loads((tmp_path / "tekken.json").read_text("utf-8"))
    assert new["vocab"][:130072] == old["vocab"][:130072]
    assert len(new["vocab"]) == new["config"]["num_vocab_tokens"] == 130072 + len(tokens)
    assert new["config"]["default_vocab_size"] == 131072 + len(tokens)
    assert new["image"] == old["image"] and new["config"]["pattern"] == old["config"]["pattern"]
    assert new["vocab"][130072] == {"rank": 130072, "token_bytes": tokens[0].piece, "token_str": None}

    ours, theirs = load_tokenizer(tmp_path), Tekkenizer.from_file(tmp_path / "tekken.json")
    assert ours.vocab_size == theirs.n_words == 131072 + len(tokens)
    texts = [*PROBES, "ສະບາຍດີ ລາວ", "នគរ"]
    assert ours.encode_batch(texts) == [theirs.encode(text, bos=False, eos=False) for text in texts]
    assert tokens[0].id in ours.encode("ລາວ")
    assert ours.special_ids == base.special_ids
    english = [text for text in PROBES if text.isascii()]
    assert ours.encode_batch(english) == base.encode_batch(english)


def test_ids_can_only_follow_each_other_at_the_end(shared: Path, tmp_path: Path) -> None:
    base = load_tokenizer(shared / "tokenizers/gpt2-tiktoken")
    with pytest.raises(UsageError, match="order of ids or scores is the order of priority"):
        write_extended(base, [NewToken(100, "eHl6", b"xyz", "merge", None, ())], tmp_path)
    with pytest.raises(SeaError, match="must follow each other from 50257"):
        write_extended(base, [NewToken(50258, "eHl6", b"xyz", "merge", None, ())], tmp_path)
    with pytest.raises(UsageError, match="a tiktoken file cannot hold a changed pre-tokenizer"):
        write_extended(base, [], tmp_path, pre_tokenizer={"type": "ByteLevel"})
    assert list(tmp_path.iterdir()) == []
