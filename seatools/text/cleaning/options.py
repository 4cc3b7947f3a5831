"""What is cleaned, as data: one frozen object, the same for `sea clean` and `sea mix`, stored whole in the manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from seatools.streams.errors import UsageError
from seatools.streams.inputs import expand
from seatools.text.cleaning.zero_width import MODES
from seatools.text.text_warnings import NORMALISERS

NEAR_THRESHOLD = 0.8
SCORE_QUANTILE = 0.5


@dataclass(frozen=True, kw_only=True)
class CleaningOptions:
    """All of it is off by default. Errors: UsageError for a value that cannot be meant."""

    normalize: str = "none"
    """`none`, `nfc`, or `zawgyi`: Zawgyi to Unicode where it is found, then NFC."""
    zero_width: str = "none"
    """`none`, `repair`, or `strip`: Khmer's word breaks too."""
    lang: tuple[str, ...] = ()
    """Keep documents in these languages; empty: all."""
    lang_id: str = "script"
    """The tier: `script`, `cld2` or `fasttext:FILE`."""
    lang_check: bool = False
    """Reject documents that are in another language than declared."""
    write_lang: bool = False
    """Write `lang` into records that have none."""
    exact: bool = False
    """Reject all but the first of equal documents."""
    near: float | None = None
    """Reject all but the first of documents with this Jaccard similarity."""
    quality: bool = False
    quality_rules: str | None = None
    """A TOML file that changes the limits of quality.toml."""
    decontaminate: tuple[str, ...] = ()
    """Benchmark files; documents that hold a piece of one are rejected."""
    score_with: str | None = None
    """A model folder; documents are kept by their bits per byte."""
    score_quantile: Mapping[str, float] = field(default_factory=dict)
    """Language -> share that is kept, the best first; `""`: every other language."""
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.normalize not in NORMALISERS:
            raise UsageError(f'no normalization "{self.normalize}"', fix=f"--normalize {' or '.join(NORMALISERS)}")
        if self.zero_width not in MODES:
            raise UsageError(f'no repair "{self.zero_width}"', fix=f"--zero-width {' or '.join(MODES)}")
        if self.near is not None and not 0 < self.near <= 1:
            raise UsageError(f"a similarity of {self.near}", fix="--dedup near:0.8; above 0, at most 1")
        if self.quality_rules is not None and not self.quality:
            raise UsageError("--quality-rules without --quality", fix="--quality --quality-rules FILE.toml")
        if self.score_quantile and self.score_with is None:
            raise UsageError("--score-quantile without --score-with", fix="--score-with MODEL")
        for lang, share in self.score_quantile.items():
            if not 0 < share <= 1:
                raise UsageError(f"--score-quantile {lang or share}: {share} is no share", fix="above 0, at most 1")
        if self.lang_id != "script" and not self.identifies:
            raise UsageError(
                f"--lang-id {self.lang_id} and nothing to use it for", fix="--lang th,lo, --lang-check or --write-lang"
            )

    @property
    def identifies(self) -> bool:
        """Whether documents' languages are identified."""
        return bool(self.lang) or self.lang_check or self.write_lang or self.quality or self.score_with is not None

    @property
    def changes(self) -> bool:
        """Whether a record may come out with other bytes."""
        return self.normalize != "none" or self.zero_width != "none" or self.write_lang

    @property
    def two_passes(self) -> bool:
        """Whether nothing can be let through before all is read."""
        return self.near is not None or self.score_with is not None

    @property
    def is_off(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.changes or self.identifies or self.exact or self.two_passes or self.decontaminate)

    def files_used(self) -> list[str]:
        """Files and folders beside the documents: of benchmarks, rules and models, for the manifest."""
        kind, _, model = self.lang_id.partition(":")
        return [
            *(expand(list(self.decontaminate)) if self.decontaminate else []),
            *([model] if kind == "fasttext" and model else []),
            *([self.quality_rules] if self.quality_rules is not None else []),
            *([self.score_with] if self.score_with is not None else []),
        ]


def cleaning_options(
    *,
    normalize: str = "none",
    zero_width: str = "none",
    lang: str | None = None,
    lang_id: str = "script",
    lang_check: bool = False,
    write_lang: bool = False,
    dedup: Sequence[str] | None = None,
    quality: bool = False,
    quality_rules: str | None = None,
    decontaminate: Sequence[str] | None = None,
    score_with: str | None = None,
    score_quantile: str | None = None,
    device: str = "auto",
) -> CleaningOptions:
    """Of the flags of `streams/cleaning_flags.py`, as typed. Errors: UsageError."""
    exact, near = _dedup(dedup or ())
    quantiles = _quantiles(score_quantile) if score_quantile is not None else {}
    return CleaningOptions(
        normalize=normalize,
        zero_width=zero_width,
        lang=tuple(tag for part in (lang or "").split(",") if (tag := part.strip())),
        lang_id=lang_id,
        lang_check=lang_check,
        write_lang=write_lang,
        exact=exact,
        near=near,
        quality=quality,
        quality_rules=quality_rules,
        decontaminate=tuple(decontaminate or ()),
        score_with=score_with,
        score_quantile=quantiles or ({"": SCORE_QUANTILE} if score_with is not None else {}),
        device=device,
    )


def _dedup(asked: Sequence[str]) -> tuple[bool, float | None]:
    """Near duplicates are looked for among what is left of equal ones, so `near` implies `exact`."""
    near: float | None = None
    for word in asked:
        kind, colon, threshold = word.partition(":")
        if kind == "near":
            try:
                near = float(threshold) if colon else NEAR_THRESHOLD
            except ValueError:
                raise UsageError(f"--dedup {word}: no number", fix="--dedup near:0.8") from None
        elif word != "exact":
            raise UsageError(f'no kind of duplicates "{word}"', fix="--dedup exact, or --dedup near:0.8")
    return bool(asked), near


def _quantiles(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in text.split(","):
        lang, _, share = part.rpartition("=")
        try:
            found[lang.strip()] = float(share)
        except ValueError:
            raise UsageError(f"--score-quantile {text}: no number", fix="0.3, or th=0.3,en=0.2") from None
    return found
