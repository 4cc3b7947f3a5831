# Teach a pretrained model a language: copy this file, set the variables, run make.
#
#   make -f examples/adapt.mk LANG=th BASE=... TEXT=th.jsonl ENGLISH=en.jsonl OUT=out/th \
#        TEST=flores_th.txt TEST_EN=flores_en.txt
#
# TEXT, ENGLISH: a file or glob of JSONL ({"text": ...}) or .txt lines, .gz and .zst too. BASE: a Hugging Face folder.
# With no variables set it runs on the project's shared data: stories260K, Thai government news, English sentences.
SHELL   = /bin/bash
.SHELLFLAGS = -o pipefail -c  # a filter that fails, fails its pipe
SEA     ?= sea
SHARED  ?= $(or $(SEA_SHARED),../shared)
BASE    ?= $(SHARED)/models/stories260K
LANG    := $(if $(filter command line,$(origin LANG)),$(LANG),th)
TEXT    ?= $(SHARED)/data/mono/th_thaigov.jsonl
ENGLISH ?= $(SHARED)/data/mono/en_commonvoice.txt
TEST    ?= $(SHARED)/data/flores200/dev/tha_Thai.txt
TEST_EN ?= $(SHARED)/data/flores200/dev/eng_Latn.txt
PROMPTS ?=
OUT     ?= out/$(LANG)

ADD     ?= 2048
BUDGET  ?= 1500k
WEIGHTS ?= 1 3
SEQ_LEN ?= 256
BATCH   ?= 16
LR      ?= 2e-3
NEURON_STEPS ?= 60
EVAL    ?=
ifneq ($(words $(OUT)),1)
$(error OUT is "$(OUT)": make parts names at spaces, so give one without)
endif
unexport LANG  # in the environment it names the locale

weight_en = $(word 1,$(WEIGHTS))
weight    = $(word 2,$(WEIGHTS))
tests     = --data $(LANG)=$(TEST) --data en=$(TEST_EN)

all: $(OUT)/report.txt
	@cat $<

# A folder is complete when its manifest is beside it, so manifests are the targets; MADE is the target without the ending.
MADE = $(@:.manifest.json=)

# New tokens from the language's text; the English text keeps its encoding.
$(OUT)/tok.manifest.json: $(wildcard $(TEXT) $(ENGLISH))
	mkdir -p $(OUT)
	$(SEA) vocab-extend $(BASE) $(LANG)=$(TEXT) --add $(ADD) --protect en=$(ENGLISH) -o $(MADE) --force

# Rows for them.
$(OUT)/init.manifest.json: $(OUT)/tok.manifest.json
	$(SEA) embed-init $(BASE) --tokenizer $(OUT)/tok -o $(MADE) --force

# English and the language, 1:3 by tokens (SambaLingo), straight into continued pretraining.
$(OUT)/model.manifest.json: $(OUT)/init.manifest.json
	$(SEA) mix en=$(ENGLISH):$(weight_en) $(LANG)=$(TEXT):$(weight) --tokenizer $(OUT)/init --unit tokens --budget $(BUDGET) --no-index \
	  | $(SEA) train $(OUT)/init - -o $(MADE) --force --seq-len $(SEQ_LEN) --batch-size $(BATCH) --lr $(LR)

# The neurons that speak it, and a further model in which only those were trained.
$(OUT)/neurons.jsonl: $(OUT)/model.manifest.json
	$(SEA) lsn-detect $(OUT)/model --lang $(LANG)=$(TEXT) --lang en=$(ENGLISH) --method lape --share 0.05 \
	    --max-tokens 200k -o $(OUT)/neurons.safetensors --force > $@

$(OUT)/neurons-model.manifest.json: $(OUT)/neurons.jsonl
	$(SEA) train $(OUT)/model $(LANG)=$(TEXT) --neurons $(OUT)/neurons.safetensors --neuron-langs $(LANG) -o $(MADE) --force \
	    --seq-len $(SEQ_LEN) --batch-size $(BATCH) --max-steps $(NEURON_STEPS) --lr 1e-3

# Alignment by its own preferences: make -f adapt.mk ... PROMPTS=prompts.jsonl aligned
aligned: $(OUT)/aligned.manifest.json
$(OUT)/aligned.manifest.json: $(OUT)/model.manifest.json $(PROMPTS)
	$(SEA) sample $(OUT)/model $(PROMPTS) -n 2 --max-new-tokens 64 | $(SEA) judge $(OUT)/model \
	  | $(SEA) dpo $(OUT)/model - -o $(MADE) --force

# How good each is, on text that was not trained on.
$(OUT)/%.eval.jsonl: $(OUT)/%.manifest.json
	$(SEA) eval $(OUT)/$* perplexity $(tests) $(EVAL) --json > $@
$(OUT)/base.eval.jsonl: | $(OUT)/tok.manifest.json
	$(SEA) eval $(BASE) perplexity $(tests) $(EVAL) --json > $@
$(OUT)/%.audit.jsonl: $(OUT)/%.manifest.json
	$(SEA) audit $(OUT)/$* $(LANG)=$(TEST) en=$(TEST_EN) --json > $@
$(OUT)/base.audit.jsonl: | $(OUT)/tok.manifest.json
	$(SEA) audit $(BASE) $(LANG)=$(TEST) en=$(TEST_EN) --json > $@

EVALS  = $(foreach m,base model neurons-model,$(OUT)/$(m).eval.jsonl)
AUDITS = $(OUT)/base.audit.jsonl $(OUT)/tok.audit.jsonl
here  := $(dir $(lastword $(MAKEFILE_LIST)))
$(OUT)/report.txt: $(AUDITS) $(EVALS)
	@python3 $(here)report.py $^ > $@

clean:
	rm -rf $(OUT)

.PHONY: all aligned clean
.DELETE_ON_ERROR:
