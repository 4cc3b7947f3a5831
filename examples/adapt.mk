# Teach a pretrained model a language: copy this file, set the variables, run make.
#
#   make -f examples/adapt.mk LANG=th BASE=... TEXT=th.jsonl ENGLISH=en.jsonl OUT=out/th \
#        TEST=flores_th.txt TEST_EN=flores_en.txt
#
# With no variables set it runs on the project's shared data: stories260K, Thai government news, English speech.
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

weight_en = $(word 1,$(WEIGHTS))
weight    = $(word 2,$(WEIGHTS))
tests     = --data $(LANG)=$(TEST) --data en=$(TEST_EN)

all: $(OUT)/report.txt
	@cat $<

$(OUT):
	mkdir -p $@

# New tokens from the language's text; the English text keeps its encoding.
$(OUT)/tok: | $(OUT)
	$(SEA) vocab-extend $(BASE) $(LANG)=$(TEXT) --add $(ADD) --protect en=$(ENGLISH) -o $@

# Rows for them.
$(OUT)/init: $(OUT)/tok
	$(SEA) embed-init $(BASE) --tokenizer $< --method subword-mean -o $@

# English and the language, 1:3 by tokens (SambaLingo), straight into continued pretraining.
$(OUT)/model: $(OUT)/init
	$(SEA) mix en=$(ENGLISH):$(weight_en) $(LANG)=$(TEXT):$(weight) --tokenizer $< --unit tokens --budget $(BUDGET) \
	  | $(SEA) train $< - -o $@ --seq-len $(SEQ_LEN) --batch-size $(BATCH) --lr $(LR)

# The neurons that speak it, and a further model in which only those were trained.
$(OUT)/neurons.safetensors: $(OUT)/model
	$(SEA) lsn-detect $< --lang $(LANG)=$(TEXT) --lang en=$(ENGLISH) --method lape --share 0.05 --max-tokens 200k -o $@

$(OUT)/neurons-model: $(OUT)/neurons.safetensors
	$(SEA) train $(OUT)/model $(LANG)=$(TEXT) -o $@ --neurons $< --neuron-langs $(LANG) \
	    --seq-len $(SEQ_LEN) --batch-size $(BATCH) --max-steps $(NEURON_STEPS) --lr 1e-3

# Alignment by its own preferences, when there are prompts: make ... PROMPTS=prompts.jsonl aligned
aligned: $(OUT)/aligned
$(OUT)/aligned: $(OUT)/model $(PROMPTS)
	$(SEA) sample $< $(PROMPTS) -n 2 --max-new-tokens 64 | $(SEA) judge $< | $(SEA) dpo $< - -o $@

# How good each is, in bits per byte on text that was not trained on.
$(OUT)/base.eval.jsonl: | $(OUT)
	$(SEA) eval $(BASE) perplexity $(tests) --json > $@
$(OUT)/%.eval.jsonl: $(OUT)/%
	$(SEA) eval $< perplexity $(tests) --json > $@
$(OUT)/%.audit.jsonl: $(OUT)/%
	$(SEA) audit $< $(LANG)=$(TEST) en=$(TEST_EN) --json > $@
$(OUT)/base.audit.jsonl: | $(OUT)
	$(SEA) audit $(BASE) $(LANG)=$(TEST) en=$(TEST_EN) --json > $@

EVALS  = $(foreach m,base model neurons-model,$(OUT)/$(m).eval.jsonl)
AUDITS = $(OUT)/base.audit.jsonl $(OUT)/tok.audit.jsonl
$(OUT)/report.txt: $(AUDITS) $(EVALS)
	@python3 $(dir $(lastword $(MAKEFILE_LIST)))report.py $^ > $@

clean:
	rm -rf $(OUT)

.PHONY: all aligned clean
.DELETE_ON_ERROR:
.SECONDARY:
