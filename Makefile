# fhir-bridge: every target sets up what it needs. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=

.PHONY: help setup demo test check chaos bench-pull picture lock clean

include tests/peers/peers.mk

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## make .venv from the hash-pinned lock (quick when nothing changed)

$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is missing. Mend it with: apt-get install -y python3 python3-venv"; exit 7; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, found $$($(PYTHON) -V). Mend it with: apt-get install -y python3.11 python3.11-venv, then make PYTHON=python3.11"; exit 7; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv module is missing. Mend it with: apt-get install -y python3-venv"; exit 7; }
	@echo "Setting up .venv (once; about two minutes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup  ## run the main job against a hospital in a box, in the browser (ARGS="--headless --json")
	@$(BIN)/fhir-bridge demo $(ARGS)

check: setup  ## formatting, lint, types, floors
	@mkdir -p build
	@$(BIN)/ruff format --check --quiet src tests fixtures bench || { echo "Formatting differs. Mend it with: .venv/bin/ruff format src tests fixtures bench"; exit 1; }
	@$(BIN)/ruff check --quiet src tests fixtures bench
	@$(BIN)/mypy src
	@$(BIN)/lint-imports --no-cache >build/lint-imports.txt 2>&1 || { cat build/lint-imports.txt; exit 1; }
	@echo "Checks passed: format, lint, types, floors."

test: setup  ## every check and every test; uses the peers that are there and names those that are missing
	@$(MAKE) --no-print-directory check
	@$(BIN)/python -m pytest -q $(ARGS)

chaos: setup  ## every bad day of a hospital, for our puller and five others (FAULT=name for one)
	@$(BIN)/python -m bench.chaos $(if $(FAULT),--fault $(FAULT))

bench-pull: setup  ## time a pull beside other pullers and a bare downloader; writes docs/bench.md (ROUNDS=5)
	@$(BIN)/python -m bench.pull

picture: setup  ## make docs/console.png anew: Chromium walks the demo (needs make peers)
	@FHIR_BRIDGE_PICTURE=1 $(BIN)/python -m pytest -q tests/peers/test_a_nurse_walks_the_demo.py

lock:  ## rewrite requirements.lock from pyproject.toml (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --group dev pyproject.toml -o requirements.lock

clean:  ## remove .venv and everything built
	rm -rf $(VENV) build tests/peers/node/node_modules .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
