# bash completion for sea; made by completions/generate.py

_sea_value() {  # WORDS FILES: what may follow an option
    local IFS=$' \n'
    COMPREPLY=($(compgen -W "$1" -- "$cur"))
    if [ "$2" = 1 ]; then _sea_files; fi
    return 0
}

_sea_files() {
    local IFS=$'\n'
    COMPREPLY+=($(compgen -f -- "$cur"))
}

_sea_option() {  # COMMAND: sets words, parts and arguments; 1 if the word before takes no value
    case $1 in
        'audit')
            words='--reference --reference-tokenizer --fail-under --fail-over --context --price --segment --identify --list --fast --csv --html --pattern -o --output --force --json --limit --workers --on-error --quarantine --config -q --quiet -v --verbose --debug --skip-existing --depfile --color --print-config -h --help' parts='' arguments=''
            case $before in
                --reference) _sea_value 'ar ban bg bn ceb de el en es fa fr he hi hmn hu id ilo it ja jv km ko lo min mr ms my ne nl pt ru shn si sl su sw ta te th tl tr uk ur vi zh' 0 ;;
                --reference-tokenizer) _sea_value '' 1 ;;
                --fail-under) _sea_value '' 0 ;;
                --fail-over) _sea_value '' 0 ;;
                --context) _sea_value '' 0 ;;
                --price) _sea_value '' 0 ;;
                --list) _sea_value 'special added byte incomplete duplicate dormant unreachable unmerged remade disordered' 0 ;;
                --html) _sea_value '' 1 ;;
                --pattern) _sea_value 'gpt2 r50k_base p50k_base cl100k_base o200k_base' 0 ;;
                -o|--output) _sea_value '' 1 ;;
                --limit) _sea_value '' 0 ;;
                --workers) _sea_value '' 0 ;;
                --on-error) _sea_value 'fail skip quarantine' 0 ;;
                --quarantine) _sea_value '' 1 ;;
                --config) _sea_value '' 1 ;;
                --depfile) _sea_value '' 1 ;;
                --color) _sea_value 'auto always never' 0 ;;
                *) return 1 ;;
            esac ;;
        'vocab-extend')
            words='-o --output --add --until --balance --weights --method --donor --prune --trained-size --protect --measure --parallel --reference --min-count --max-bytes --scripts --partial-characters --pretokenizer --reuse-unreachable --pad-to-multiple --unigram --max-drift --normalize --max-words --shard --counts --report --pattern --limit --seed --workers --force --dry-run --on-error --quarantine --config -q --quiet -v --verbose --debug --skip-existing --depfile --color --print-config -h --help' parts='' arguments=''
            case $before in
                -o|--output) _sea_value '' 1 ;;
                --add) _sea_value '' 0 ;;
                --until) _sea_value '' 0 ;;
                --balance) _sea_value 'weights gain parity text' 0 ;;
                --weights) _sea_value '' 0 ;;
                --method) _sea_value 'continue donor merge' 0 ;;
                --donor) _sea_value '' 1 ;;
                --prune) _sea_value 'frequency tfidf' 0 ;;
                --trained-size) _sea_value '' 0 ;;
                --protect) _sea_value '' 1 ;;
                --measure) _sea_value '' 1 ;;
                --parallel) _sea_value '' 1 ;;
                --reference) _sea_value 'ar ban bg bn ceb de el en es fa fr he hi hmn hu id ilo it ja jv km ko lo min mr ms my ne nl pt ru shn si sl su sw ta te th tl tr uk ur vi zh' 0 ;;
                --min-count) _sea_value '' 0 ;;
                --max-bytes) _sea_value '' 0 ;;
                --scripts) _sea_value 'auto any' 0 ;;
                --pretokenizer) _sea_value 'keep marks' 0 ;;
                --pad-to-multiple) _sea_value '' 0 ;;
                --max-drift) _sea_value '' 0 ;;
                --normalize) _sea_value 'none nfc zawgyi' 0 ;;
                --max-words) _sea_value '' 0 ;;
                --shard) _sea_value '' 0 ;;
                --counts) _sea_value '' 1 ;;
                --report) _sea_value '' 1 ;;
                --pattern) _sea_value 'gpt2 r50k_base p50k_base cl100k_base o200k_base' 0 ;;
                --limit) _sea_value '' 0 ;;
                --seed) _sea_value '' 0 ;;
                --workers) _sea_value '' 0 ;;
                --on-error) _sea_value 'fail skip quarantine' 0 ;;
                --quarantine) _sea_value '' 1 ;;
                --config) _sea_value '' 1 ;;
                --depfile) _sea_value '' 1 ;;
                --color) _sea_value 'auto always never' 0 ;;
                *) return 1 ;;
            esac ;;
        'embed-init')
            words='--tokenizer -o --output --old-tokenizer --method --head-method --norm-match --reinit --reinit-reasons --text --max-tokens --donor --omp-k --steps --lr --pad-to-multiple --link --verify --device --seed --force --dry-run --config -q --quiet -v --verbose --debug --skip-existing --depfile --color --print-config -h --help' parts='' arguments=''
            case $before in
                --tokenizer) _sea_value '' 1 ;;
                -o|--output) _sea_value '' 1 ;;
                --old-tokenizer) _sea_value '' 1 ;;
                --method) _sea_value 'auto subword-mean first-piece last-piece weighted-first weighted-last mean gaussian gaussian-diagonal gaussian-full xavier focus omp distill' 0 ;;
                --head-method) _sea_value 'auto subword-mean first-piece last-piece weighted-first weighted-last mean gaussian gaussian-diagonal gaussian-full xavier focus omp distill' 0 ;;
                --reinit) _sea_value '' 1 ;;
                --reinit-reasons) _sea_value 'woken dormant unreachable' 0 ;;
                --text) _sea_value '' 1 ;;
                --max-tokens) _sea_value '' 0 ;;
                --donor) _sea_value '' 1 ;;
                --omp-k) _sea_value '' 0 ;;
                --steps) _sea_value '' 0 ;;
                --lr) _sea_value '' 0 ;;
                --pad-to-multiple) _sea_value '' 0 ;;
                --device) _sea_value 'auto cpu cuda' 0 ;;
                --seed) _sea_value '' 0 ;;
                --config) _sea_value '' 1 ;;
                --depfile) _sea_value '' 1 ;;
                --color) _sea_value 'auto always never' 0 ;;
                *) return 1 ;;
            esac ;;
        'clean')
            words='-o --output --normalize --zero-width --lang --lang-id --lang-check --write-lang --dedup --quality --quality-rules --decontaminate --score-with --score-quantile --device --rejects --force --dry-run --limit --workers --on-error --quarantine --config -q --quiet -v --verbose --debug --skip-existing --depfile --color --print-config -h --help' parts='' arguments=''
            case $before in
                -o|--output) _sea_value '' 1 ;;
                --normalize) _sea_value 'none nfc zawgyi' 0 ;;
                --zero-width) _sea_value 'none repair strip' 0 ;;
                --lang) _sea_value 'ar ban bg bn ceb de el en es fa fr he hi hmn hu id ilo it ja jv km ko lo min mr ms my ne nl pt ru shn si sl su sw ta te th tl tr uk ur vi zh' 0 ;;
                --lang-id) _sea_value 'script cld2 fasttext' 1 ;;
                --dedup) _sea_value 'exact near' 0 ;;
                --quality-rules) _sea_value '' 1 ;;
                --decontaminate) _sea_value '' 1 ;;
                --score-with) _sea_value '' 1 ;;
                --score-quantile) _sea_value '' 0 ;;
                --device) _sea_value 'auto cpu cuda' 0 ;;
                --rejects) _sea_value '' 1 ;;
                --limit) _sea_value '' 0 ;;
                --workers) _sea_value '' 0 ;;
                --on-error) _sea_value 'fail skip quarantine' 0 ;;
                --quarantine) _sea_value '' 1 ;;
                --config) _sea_value '' 1 ;;
                --depfile) _sea_value '' 1 ;;
                --color) _sea_value 'auto always never' 0 ;;
                *) return 1 ;;
            esac ;;
        'mix')
            words='--plan --tokenizer --unit --temperature --unimax --budget --max-epochs --on-exhaust --shuffle --chat-template --normalize --zero-width --lang --lang-id --lang-check --write-lang --dedup --quality --quality-rules --decontaminate --score-with --score-quantile --device --rejects --join-turns --balance --per-group-cap --allow-unk --pack --pack-window --shard --shard-size --index-dir --plot --no-index --pattern -o --output --force --seed --limit --workers --dry-run --json --on-error --quarantine --config -q --quiet -v --verbose --debug --skip-existing --depfile --color --print-config -h --help' parts='' arguments=''
            case $before in
                --plan) _sea_value '' 1 ;;
                --tokenizer) _sea_value '' 1 ;;
                --unit) _sea_value 'tokens loss-tokens bytes docs' 0 ;;
                --temperature) _sea_value '' 0 ;;
                --budget) _sea_value '' 0 ;;
                --max-epochs) _sea_value '' 0 ;;
                --on-exhaust) _sea_value 'stop renormalize error' 0 ;;
                --shuffle) _sea_value 'none global' 0 ;;
                --chat-template) _sea_value '' 1 ;;
                --normalize) _sea_value 'none nfc zawgyi' 0 ;;
                --zero-width) _sea_value 'none repair strip' 0 ;;
                --lang) _sea_value 'ar ban bg bn ceb de el en es fa fr he hi hmn hu id ilo it ja jv km ko lo min mr ms my ne nl pt ru shn si sl su sw ta te th tl tr uk ur vi zh' 0 ;;
                --lang-id) _sea_value 'script cld2 fasttext' 1 ;;
                --dedup) _sea_value 'exact near' 0 ;;
                --quality-rules) _sea_value '' 1 ;;
                --decontaminate) _sea_value '' 1 ;;
                --score-with) _sea_value '' 1 ;;
                --score-quantile) _sea_value '' 0 ;;
                --device) _sea_value 'auto cpu cuda' 0 ;;
                --rejects) _sea_value '' 1 ;;
                --join-turns) _sea_value '' 0 ;;
                --balance) _sea_value 'lang' 0 ;;
                --per-group-cap) _sea_value '' 0 ;;
                --pack) _sea_value '' 0 ;;
                --pack-window) _sea_value '' 0 ;;
                --shard) _sea_value '' 0 ;;
                --shard-size) _sea_value '' 0 ;;
                --index-dir) _sea_value '' 1 ;;
                --plot) _sea_value '' 1 ;;
                --pattern) _sea_value 'gpt2 r50k_base p50k_base cl100k_base o200k_base' 0 ;;
                -o|--output) _sea_value '' 1 ;;
                --seed) _sea_value '' 0 ;;
                --limit) _sea_value '' 0 ;;
                --workers) _sea_value '' 0 ;;
                --on-error) _sea_value 'fail skip quarantine' 0 ;;
                --quarantine) _sea_value '' 1 ;;
                --config) _sea_value '' 1 ;;
                --depfile) _sea_value '' 1 ;;
                --color) _sea_value 'auto always never' 0 ;;
                *) return 1 ;;
            esac ;;
        'train')
            words='-o --output --train --neurons --neuron-langs --first-new-row --preset --seq-len --batch-size --micro-batch --epochs --max-steps --order --lr --embedding-lr --schedule --warmup --optimizer --optimizer-states --masters --no-masters --weight-decay --clip --attention --activation-checkpointing --compile --fp8 --nproc --parallel --nodes --print-launch --save-every --save-minutes --async-save --no-async-save --keep --resume --from-config --save-patch --eval-data --eval-every --source-lang --forget-limit --on-forgetting --track --plot --no-plot --tokenizer --pattern --chat-template --seed --device --dtype --workers --limit --force --dry-run --memory --rate --json --on-error --quarantine --config -q --quiet -v --verbose --debug --skip-existing --depfile --color --print-config -h --help' parts='apply-patch subtract-patch merge-patches show-patch' arguments=''
            case $before in
                -o|--output) _sea_value '' 1 ;;
                --train) _sea_value 'all new-rows embeddings neurons layers' 1 ;;
                --neurons) _sea_value '' 1 ;;
                --neuron-langs) _sea_value 'ar ban bg bn ceb de el en es fa fr he hi hmn hu id ilo it ja jv km ko lo min mr ms my ne nl pt ru shn si sl su sw ta te th tl tr uk ur vi zh' 0 ;;
                --first-new-row) _sea_value '' 0 ;;
                --preset) _sea_value 'sambalingo-cpt sambalingo-sft plnd' 0 ;;
                --seq-len) _sea_value '' 0 ;;
                --batch-size) _sea_value '' 0 ;;
                --micro-batch) _sea_value '' 0 ;;
                --epochs) _sea_value '' 0 ;;
                --max-steps) _sea_value '' 0 ;;
                --order) _sea_value 'auto file shuffled' 0 ;;
                --lr) _sea_value '' 0 ;;
                --embedding-lr) _sea_value '' 0 ;;
                --schedule) _sea_value 'cosine linear wsd constant' 0 ;;
                --warmup) _sea_value '' 0 ;;
                --optimizer) _sea_value 'adamw muon' 0 ;;
                --optimizer-states) _sea_value 'fp32 bf16' 0 ;;
                --weight-decay) _sea_value '' 0 ;;
                --clip) _sea_value '' 0 ;;
                --attention) _sea_value 'auto sea_varlen sdpa eager flash_attention_2 flash_attention_3' 0 ;;
                --activation-checkpointing) _sea_value 'none selective full' 0 ;;
                --nproc) _sea_value 'auto' 0 ;;
                --parallel) _sea_value 'auto fsdp ddp' 0 ;;
                --nodes) _sea_value '' 0 ;;
                --print-launch) _sea_value 'slurm' 0 ;;
                --save-every) _sea_value '' 0 ;;
                --save-minutes) _sea_value '' 0 ;;
                --keep) _sea_value '' 0 ;;
                --save-patch) _sea_value '' 1 ;;
                --eval-data) _sea_value '' 1 ;;
                --eval-every) _sea_value '' 0 ;;
                --source-lang) _sea_value 'ar ban bg bn ceb de el en es fa fr he hi hmn hu id ilo it ja jv km ko lo min mr ms my ne nl pt ru shn si sl su sw ta te th tl tr uk ur vi zh' 0 ;;
                --forget-limit) _sea_value '' 0 ;;
                --on-forgetting) _sea_value 'warn stop' 0 ;;
                --track) _sea_value 'tensorboard wandb trackio' 0 ;;
                --plot) _sea_value '' 1 ;;
                --tokenizer) _sea_value '' 1 ;;
                --pattern) _sea_value 'gpt2 r50k_base p50k_base cl100k_base o200k_base' 0 ;;
                --chat-template) _sea_value '' 1 ;;
                --seed) _sea_value '' 0 ;;
                --device) _sea_value 'auto cpu cuda' 0 ;;
                --dtype) _sea_value 'auto fp32 bf16 fp16' 0 ;;
                --workers) _sea_value '' 0 ;;
                --limit) _sea_value '' 0 ;;
                --memory) _sea_value '' 0 ;;
                --rate) _sea_value '' 0 ;;
                --on-error) _sea_value 'fail skip quarantine' 0 ;;
                --quarantine) _sea_value '' 1 ;;
                --config) _sea_value '' 1 ;;
                --depfile) _sea_value '' 1 ;;
                --color) _sea_value 'auto always never' 0 ;;
                *) return 1 ;;
            esac ;;
        'train apply-patch')
            words='-o --output --scale --on-overlap --inexact --force --dry-run -q --quiet -v --verbose --debug --skip-existing --depfile --color --print-config --config -h --help' parts='' arguments=''
            case $before in
                -o|--output) _sea_value '' 1 ;;
                --scale) _sea_value '' 0 ;;
                --on-overlap) _sea_value 'error mean sum first' 0 ;;
                --depfile) _sea_value '' 1 ;;
                --color) _sea_value 'auto always never' 0 ;;
                --config) _sea_value '' 1 ;;
                *) return 1 ;;
            esac ;;
        'train subtract-patch')
            words='-o --output --scale --inexact --force --dry-run -q --quiet -v --verbose --debug --skip-existing --depfile --color --print-config --config -h --help' parts='' arguments=''
            case $before in
                -o|--output) _sea_value '' 1 ;;
                --scale) _sea_value '' 0 ;;
                --depfile) _sea_value '' 1 ;;
                --color) _sea_value 'auto always never' 0 ;;
                --config) _sea_value '' 1 ;;
                *) return 1 ;;
            esac ;;
        'train merge-patches')
            words='-o --output --scale --on-overlap --force --dry-run -q --quiet -v --verbose --debug --skip-existing --depfile --color --print-config --config -h --help' parts='' arguments=''
            case $before in
                -o|--output) _sea_value '' 1 ;;
                --scale) _sea_value '' 0 ;;
                --on-overlap) _sea_value 'error mean sum first' 0 ;;
                --depfile) _sea_value '' 1 ;;
                --color) _sea_value 'auto always never' 0 ;;
                --config) _sea_value '' 1 ;;
                *) return 1 ;;
            esac ;;
        'train show-patch')
            words='--json --debug --color --print-config --config -h --help' parts='' arguments=''
            case $before in
                --color) _sea_value 'auto always never' 0 ;;
                --config) _sea_value '' 1 ;;
                *) return 1 ;;
            esac ;;
        'lsn-detect')
            words='--lang --method -o --output --plot --parts --top --share --percentile --top-k --threshold --min-docs --core --like --save-stats --seq-len --max-tokens --min-doc-tokens --qk --exact-norm --stop-jaccard --check-every --batch-tokens --nproc --tokenizer --pattern --seed --device --dtype --workers --limit --force --dry-run --json --on-error --quarantine --config -q --quiet -v --verbose --debug --skip-existing --depfile --color --print-config -h --help' parts='stats select verify show' arguments=''
            case $before in
                --lang) _sea_value '' 1 ;;
                --method) _sea_value 'lape plnd magnitude taylor random' 0 ;;
                -o|--output) _sea_value '' 1 ;;
                --plot) _sea_value '' 1 ;;
                --parts) _sea_value 'ffn shared q k v o attention all' 0 ;;
                --top) _sea_value '' 0 ;;
                --share) _sea_value '' 0 ;;
                --percentile) _sea_value '' 0 ;;
                --top-k) _sea_value '' 0 ;;
                --threshold) _sea_value '' 0 ;;
                --min-docs) _sea_value '' 0 ;;
                --core) _sea_value 'all' 0 ;;
                --like) _sea_value '' 1 ;;
                --save-stats) _sea_value '' 1 ;;
                --seq-len) _sea_value '' 0 ;;
                --max-tokens) _sea_value '' 0 ;;
                --min-doc-tokens) _sea_value '' 0 ;;
                --qk) _sea_value 'closed exact' 0 ;;
                --stop-jaccard) _sea_value '' 0 ;;
                --check-every) _sea_value '' 0 ;;
                --batch-tokens) _sea_value '' 0 ;;
                --nproc) _sea_value 'auto' 0 ;;
                --tokenizer) _sea_value '' 1 ;;
                --pattern) _sea_value 'gpt2 r50k_base p50k_base cl100k_base o200k_base' 0 ;;
                --seed) _sea_value '' 0 ;;
                --device) _sea_value 'auto cpu cuda' 0 ;;
                --dtype) _sea_value 'auto fp32 bf16 fp16' 0 ;;
                --workers) _sea_value '' 0 ;;
                --limit) _sea_value '' 0 ;;
                --on-error) _sea_value 'fail skip quarantine' 0 ;;
                --quarantine) _sea_value '' 1 ;;
                --config) _sea_value '' 1 ;;
                --depfile) _sea_value '' 1 ;;
                --color) _sea_value 'auto always never' 0 ;;
                *) return 1 ;;
            esac ;;
        'lsn-detect stats')
            words='--lang -o --output --parts --top-k --threshold --taylor --seq-len --max-tokens --min-doc-tokens --qk --exact-norm --stop-jaccard --check-every --shard --batch-tokens --nproc --tokenizer --pattern --device --dtype --workers --limit --force --dry-run --json --on-error --quarantine --config -q --quiet -v --verbose --debug --skip-existing --depfile --color --print-config -h --help' parts='' arguments=''
            case $before in
                --lang) _sea_value '' 1 ;;
                -o|--output) _sea_value '' 1 ;;
                --parts) _sea_value 'ffn shared q k v o attention all' 0 ;;
                --top-k) _sea_value '' 0 ;;
                --threshold) _sea_value '' 0 ;;
                --seq-len) _sea_value '' 0 ;;
                --max-tokens) _sea_value '' 0 ;;
                --min-doc-tokens) _sea_value '' 0 ;;
                --qk) _sea_value 'closed exact' 0 ;;
                --stop-jaccard) _sea_value '' 0 ;;
                --check-every) _sea_value '' 0 ;;
                --shard) _sea_value '' 0 ;;
                --batch-tokens) _sea_value '' 0 ;;
                --nproc) _sea_value 'auto' 0 ;;
                --tokenizer) _sea_value '' 1 ;;
                --pattern) _sea_value 'gpt2 r50k_base p50k_base cl100k_base o200k_base' 0 ;;
                --device) _sea_value 'auto cpu cuda' 0 ;;
                --dtype) _sea_value 'auto fp32 bf16 fp16' 0 ;;
                --workers) _sea_value '' 0 ;;
                --limit) _sea_value '' 0 ;;
                --on-error) _sea_value 'fail skip quarantine' 0 ;;
                --quarantine) _sea_value '' 1 ;;
                --config) _sea_value '' 1 ;;
                --depfile) _sea_value '' 1 ;;
                --color) _sea_value 'auto always never' 0 ;;
                *) return 1 ;;
            esac ;;
        'lsn-detect select')
            words='-o --output --method --langs --parts --top --share --percentile --top-k --threshold --min-docs --core --like --plot --seed --force --dry-run --json --config -q --quiet -v --verbose --debug --skip-existing --depfile --color --print-config -h --help' parts='' arguments=''
            case $before in
                -o|--output) _sea_value '' 1 ;;
                --method) _sea_value 'lape plnd magnitude taylor random' 0 ;;
                --langs) _sea_value 'ar ban bg bn ceb de el en es fa fr he hi hmn hu id ilo it ja jv km ko lo min mr ms my ne nl pt ru shn si sl su sw ta te th tl tr uk ur vi zh' 0 ;;
                --parts) _sea_value 'ffn shared q k v o attention all' 0 ;;
                --top) _sea_value '' 0 ;;
                --share) _sea_value '' 0 ;;
                --percentile) _sea_value '' 0 ;;
                --top-k) _sea_value '' 0 ;;
                --threshold) _sea_value '' 0 ;;
                --min-docs) _sea_value '' 0 ;;
                --core) _sea_value 'all' 0 ;;
                --like) _sea_value '' 1 ;;
                --plot) _sea_value '' 1 ;;
                --seed) _sea_value '' 0 ;;
                --config) _sea_value '' 1 ;;
                --depfile) _sea_value '' 1 ;;
                --color) _sea_value 'auto always never' 0 ;;
                *) return 1 ;;
            esac ;;
        'lsn-detect verify')
            words='--data -o --output --plot --langs --random --bootstrap --outputs --max-new-tokens --lang-id --min-selectivity --better-than-random --seq-len --stride --batch-tokens --nproc --tokenizer --pattern --seed --device --dtype --workers --limit --force --dry-run --json --on-error --quarantine --config -q --quiet -v --verbose --debug --skip-existing --depfile --color --print-config -h --help' parts='' arguments=''
            case $before in
                --data) _sea_value '' 1 ;;
                -o|--output) _sea_value '' 1 ;;
                --plot) _sea_value '' 1 ;;
                --langs) _sea_value 'ar ban bg bn ceb de el en es fa fr he hi hmn hu id ilo it ja jv km ko lo min mr ms my ne nl pt ru shn si sl su sw ta te th tl tr uk ur vi zh' 0 ;;
                --random) _sea_value '' 0 ;;
                --bootstrap) _sea_value '' 0 ;;
                --outputs) _sea_value '' 0 ;;
                --max-new-tokens) _sea_value '' 0 ;;
                --lang-id) _sea_value 'script cld2 fasttext' 1 ;;
                --min-selectivity) _sea_value '' 0 ;;
                --seq-len) _sea_value '' 0 ;;
                --stride) _sea_value '' 0 ;;
                --batch-tokens) _sea_value '' 0 ;;
                --nproc) _sea_value 'auto' 0 ;;
                --tokenizer) _sea_value '' 1 ;;
                --pattern) _sea_value 'gpt2 r50k_base p50k_base cl100k_base o200k_base' 0 ;;
                --seed) _sea_value '' 0 ;;
                --device) _sea_value 'auto cpu cuda' 0 ;;
                --dtype) _sea_value 'auto fp32 bf16 fp16' 0 ;;
                --workers) _sea_value '' 0 ;;
                --limit) _sea_value '' 0 ;;
                --on-error) _sea_value 'fail skip quarantine' 0 ;;
                --quarantine) _sea_value '' 1 ;;
                --config) _sea_value '' 1 ;;
                --depfile) _sea_value '' 1 ;;
                --color) _sea_value 'auto always never' 0 ;;
                *) return 1 ;;
            esac ;;
        'lsn-detect show')
            words='--plot --force --json --debug --color --print-config --config -h --help' parts='' arguments=''
            case $before in
                --plot) _sea_value '' 1 ;;
                --color) _sea_value 'auto always never' 0 ;;
                --config) _sea_value '' 1 ;;
                *) return 1 ;;
            esac ;;
        'sample')
            words='-o --output -n --num --best-of --max-new-tokens --temperature --top-p --top-k --min-p --repetition-penalty --stop --system --chat --no-chat --from-prompts-in --lang --translation-prompts --translation-tokens --resume --shard --nproc --engine --batch-tokens --chat-template --pattern --seed --device --dtype --limit --force --dry-run --json --on-error --quarantine --config -q --quiet -v --verbose --debug --skip-existing --depfile --color --print-config -h --help' parts='' arguments=''
            case $before in
                -o|--output) _sea_value '' 1 ;;
                -n|--num) _sea_value '' 0 ;;
                --best-of) _sea_value '' 0 ;;
                --max-new-tokens) _sea_value '' 0 ;;
                --temperature) _sea_value '' 0 ;;
                --top-p) _sea_value '' 0 ;;
                --top-k) _sea_value '' 0 ;;
                --min-p) _sea_value '' 0 ;;
                --repetition-penalty) _sea_value '' 0 ;;
                --stop) _sea_value '' 0 ;;
                --system) _sea_value '' 0 ;;
                --from-prompts-in) _sea_value 'ar ban bg bn ceb de el en es fa fr he hi hmn hu id ilo it ja jv km ko lo min mr ms my ne nl pt ru shn si sl su sw ta te th tl tr uk ur vi zh' 0 ;;
                --lang) _sea_value 'ar ban bg bn ceb de el en es fa fr he hi hmn hu id ilo it ja jv km ko lo min mr ms my ne nl pt ru shn si sl su sw ta te th tl tr uk ur vi zh' 0 ;;
                --translation-prompts) _sea_value '' 1 ;;
                --translation-tokens) _sea_value '' 0 ;;
                --shard) _sea_value '' 0 ;;
                --nproc) _sea_value 'auto' 0 ;;
                --engine) _sea_value 'auto own transformers vllm' 0 ;;
                --batch-tokens) _sea_value '' 0 ;;
                --chat-template) _sea_value '' 1 ;;
                --pattern) _sea_value 'gpt2 r50k_base p50k_base cl100k_base o200k_base' 0 ;;
                --seed) _sea_value '' 0 ;;
                --device) _sea_value 'auto cpu cuda' 0 ;;
                --dtype) _sea_value 'auto fp32 bf16 fp16' 0 ;;
                --limit) _sea_value '' 0 ;;
                --on-error) _sea_value 'fail skip quarantine' 0 ;;
                --quarantine) _sea_value '' 1 ;;
                --config) _sea_value '' 1 ;;
                --depfile) _sea_value '' 1 ;;
                --color) _sea_value 'auto always never' 0 ;;
                *) return 1 ;;
            esac ;;
        'judge')
            words='-o --output --mode --pairs --criteria --criteria-lang --calibrate --no-calibrate --chat --no-chat --min-margin --min-consistency --lang-check --max-length-ratio --max-repetition --drop-duplicates --drop-refusals --judge-url --judge-model --judge-tokens --judgements --recorded --shard --nproc --batch-tokens --chat-template --pattern --device --dtype --limit --force --dry-run --json --on-error --quarantine --config -q --quiet -v --verbose --debug --skip-existing --depfile --color --print-config -h --help' parts='' arguments=''
            case $before in
                -o|--output) _sea_value '' 1 ;;
                --mode) _sea_value 'pairwise pointwise spin' 0 ;;
                --pairs) _sea_value 'all best-worst first-two' 0 ;;
                --criteria) _sea_value '' 1 ;;
                --criteria-lang) _sea_value 'ar ban bg bn ceb de el en es fa fr he hi hmn hu id ilo it ja jv km ko lo min mr ms my ne nl pt ru shn si sl su sw ta te th tl tr uk ur vi zh' 0 ;;
                --min-margin) _sea_value '' 0 ;;
                --min-consistency) _sea_value '' 0 ;;
                --lang-check) _sea_value 'script cld2 fasttext' 1 ;;
                --max-length-ratio) _sea_value '' 0 ;;
                --max-repetition) _sea_value '' 0 ;;
                --judge-url) _sea_value '' 0 ;;
                --judge-model) _sea_value '' 0 ;;
                --judge-tokens) _sea_value '' 0 ;;
                --judgements) _sea_value '' 1 ;;
                --recorded) _sea_value '' 1 ;;
                --shard) _sea_value '' 0 ;;
                --nproc) _sea_value 'auto' 0 ;;
                --batch-tokens) _sea_value '' 0 ;;
                --chat-template) _sea_value '' 1 ;;
                --pattern) _sea_value 'gpt2 r50k_base p50k_base cl100k_base o200k_base' 0 ;;
                --device) _sea_value 'auto cpu cuda' 0 ;;
                --dtype) _sea_value 'auto fp32 bf16 fp16' 0 ;;
                --limit) _sea_value '' 0 ;;
                --on-error) _sea_value 'fail skip quarantine' 0 ;;
                --quarantine) _sea_value '' 1 ;;
                --config) _sea_value '' 1 ;;
                --depfile) _sea_value '' 1 ;;
                --color) _sea_value 'auto always never' 0 ;;
                *) return 1 ;;
            esac ;;
        'dpo')
            words='-o --output --loss --beta --label-smoothing --sft-weight --share-prompt --no-share-prompt --max-length --reference --reference-only --train --neurons --neuron-langs --first-new-row --preset --batch-size --micro-batch --epochs --max-steps --lr --embedding-lr --schedule --warmup --optimizer --optimizer-states --masters --no-masters --weight-decay --clip --attention --activation-checkpointing --compile --fp8 --nproc --parallel --nodes --print-launch --save-every --save-minutes --async-save --no-async-save --keep --resume --save-patch --eval-data --eval-every --source-lang --forget-limit --on-forgetting --track --plot --no-plot --tokenizer --pattern --chat-template --seed --device --dtype --workers --limit --force --dry-run --memory --json --on-error --quarantine --config -q --quiet -v --verbose --debug --skip-existing --depfile --color --print-config -h --help' parts='' arguments=''
            case $before in
                -o|--output) _sea_value '' 1 ;;
                --loss) _sea_value 'sigmoid sigmoid_norm ipo hinge robust apo_zero apo_down' 0 ;;
                --beta) _sea_value '' 0 ;;
                --label-smoothing) _sea_value '' 0 ;;
                --sft-weight) _sea_value '' 0 ;;
                --max-length) _sea_value '' 0 ;;
                --reference) _sea_value '' 1 ;;
                --train) _sea_value 'all new-rows embeddings neurons layers' 1 ;;
                --neurons) _sea_value '' 1 ;;
                --neuron-langs) _sea_value 'ar ban bg bn ceb de el en es fa fr he hi hmn hu id ilo it ja jv km ko lo min mr ms my ne nl pt ru shn si sl su sw ta te th tl tr uk ur vi zh' 0 ;;
                --first-new-row) _sea_value '' 0 ;;
                --preset) _sea_value 'sambalingo-dpo' 0 ;;
                --batch-size) _sea_value '' 0 ;;
                --micro-batch) _sea_value '' 0 ;;
                --epochs) _sea_value '' 0 ;;
                --max-steps) _sea_value '' 0 ;;
                --lr) _sea_value '' 0 ;;
                --embedding-lr) _sea_value '' 0 ;;
                --schedule) _sea_value 'cosine linear wsd constant' 0 ;;
                --warmup) _sea_value '' 0 ;;
                --optimizer) _sea_value 'adamw muon' 0 ;;
                --optimizer-states) _sea_value 'fp32 bf16' 0 ;;
                --weight-decay) _sea_value '' 0 ;;
                --clip) _sea_value '' 0 ;;
                --attention) _sea_value 'auto sea_varlen sdpa eager flash_attention_2 flash_attention_3' 0 ;;
                --activation-checkpointing) _sea_value 'none selective full' 0 ;;
                --nproc) _sea_value 'auto' 0 ;;
                --parallel) _sea_value 'auto fsdp ddp' 0 ;;
                --nodes) _sea_value '' 0 ;;
                --print-launch) _sea_value 'slurm' 0 ;;
                --save-every) _sea_value '' 0 ;;
                --save-minutes) _sea_value '' 0 ;;
                --keep) _sea_value '' 0 ;;
                --save-patch) _sea_value '' 1 ;;
                --eval-data) _sea_value '' 1 ;;
                --eval-every) _sea_value '' 0 ;;
                --source-lang) _sea_value 'ar ban bg bn ceb de el en es fa fr he hi hmn hu id ilo it ja jv km ko lo min mr ms my ne nl pt ru shn si sl su sw ta te th tl tr uk ur vi zh' 0 ;;
                --forget-limit) _sea_value '' 0 ;;
                --on-forgetting) _sea_value 'warn stop' 0 ;;
                --track) _sea_value 'tensorboard wandb trackio' 0 ;;
                --plot) _sea_value '' 1 ;;
                --tokenizer) _sea_value '' 1 ;;
                --pattern) _sea_value 'gpt2 r50k_base p50k_base cl100k_base o200k_base' 0 ;;
                --chat-template) _sea_value '' 1 ;;
                --seed) _sea_value '' 0 ;;
                --device) _sea_value 'auto cpu cuda' 0 ;;
                --dtype) _sea_value 'auto fp32 bf16 fp16' 0 ;;
                --workers) _sea_value '' 0 ;;
                --limit) _sea_value '' 0 ;;
                --memory) _sea_value '' 0 ;;
                --on-error) _sea_value 'fail skip quarantine' 0 ;;
                --quarantine) _sea_value '' 1 ;;
                --config) _sea_value '' 1 ;;
                --depfile) _sea_value '' 1 ;;
                --color) _sea_value 'auto always never' 0 ;;
                *) return 1 ;;
            esac ;;
        'eval')
            words='--data --hf -o --output --samples --harness --json --format --shots --shots-data --pair --chat --no-chat --system --judge --deactivate --apply-patch --reference --seq-len --stride --context-bytes --max-new-tokens --batch-tokens --engine --shard --nproc --chat-template --pattern --seed --device --dtype --workers --limit --force --dry-run --on-error --quarantine --config -q --quiet -v --verbose --debug --skip-existing --depfile --color --print-config -h --help' parts='score compare tasks' arguments='belebele choice flores m3exam mgsm mmlu multijail ntrex nusax perplexity seabench seaexam searefuse sib200 tokenizer translation xcopa xquad'
            case $before in
                --data) _sea_value '' 1 ;;
                --hf) _sea_value 'ar ban bg bn ceb de el en es fa fr he hi hmn hu id ilo it ja jv km ko lo min mr ms my ne nl pt ru shn si sl su sw ta te th tl tr uk ur vi zh' 0 ;;
                -o|--output) _sea_value '' 1 ;;
                --samples) _sea_value '' 1 ;;
                --harness) _sea_value '' 1 ;;
                --format) _sea_value 'auto xcopa belebele mmlu sib200 nusax m3exam choice' 0 ;;
                --shots) _sea_value '' 0 ;;
                --shots-data) _sea_value '' 1 ;;
                --pair) _sea_value '' 0 ;;
                --system) _sea_value '' 0 ;;
                --judge) _sea_value '' 1 ;;
                --deactivate) _sea_value '' 1 ;;
                --apply-patch) _sea_value '' 1 ;;
                --reference) _sea_value 'ar ban bg bn ceb de el en es fa fr he hi hmn hu id ilo it ja jv km ko lo min mr ms my ne nl pt ru shn si sl su sw ta te th tl tr uk ur vi zh' 0 ;;
                --seq-len) _sea_value '' 0 ;;
                --stride) _sea_value '' 0 ;;
                --context-bytes) _sea_value '' 0 ;;
                --max-new-tokens) _sea_value '' 0 ;;
                --batch-tokens) _sea_value '' 0 ;;
                --engine) _sea_value 'auto own transformers vllm' 0 ;;
                --shard) _sea_value '' 0 ;;
                --nproc) _sea_value 'auto' 0 ;;
                --chat-template) _sea_value '' 1 ;;
                --pattern) _sea_value 'gpt2 r50k_base p50k_base cl100k_base o200k_base' 0 ;;
                --seed) _sea_value '' 0 ;;
                --device) _sea_value 'auto cpu cuda' 0 ;;
                --dtype) _sea_value 'auto fp32 bf16 fp16' 0 ;;
                --workers) _sea_value '' 0 ;;
                --limit) _sea_value '' 0 ;;
                --on-error) _sea_value 'fail skip quarantine' 0 ;;
                --quarantine) _sea_value '' 1 ;;
                --config) _sea_value '' 1 ;;
                --depfile) _sea_value '' 1 ;;
                --color) _sea_value 'auto always never' 0 ;;
                *) return 1 ;;
            esac ;;
        'eval score')
            words='-o --output --json --harness --resamples --seed --force -q --quiet -v --verbose --debug --skip-existing --depfile --color --print-config --config -h --help' parts='' arguments=''
            case $before in
                -o|--output) _sea_value '' 1 ;;
                --harness) _sea_value '' 1 ;;
                --resamples) _sea_value '' 0 ;;
                --seed) _sea_value '' 0 ;;
                --depfile) _sea_value '' 1 ;;
                --color) _sea_value 'auto always never' 0 ;;
                --config) _sea_value '' 1 ;;
                *) return 1 ;;
            esac ;;
        'eval compare')
            words='-o --output --json --a --b --max-unpaired --resamples --plot --seed --force -q --quiet -v --verbose --debug --skip-existing --depfile --color --print-config --config -h --help' parts='' arguments=''
            case $before in
                -o|--output) _sea_value '' 1 ;;
                --a) _sea_value '' 0 ;;
                --b) _sea_value '' 0 ;;
                --max-unpaired) _sea_value '' 0 ;;
                --resamples) _sea_value '' 0 ;;
                --plot) _sea_value '' 1 ;;
                --seed) _sea_value '' 0 ;;
                --depfile) _sea_value '' 1 ;;
                --color) _sea_value 'auto always never' 0 ;;
                --config) _sea_value '' 1 ;;
                *) return 1 ;;
            esac ;;
        'eval tasks')
            words='--json --debug --color --print-config --config -h --help' parts='' arguments='belebele choice flores m3exam mgsm mmlu multijail ntrex nusax perplexity seabench seaexam searefuse sib200 tokenizer translation xcopa xquad'
            case $before in
                --color) _sea_value 'auto always never' 0 ;;
                --config) _sea_value '' 1 ;;
                *) return 1 ;;
            esac ;;
        'verify')
            words='--json --config -q --quiet -v --verbose --debug --color --print-config -h --help' parts='' arguments=''
            case $before in
                --config) _sea_value '' 1 ;;
                --color) _sea_value 'auto always never' 0 ;;
                *) return 1 ;;
            esac ;;
        'replay')
            words='--config -q --quiet -v --verbose --debug --color --print-config -h --help' parts='' arguments=''
            case $before in
                --config) _sea_value '' 1 ;;
                --color) _sea_value 'auto always never' 0 ;;
                *) return 1 ;;
            esac ;;
        'plugins')
            words='--load --json --config -q --quiet -v --verbose --debug --color --print-config -h --help' parts='' arguments=''
            case $before in
                --config) _sea_value '' 1 ;;
                --color) _sea_value 'auto always never' 0 ;;
                *) return 1 ;;
            esac ;;
    esac
}

