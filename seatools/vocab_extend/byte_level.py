"""A byte-level BPE base (GPT-2, Qwen2, Llama 3) as continued BPE sees it: pre-tokens, characters, rules.

Every distinct pre-token is segmented once, by the engine's own model. A finished token is whole UTF-8 characters; the
merges inside a character come from the seed alone. With `ignore_merges` (Llama 3) a pre-token that is a vocabulary
entry is emitted whole, so there a token is made only if the base gives exactly its parts for it standing alone.
Words are exact except beside added tokens that are not special, where the pre-tokenizer here sees the text joined.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from seatools.text.byte_alphabet import spell, unspell
from seatools.text.huggingface_json import JsonTokenizer
from seatools.vocab_extend.character_seed import SeedMerges, apply_ranked, wanted_characters
from seatools.vocab_extend.new_token import NewToken, joined_base_ids

Words = dict[tuple[int, ...], int]


class ByteLevelBase:
    """A loaded byte-level tokenizer. `pieces`: id -> piece in the byte alphabet, grows with the new tokens."""

    explicit = True
    joins: dict[str, int] | None = None

    def __init__(self, tokenizer: JsonTokenizer) -> None:
        self.tokenizer = tokenizer
        self.first_id = tokenizer.vocab_size
        self.pieces = {id: piece for piece, id in tokenizer.vocabulary.items()}
        self.taken = set(tokenizer.vocabulary) | {spell(token.content.encode()) for token in tokenizer.added_tokens}
        self._model = tokenizer.engine.model
        self._ignores_merges = bool(tokenizer.json_model["model"].get("ignore_merges"))
        self._protected: set[tuple[int, int]] = set()

    def words(self, texts: Iterable[str], workers: int = 0) -> Words:
        """The pre-tokens of `texts` as base ids -> how often each occurs."""
        engine = self.tokenizer.engine
        normalize = engine.normalizer.normalize_str if engine.normalizer else str
        split = engine.pre_tokenizer.pre_tokenize_str
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update([piece for piece, _ in split(normalize(text))])
        words: Counter[tuple[int, ...]] = Counter()
        for piece, count in counts.items():
            words[self._ids(piece)] += count
        return words

    def _ids(self, piece: str) -> tuple[int, ...]:
        return tuple([token.id for token in self._model.tokenize(piece)])

    def protect(self, words: Words) -> None:
        """From now on no merge may fire on `words`."""
        for word in words:
            self._protected.update(zip(word, word[1:], strict=False))

    def seed(self, words: Words, budget: int, min_count: int) -> tuple[list[NewToken], Words]:
        """Tokens for characters that have none, at most `budget`, and the words with them."""
        chars: Counter[str] = Counter()
        for word, count in words.items():
            data = unspell("".join([self.pieces[id] for id in word]))
            for char in data.decode("utf-8", "ignore"):
                chars[char] += count
        protected = self._protected
        seeds = SeedMerges(self.first_id, budget, dict(self.pieces), self.taken, lambda *pair: pair not in protected)
        for char in wanted_characters(chars, min_count):
            if spell(char.encode()) not in self.taken:
                seeds.make(self._ids(spell(char.encode())))
        fired: Counter[int] = Counter()
        for word, count in words.items():
            apply_ranked(word, seeds.pairs, fired, count)
        # Running text may segment a character otherwise than alone; what never fires there is left out.
        kept = {token: pair for pair, token in seeds.pairs.items() if fired[token]}
        renamed = {token: self.first_id + rank for rank, token in enumerate(sorted(kept))}
        tokens: list[NewToken] = []
        for token in sorted(kept):
            left, right = (renamed.get(id, id) for id in kept[token])
            piece = seeds.pieces[token]
            base_ids = joined_base_ids((left, right), tokens, self.first_id)
            tokens.append(NewToken(renamed[token], piece, unspell(piece), "char", (left, right), base_ids))
        pairs = {new.parents: new.id for new in tokens if new.parents}
        seeded: Counter[tuple[int, ...]] = Counter()
        for word, count in words.items():
            seeded[apply_ranked(word, pairs, Counter(), count)] += count
        for new in tokens:
            self.pieces[new.id] = new.piece
            self.taken.add(new.piece)
        return tokens, seeded

    def data(self, piece: str) -> bytes:
        """The bytes that a piece stands for."""
        return unspell(piece)

    def rule(self, max_bytes: int) -> Callable[[int, int, str], bool]:
        """`may_merge` of continued BPE."""

        def may_merge(left: int, right: int, piece: str) -> bool:
            if (left, right) in self._protected or len(piece) > max_bytes:  # one letter of the alphabet a byte
                return False
            try:
                unspell(piece).decode()
            except UnicodeDecodeError:
                return False
            if self._ignores_merges:
                return self._ids(piece) == self._ids(self.pieces[left]) + self._ids(self.pieces[right])
            return True

        return may_merge
