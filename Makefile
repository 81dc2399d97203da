# Tasks for a checkout of the repository; `make help` lists them. Everything is installed into .venv.
# PYTHON lists the interpreters to try, in this order. ARGS is passed to the command of a target:
#     make demo ARGS="--set rounds=1"        make test ARGS="tests/core -x"        make PYTHON=/opt/py312/bin/python demo

PYTHON ?= python3.13 python3.12 python3.11 python3 python
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-slow attack lint docs docs-serve bench bench-answers bench-exposure bench-fedmkt bench-generation bench-gpu bench-hostile bench-large bench-learnability bench-memory bench-overhead bench-poisoned bench-rounds bench-scale bench-signals bench-startup bench-step fuzz zoo clean

help: ## list the targets
	@awk -F ': .*## |: ## ' '/^[a-z-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' Makefile

venv: $(VENV)/.made ## create .venv without installing anything

demo: $(VENV)/.lada ## run LaDa end to end on the built-in corpus, then show a table and write a report
	@$(BIN)/lada demo $(ARGS)

test: $(VENV)/.dev ## run all tests except the slow ones
	@$(BIN)/python -m pytest -m "not slow and not attack" -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test-slow: $(VENV)/.dev ## run the tests that train for minutes
	@$(BIN)/python -m pytest -m slow $(ARGS)

attack: $(VENV)/.dev ## run every attack in tests/attacks; 15 minutes
	@$(BIN)/python tests/attacks/run_attacks.py $(ARGS)

lint: $(VENV)/.dev ## check style, format, import layers, types and the English of pages and docstrings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python docs/prose.py

docs: $(VENV)/.docs ## build the documentation into build/site; fail on a dead link or anchor
	@$(BIN)/python docs/make_site.py

docs-serve: docs ## build the documentation and show it at http://localhost:8000
	@$(BIN)/python -m http.server 8000 --bind localhost --directory build/site

bench: $(VENV)/.lada ## run the suite that compares filters across worlds; write results/reach and the README's tables; hours
	@$(BIN)/lada bench --suite reach $(ARGS)
	@$(BIN)/python benchmarks/readme.py

bench-answers: $(VENV)/.dev ## measure how often a verdict on an answer is right
	@$(BIN)/python benchmarks/answers.py $(ARGS)

bench-fedmkt: $(VENV)/.lada ## measure what FedMKT relies on: alignment and codecs
	@$(BIN)/python benchmarks/alignment.py $(ARGS)

bench-generation: $(VENV)/.lada ## measure how fast answers are generated
	@$(BIN)/python benchmarks/generation.py $(ARGS)

bench-gpu: $(VENV)/.lada ## compare training and generation on a GPU with TRL and vLLM, if they are installed
	@$(BIN)/python benchmarks/gpu.py $(ARGS)

bench-scale: $(VENV)/.lada ## measure a growing federation and a large reply
	@$(BIN)/python benchmarks/scale.py
	@$(BIN)/python benchmarks/scale_scripted.py $(ARGS)
	@$(BIN)/python benchmarks/large_reply.py

bench-rounds: $(VENV)/.lada ## measure what a run spends outside its models, round by round
	@$(BIN)/python benchmarks/rounds.py $(ARGS)

bench-poisoned: $(VENV)/.lada ## measure how one poisoned client of three harms the others; hours
	@$(BIN)/python benchmarks/poisoned.py $(ARGS)

bench-hostile: $(VENV)/.lada ## measure how a hostile client of three harms a run under each host; an hour
	@$(BIN)/python benchmarks/hostile.py $(ARGS)

bench-exposure: $(VENV)/.lada ## measure how exposed planted secrets are with and without Swing; minutes
	@$(BIN)/python benchmarks/exposure.py $(ARGS)

bench-large: $(VENV)/.lada ## measure a round on 10,000 and on 100,000 public samples; half an hour
	@$(BIN)/python benchmarks/large_round.py $(ARGS)

bench-memory: $(VENV)/.lada ## compare the planned memory with what studying and answering really use
	@$(BIN)/python benchmarks/memory.py $(ARGS)

bench-overhead: $(VENV)/.lada ## measure what the demo computes outside its models; five minutes
	@$(BIN)/python benchmarks/overhead.py $(ARGS)

bench-learnability: $(VENV)/.lada ## measure how the writing style of correct paths changes what students gain; half an hour
	@$(BIN)/python benchmarks/learnability.py $(ARGS)

bench-signals: $(VENV)/.lada ## measure which scores predict that a path is worth learning; half an hour
	@$(BIN)/python benchmarks/signals.py $(ARGS)

shapes: $(VENV)/.lada ## record the model shapes that the plans of the examples need
	@$(BIN)/python benchmarks/shapes.py

bench-startup: $(VENV)/.lada ## measure how long commands and workers take to start
	@$(BIN)/python benchmarks/startup.py $(ARGS)

bench-step: $(VENV)/.lada ## compare a training step with a plain loop, transformers' Trainer and TRL
	@$(INSTALL) -e '.[bench]'
	@$(BIN)/python benchmarks/step.py $(ARGS)

fuzz: $(VENV)/.dev ## send a million corrupted messages through every check, and absurd values to the report; two hours
	@$(BIN)/python tests/fuzz/run.py --out results/fuzz $(ARGS)
	@$(BIN)/python tests/fuzz/run_values.py --out results/fuzz-values

zoo: $(VENV)/.lada ## train the shipped tiny models from scratch, into zoo/
	@$(BIN)/lada zoo build $(ARGS)

clean: ## remove .venv, builds and caches; keep runs/, results/ and zoo/
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache .benchmarks build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.made:
	@for python in $(PYTHON); do \
	    if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	        echo "making $(VENV) with $$($$python --version)"; \
	        $$python -m venv $(VENV) && touch $@ && exit; \
	        exit 1; \
	    fi; \
	done; \
	echo "LaDa needs Python 3.11 or newer with the venv module. None of these qualifies: $(PYTHON)." >&2; \
	echo "Install one (Debian and Ubuntu: python3 and python3-venv), or name it: make PYTHON=/path/to/python demo" >&2; \
	exit 1

$(VENV)/.lada: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing LaDa and its dependencies into $(VENV); the first time takes minutes"
	@$(INSTALL) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing LaDa, its dependencies and the test tools into $(VENV); the first time takes minutes"
	@$(INSTALL) -e '.[dev,math]'
	@touch $(VENV)/.lada $@

$(VENV)/.docs: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing LaDa, its dependencies and the documentation tools into $(VENV)"
	@$(INSTALL) -e '.[docs]'
	@touch $(VENV)/.lada $@
