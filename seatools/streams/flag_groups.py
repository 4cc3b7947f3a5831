"""Which heading of a command's help an option stands under: one table, so that the same flag is found in one place.

What no heading names is the command's own affair and stands under Method. What several commands share under one name
but mean differently has a line of its own in `_ELSEWHERE`. The last heading is that of the options common to all.
"""

from __future__ import annotations

_GROUPS: dict[str, str] = {
    "Input": """
        --tokenizer --old-tokenizer --pattern --chat-template --data --text --counts --measure --protect --donor --hf
        --shots-data --format --limit --on-error --quarantine --plan --neurons --neuron-langs --stages --like --criteria
        --system --pair --langs --from-config --first-new-row --index-dir --no-index --shard
    """,
    "Method": "",
    "Cleaning": """
        --normalize --zero-width --lang-check --lang-id --write-lang --quality --quality-rules --dedup --decontaminate
        --score-with --score-quantile --rejects
    """,
    "Optimisation": """
        --seq-len --batch-size --micro-batch --epochs --max-steps --order --lr --embedding-lr --schedule --warmup
        --optimizer --optimizer-states --masters --no-masters --weight-decay --clip --max-length
    """,
    "Generation": """
        -n --max-new-tokens --temperature --top-k --top-p --min-p --stop --repetition-penalty --logprobs
    """,
    "Evaluation": "--eval-data --eval-every --source-lang --forget-limit --on-forgetting --no-plot --track",
    "Checkpoints": "--save-every --save-minutes --async-save --no-async-save --keep --resume --save-patch",
    "Output": """
        --output --force --skip-existing --depfile --json --csv --dry-run --report --samples --harness --save-stats
        --pack --pack-window --shard-size --plot --html --link --verify --pad-to-multiple --memory --rate
    """,
    "Compute": """
        --device --dtype --workers --nproc --parallel --nodes --print-launch --attention --activation-checkpointing
        --compile --fp8 --batch-tokens --engine
    """,
    "Common": "--seed --config --print-config --color --quiet --verbose --debug --help",
}
_ELSEWHERE: dict[str, dict[str, str]] = {
    "train": {"--plot": "Evaluation"},
    "dpo": {"--plot": "Evaluation"},
    "vocab-extend": {"--parallel": "Input", "--shard": "Output"},
    "mix": {"--shard": "Output", "--temperature": "Method", "--rejects": "Output"},
    "clean": {"--rejects": "Output"},
    "lsn-detect": {"--seq-len": "Method", "--lang": "Input", "--top-k": "Method"},
    "judge": {"--lang-check": "Method", "--lang-id": "Method"},
    "eval": {"--seq-len": "Method", "--max-new-tokens": "Method", "--shard": "Output", "--judge": "Method"},
    "embed-init": {"--lr": "Method", "--text": "Method", "--donor": "Method"},
}
HEADINGS = tuple(_GROUPS)
_HEADING = {name: heading for heading in reversed(_GROUPS) for name in _GROUPS[heading].split()}


def group_of(command: str, option: str) -> str:
    """The heading for `option` ("--seed") of `command` ("train", "lsn-detect select"; a part goes by its whole)."""
    return _ELSEWHERE.get(command.split()[0], {}).get(option) or _HEADING.get(option, "Method")
