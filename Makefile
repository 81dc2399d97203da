# What one does with a checkout; `make help` lists the targets. All that is installed goes into .venv.
#
# PYTHON names the interpreters to try, in this order; ARGS goes to the command behind a target:
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

venv: $(VENV)/.made ## make .venv and install nothing yet

demo: $(VENV)/.lada ## run LaDa end to end on the built-in corpus; ends with a table and a report
	@$(BIN)/lada demo $(ARGS)

test: $(VENV)/.dev ## run all tests but the slow ones
	@$(BIN)/python -m pytest -m "not slow and not attack" -n 2 --dist loadfile $(ARGS)

test-slow: $(VENV)/.dev ## run the tests that train for minutes
	@$(BIN)/python -m pytest -m slow $(ARGS)

attack: $(VENV)/.dev ## attack the system in every way that tests/attacks knows; 15 minutes
	@$(BIN)/python tests/attacks/run_attacks.py $(ARGS)

lint: $(VENV)/.dev ## check style, format, floors, types and the English of the pages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python docs/prose.py

docs: $(VENV)/.docs ## build the documentation into build/site; a dead link or anchor fails
	@$(BIN)/python docs/make_site.py

docs-serve: docs ## build the documentation and show it at http://localhost:8000
	@$(BIN)/python -m http.server 8000 --bind localhost --directory build/site

bench: $(VENV)/.lada ## run the suite of filters over worlds and write results/skips and the README's tables; hours
	@$(BIN)/lada bench --suite skips $(ARGS)
	@$(BIN)/python benchmarks/readme.py

bench-answers: $(VENV)/.dev ## measure how often a verdict on an answer is right
	@$(BIN)/python benchmarks/answers.py $(ARGS)

bench-fedmkt: $(VENV)/.lada ## measure what FedMKT needs: alignment and codecs
	@$(BIN)/python benchmarks/alignment.py $(ARGS)

bench-generation: $(VENV)/.lada ## measure how fast answers are written
	@$(BIN)/python benchmarks/generation.py $(ARGS)

bench-gpu: $(VENV)/.lada ## measure studying and writing on a GPU beside TRL and vLLM, where they are installed
	@$(BIN)/python benchmarks/gpu.py $(ARGS)

bench-scale: $(VENV)/.lada ## measure a growing federation and a large reply
	@$(BIN)/python benchmarks/scale.py
	@$(BIN)/python benchmarks/scale_scripted.py $(ARGS)
	@$(BIN)/python benchmarks/large_reply.py

bench-rounds: $(VENV)/.lada ## measure what a run does around its models, round by round
	@$(BIN)/python benchmarks/rounds.py $(ARGS)

bench-poisoned: $(VENV)/.lada ## measure what one poisoned client of three does to the others; hours
	@$(BIN)/python benchmarks/poisoned.py $(ARGS)

bench-hostile: $(VENV)/.lada ## measure what a hostile client of three does under each host; an hour
	@$(BIN)/python benchmarks/hostile.py $(ARGS)

bench-exposure: $(VENV)/.lada ## measure how exposed planted secrets are with and without Swing; minutes
	@$(BIN)/python benchmarks/exposure.py $(ARGS)

bench-large: $(VENV)/.lada ## measure a round on 10,000 and on 100,000 public samples; half an hour
	@$(BIN)/python benchmarks/large_round.py $(ARGS)

bench-memory: $(VENV)/.lada ## compare a plan's memory with what a study and answers take
	@$(BIN)/python benchmarks/memory.py $(ARGS)

bench-overhead: $(VENV)/.lada ## measure what the demo computes besides its models; five minutes
	@$(BIN)/python benchmarks/overhead.py $(ARGS)

bench-learnability: $(VENV)/.lada ## measure what students gain from right paths by how they are written; half an hour
	@$(BIN)/python benchmarks/learnability.py $(ARGS)

bench-signals: $(VENV)/.lada ## measure which scores tell a path worth learning; half an hour
	@$(BIN)/python benchmarks/signals.py $(ARGS)

shapes: $(VENV)/.lada ## find out what the plans of the examples ask of their models, and write it down
	@$(BIN)/python benchmarks/shapes.py

bench-startup: $(VENV)/.lada ## measure what commands and workers cost to start
	@$(BIN)/python benchmarks/startup.py $(ARGS)

bench-step: $(VENV)/.lada ## measure a step of a study beside a plain loop, transformers' Trainer and TRL
	@$(INSTALL) -e '.[bench]'
	@$(BIN)/python benchmarks/step.py $(ARGS)

fuzz: $(VENV)/.dev ## send a million spoilt messages through every check, and absurd ones to the report; two hours
	@$(BIN)/python tests/fuzz/run.py --out results/fuzz $(ARGS)
	@$(BIN)/python tests/fuzz/run_values.py --out results/fuzz-values

zoo: $(VENV)/.lada ## train the shipped tiny models anew, into zoo/
	@$(BIN)/lada zoo build $(ARGS)

clean: ## remove what is installed and cached; keep runs/, results/ and zoo/
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
	echo "LaDa needs Python 3.11 or newer with its venv module, and none of these is one: $(PYTHON)." >&2; \
	echo "Install one (Debian and Ubuntu: python3 and python3-venv), or name it: make PYTHON=/path/to/python demo" >&2; \
	exit 1

$(VENV)/.lada: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing LaDa and what it needs into $(VENV); the first time takes minutes"
	@$(INSTALL) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing LaDa, what it needs and the tools for its tests into $(VENV); the first time takes minutes"
	@$(INSTALL) -e '.[dev,math]'
	@touch $(VENV)/.lada $@

$(VENV)/.docs: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing LaDa, what it needs and the tools for its documentation into $(VENV)"
	@$(INSTALL) -e '.[docs]'
	@touch $(VENV)/.lada $@
