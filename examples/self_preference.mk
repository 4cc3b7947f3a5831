# A model that aligns itself: ROUNDS times two answers to each prompt, judged in both orders by the model that gave them,
# and DPO on what agreed (SeaLLMs, section 3.3). A round starts from the model of the round before, which is its reference.
#
#   make -f examples/self_preference.mk MODEL=my-chat-model PROMPTS=prompts.jsonl TEST='th=dev.th en=dev.en' OUT=out/self
#
# PROMPTS are chat prompts with their `lang`. TEST is text to watch in bits per byte. A round whose judge is near chance
# stops there (MIN: share of pairs on which both orders agree; a coin gives 0.5), and so does make.
SHELL   = /bin/bash
.SHELLFLAGS = -o pipefail -c
SEA     ?= sea
MODEL   ?= quickstart/out/adapted
PROMPTS ?= quickstart/texts/prompts.jsonl
TEST    ?=
OUT     ?= out/self
ROUNDS  ?= 2
MIN     ?= 0.55
SAMPLE  ?= --max-new-tokens 256
JUDGE   ?= --drop-duplicates --max-repetition 0.3
DPO     ?= --lr 5e-7 --epochs 1 --sft-weight 0.1

numbers = $(shell seq 1 $(ROUNDS))
models  = $(MODEL) $(numbers:%=$(OUT)/round-%)
tests   = $(TEST:%=--data %)

all: $(numbers:%=$(OUT)/round-%.manifest.json) $(if $(TEST),$(OUT)/scores.jsonl)

# The model of round N - 1, and the file that says it is complete.
before = $(if $(filter 1,$(1)),$(MODEL),$(OUT)/round-$(shell echo $$(($(1) - 1))))
done   = $(if $(filter 1,$(1)),,$(OUT)/round-$(shell echo $$(($(1) - 1))).manifest.json)

define round
$(OUT)/answers-$(1).jsonl: $(PROMPTS) $(call done,$(1))
	mkdir -p $(OUT)
	$(SEA) sample $(call before,$(1)) $(PROMPTS) -n 2 --seed $(1) $(SAMPLE) -o $$@ --force

$(OUT)/preferences-$(1).jsonl: $(OUT)/answers-$(1).jsonl
	$(SEA) judge $(call before,$(1)) $$< --min-consistency $(MIN) $(JUDGE) -o $$@ --force

$(OUT)/round-$(1).manifest.json: $(OUT)/preferences-$(1).jsonl
	$(SEA) dpo $(call before,$(1)) $$< -o $(OUT)/round-$(1) --force --seed $(1) $(DPO)
endef
$(foreach n,$(numbers),$(eval $(call round,$(n))))

# What each round kept of the languages: bits per byte of every model, one score record a line.
$(OUT)/scores.jsonl: $(numbers:%=$(OUT)/round-%.manifest.json)
	for model in $(models); do $(SEA) eval $$model perplexity $(tests) --json || exit; done > $@

.PHONY: all
.DELETE_ON_ERROR:
