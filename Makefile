# One line per target: `make help`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help demo test lint bench peers gpu-check completions man docs release clean install
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Two stamps, so that `make demo` does not wait for what only developers need.
$(VENV)/.base: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	$(BIN)/pip install -q -c constraints.txt -e ".[dev]"
	@touch $@

install: $(VENV)/.base ## .venv with sea in it

demo: $(VENV)/.base ## the whole road on small texts of our own, in under five minutes
	$(MAKE) --no-print-directory -C examples/quickstart SEA="$(abspath $(BIN)/sea)" clean all

test: $(VENV)/.dev ## every test that needs no GPU
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not cuda"

lint: $(VENV)/.dev ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.dev ## the benchmarks that need no GPU; results are appended to benchmarks/results
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/train_step.py
	$(BIN)/python benchmarks/neuron_step.py
	$(BIN)/python benchmarks/loss_head.py
	$(BIN)/python benchmarks/train_start.py
	[ ! -x .venv-peers/bin/python ] || $(BIN)/python benchmarks/train_peers.py
	$(BIN)/python benchmarks/audit.py
	$(BIN)/python benchmarks/packing.py --runs 1
	$(BIN)/python benchmarks/near_duplicates.py

peers: ## .venv-peers: the libraries that the benchmarks run beside ours
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install -q -r benchmarks/peers.txt

gpu-check: ## tests marked cuda and the GPU benchmarks; skips where there is no GPU
	@sh benchmarks/gpu-check.sh

completions: $(VENV)/.dev ## write completions/ anew from the commands' flags
	$(BIN)/python completions/generate.py

man: $(VENV)/.dev ## write docs/man anew from the commands' flags
	$(BIN)/python docs/man_pages.py

$(VENV)/.docs: $(VENV)/.base
	$(BIN)/pip install -q -c constraints.txt -e ".[docs]"
	@touch $@

docs: $(VENV)/.docs ## the site in build/docs; generated parts written anew, a broken link fails
	$(BIN)/python docs/generated_parts.py
	$(BIN)/mkdocs build -q --strict

# The wheel is built from the sdist, so what the sdist lacks is found out; then installed and tried without this folder.
release: $(VENV)/.dev ## dist/: wheel and sdist, checked, installed elsewhere and tried
	rm -rf dist && $(PYTHON) -m venv .venv-release
	.venv-release/bin/pip install -q build==1.6.1 twine==7.0.0
	.venv-release/bin/python -m build --outdir dist .
	.venv-release/bin/twine check --strict dist/*
	SEA_DIST=dist $(BIN)/python -m pytest -q tests/test_installation.py

clean: ## remove the environment and what demo and tests made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis examples/quickstart/out
