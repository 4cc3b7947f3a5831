# bash completion for sea; made by completions/generate.py
_sea() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "audit vocab-extend embed-init clean mix train lsn-detect sample judge dpo eval --help --version" -- "$cur"))
        return
    fi
    case ${COMP_WORDS[1]} in
        audit)
            case $prev in
                --on-error) COMPREPLY=($(compgen -W "fail skip quarantine" -- "$cur")); return ;;
            esac
            words="--reference --reference-tokenizer --fail-under --fail-over --context --price --segment --identify --list --fast --csv --pattern --output -o --force --json --limit --workers --on-error --quarantine --config --quiet -q --verbose -v --debug -h --help" ;;
        vocab-extend)
            case $prev in
                --on-error) COMPREPLY=($(compgen -W "fail skip quarantine" -- "$cur")); return ;;
            esac
            words="--output -o --add --until --balance --weights --method --donor --prune --trained-size --protect --measure --parallel --reference --min-count --max-bytes --scripts --partial-characters --pretokenizer --reuse-unreachable --pad-to-multiple --unigram --max-drift --normalize --max-words --shard --counts --report --pattern --limit --seed --workers --force --dry-run --on-error --quarantine --config --quiet -q --verbose -v --debug -h --help" ;;
        embed-init)
            words="--tokenizer --output -o --old-tokenizer --method --head-method --norm-match --reinit --reinit-reasons --text --max-tokens --donor --omp-k --steps --lr --pad-to-multiple --link --verify --device --seed --force --dry-run --config --quiet -q --verbose -v --debug -h --help" ;;
        clean)
            case $prev in
                --normalize) COMPREPLY=($(compgen -W "none nfc zawgyi" -- "$cur")); return ;;
                --zero-width) COMPREPLY=($(compgen -W "none repair strip" -- "$cur")); return ;;
                --score-quantile) COMPREPLY=($(compgen -W "0.3 th=0.3,..." -- "$cur")); return ;;
                --on-error) COMPREPLY=($(compgen -W "fail skip quarantine" -- "$cur")); return ;;
            esac
            words="--output -o --normalize --zero-width --lang --lang-id --lang-check --write-lang --dedup --quality --quality-rules --decontaminate --score-with --score-quantile --device --rejects --force --dry-run --limit --workers --on-error --quarantine --config --quiet -q --verbose -v --debug -h --help" ;;
        mix)
            case $prev in
                --unit) COMPREPLY=($(compgen -W "tokens loss-tokens bytes docs" -- "$cur")); return ;;
                --on-exhaust) COMPREPLY=($(compgen -W "stop renormalize error" -- "$cur")); return ;;
                --shuffle) COMPREPLY=($(compgen -W "none global" -- "$cur")); return ;;
                --normalize) COMPREPLY=($(compgen -W "none nfc zawgyi" -- "$cur")); return ;;
                --zero-width) COMPREPLY=($(compgen -W "none repair strip" -- "$cur")); return ;;
                --score-quantile) COMPREPLY=($(compgen -W "0.3 th=0.3,..." -- "$cur")); return ;;
                --balance) COMPREPLY=($(compgen -W "lang" -- "$cur")); return ;;
                --on-error) COMPREPLY=($(compgen -W "fail skip quarantine" -- "$cur")); return ;;
            esac
            words="--plan --tokenizer --unit --temperature --unimax --budget --max-epochs --on-exhaust --shuffle --chat-template --normalize --zero-width --lang --lang-id --lang-check --write-lang --dedup --quality --quality-rules --decontaminate --score-with --score-quantile --device --rejects --join-turns --balance --per-group-cap --allow-unk --pack --pack-window --shard --shard-size --index-dir --no-index --pattern --output -o --force --seed --limit --workers --dry-run --json --on-error --quarantine --config --quiet -q --verbose -v --debug -h --help" ;;
        train)
            case $prev in
                --order) COMPREPLY=($(compgen -W "auto file shuffled" -- "$cur")); return ;;
                --dtype) COMPREPLY=($(compgen -W "auto fp32 bf16 fp16" -- "$cur")); return ;;
                --on-error) COMPREPLY=($(compgen -W "fail skip quarantine" -- "$cur")); return ;;
            esac
            words="--output -o --train --neurons --neuron-langs --first-new-row --preset --seq-len --batch-size --micro-batch --epochs --max-steps --order --lr --embedding-lr --schedule --warmup --optimizer --optimizer-states --masters --no-masters --weight-decay --clip --attention --activation-checkpointing --compile --fp8 --nproc --parallel --nodes --print-launch --save-every --save-minutes --async-save --no-async-save --keep --resume --from-config --save-patch --eval-data --eval-every --source-lang --forget-limit --on-forgetting --track --plot --no-plot --tokenizer --pattern --chat-template --seed --device --dtype --workers --limit --force --dry-run --memory --rate --json --on-error --quarantine --config --quiet -q --verbose -v --debug -h --help" ;;
        lsn-detect)
            case $prev in
                --method) COMPREPLY=($(compgen -W "lape plnd magnitude taylor random" -- "$cur")); return ;;
                --qk) COMPREPLY=($(compgen -W "closed exact" -- "$cur")); return ;;
                --dtype) COMPREPLY=($(compgen -W "auto fp32 bf16 fp16" -- "$cur")); return ;;
                --on-error) COMPREPLY=($(compgen -W "fail skip quarantine" -- "$cur")); return ;;
            esac
            words="--lang --method --output -o --plot --parts --top --share --percentile --top-k --threshold --min-docs --core --like --save-stats --seq-len --max-tokens --min-doc-tokens --qk --exact-norm --stop-jaccard --check-every --batch-tokens --nproc --tokenizer --pattern --seed --device --dtype --workers --limit --force --dry-run --json --on-error --quarantine --config --quiet -q --verbose -v --debug -h --help" ;;
        sample)
            case $prev in
                --dtype) COMPREPLY=($(compgen -W "auto fp32 bf16 fp16" -- "$cur")); return ;;
                --on-error) COMPREPLY=($(compgen -W "fail skip quarantine" -- "$cur")); return ;;
            esac
            words="--output -o -n --num --max-new-tokens --temperature --top-p --top-k --min-p --stop --system --batch-tokens --chat-template --pattern --seed --device --dtype --limit --force --dry-run --json --on-error --quarantine --config --quiet -q --verbose -v --debug -h --help" ;;
        judge)
            case $prev in
                --dtype) COMPREPLY=($(compgen -W "auto fp32 bf16 fp16" -- "$cur")); return ;;
                --on-error) COMPREPLY=($(compgen -W "fail skip quarantine" -- "$cur")); return ;;
            esac
            words="--output -o --criteria --calibrate --no-calibrate --batch-tokens --chat-template --pattern --device --dtype --limit --force --dry-run --json --on-error --quarantine --config --quiet -q --verbose -v --debug -h --help" ;;
        dpo)
            case $prev in
                --dtype) COMPREPLY=($(compgen -W "auto fp32 bf16 fp16" -- "$cur")); return ;;
                --on-error) COMPREPLY=($(compgen -W "fail skip quarantine" -- "$cur")); return ;;
            esac
            words="--output -o --beta --max-length --batch-size --micro-batch --epochs --max-steps --lr --schedule --warmup --weight-decay --clip --save-every --keep --resume --reference --reference-only --pattern --chat-template --seed --device --dtype --workers --limit --force --dry-run --on-error --quarantine --config --quiet -q --verbose -v --debug -h --help" ;;
        eval)
            case $prev in
                --dtype) COMPREPLY=($(compgen -W "auto fp32 bf16 fp16" -- "$cur")); return ;;
                --on-error) COMPREPLY=($(compgen -W "fail skip quarantine" -- "$cur")); return ;;
            esac
            words="--data --hf --output -o --samples --harness --json --format --shots --shots-data --pair --chat --no-chat --system --judge --deactivate --apply-patch --reference --seq-len --stride --context-bytes --max-new-tokens --batch-tokens --engine --shard --nproc --chat-template --pattern --seed --device --dtype --workers --limit --force --dry-run --on-error --quarantine --config --quiet -q --verbose -v --debug -h --help" ;;
    esac
    case $cur in
        -*) COMPREPLY=($(compgen -W "$words" -- "$cur")) ;;
        *) COMPREPLY=($(compgen -f -- "$cur")) ;;
    esac
}
complete -o filenames -F _sea sea
