#!/bin/sh
# `make gpu-check`: tests marked cuda, then the GPU benchmarks, in under ten minutes; each part ends on its own time.
# Skips cleanly where there is no GPU. Needs nothing outside the repository but a python with torch (the project's
# .venv, else $PYTHON, else python3); trl, peft and liger-kernel in it are measured beside ours if they are there.
cd "$(dirname "$0")/.." || exit 1
if [ -x .venv/bin/python ] && .venv/bin/python -c 'import torch' 2>/dev/null; then python=.venv/bin/python
else python=${PYTHON:-python3}; fi
if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    echo "gpu-check: no CUDA device here; skipped"
    exit 0
fi
PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONPATH
status=0
timeout 150 "$python" -m pytest -m cuda -q || status=$?
timeout 50 "$python" benchmarks/loss_head.py --device cuda --runs 5 || status=$?
timeout 40 "$python" benchmarks/neuron_step.py --device cuda --steps 5 || status=$?
timeout 160 "$python" benchmarks/gpu_train.py --steps 5 || status=$?
for length in 512 2048; do
    timeout 45 "$python" benchmarks/lsn_detect.py --device cuda --shape 8b --seq-len $length --rounds 2 --no-peers \
        --no-memory || status=$?
done
timeout 90 "$python" benchmarks/dpo.py --cuda 1b --train neurons --no-peer || status=$?
exit "$status"