_sea() {
    local cur=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words='' parts='' arguments='' path
    local IFS=$' \n'
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W 'audit vocab-extend embed-init clean mix train lsn-detect sample judge dpo eval verify replay plugins help --help --version' -- "$cur"))
        return
    fi
    if [ "$cur" = = ]; then cur=''; elif [ "$before" = = ]; then before=${COMP_WORDS[COMP_CWORD-2]}; fi
    set -- "${COMP_WORDS[1]}" "${COMP_WORDS[2]}"
    path=$1
    if [ "$1" = help ]; then
        [ "$COMP_CWORD" -ne 2 ] || COMPREPLY=($(compgen -W 'audit vocab-extend embed-init clean mix train lsn-detect sample judge dpo eval verify replay plugins config errors evaluation formats gpus mixing neurons pipes preferences provenance tokenizers' -- "$cur"))
        return
    fi
    [ "$COMP_CWORD" -eq 2 ] || case "$1 $2" in
        'train apply-patch') path=$1\ $2 ;;
        'train subtract-patch') path=$1\ $2 ;;
        'train merge-patches') path=$1\ $2 ;;
        'train show-patch') path=$1\ $2 ;;
        'lsn-detect stats') path=$1\ $2 ;;
        'lsn-detect select') path=$1\ $2 ;;
        'lsn-detect verify') path=$1\ $2 ;;
        'lsn-detect show') path=$1\ $2 ;;
        'eval score') path=$1\ $2 ;;
        'eval compare') path=$1\ $2 ;;
        'eval tasks') path=$1\ $2 ;;
    esac
    if _sea_option "$path"; then return; fi
    case $cur in
        -*) COMPREPLY=($(compgen -W "$words" -- "$cur")) ;;
        *)
            [ "$COMP_CWORD" -eq 2 ] || parts=''
            COMPREPLY=($(compgen -W "$parts $arguments" -- "$cur"))
            _sea_files ;;
    esac
}
complete -o filenames -F _sea sea
