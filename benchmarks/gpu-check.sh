#!/bin/sh
# `make gpu-check`: tests marked cuda, then the GPU benchmarks. Skips cleanly where there is no GPU. Needs nothing
# outside the repository but a python with torch (the project's .venv, else $PYTHON, else python3).
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
timeout 300 "$python" -m pytest -m cuda -q || status=$?
timeout 240 "$python" benchmarks/train_step.py --device cuda || status=$?
exit "$status"
