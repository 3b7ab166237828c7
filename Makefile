# The two commands of a newcomer are `make quickstart` and `make test`; README.md says more.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# Two at a time: the suite starts servers and trains, so more would need more memory than cores.
PARALLEL := --numprocesses 2 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help quickstart test test-slow check install prerequisites clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*##/  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

quickstart: $(VENV)/.quickstart-installed  ## predict a real film on a real Triton server, find its neighbours, write a page
	@$(BIN)/python deploy/quickstart.py

test: $(VENV)/.dev-installed  ## every test that is not slow
	@$(BIN)/python -m pytest -m "not slow" $(PARALLEL)

test-slow: $(VENV)/.dev-installed  ## the others
	@$(BIN)/python -m pytest -m slow

check: $(VENV)/.dev-installed  ## format, lint, types, imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

install: $(VENV)/.dev-installed  ## everything for development, into .venv

clean:  ## remove what the other commands made
	rm -rf $(VENV) quickstart build dist

# All that is missing, and the one line that installs it.
prerequisites:
	@PYTHON="$(PYTHON)" sh deploy/prerequisites.sh

$(BIN)/python: | prerequisites
	$(PYTHON) -m venv $(VENV)

$(VENV)/.quickstart-installed: pyproject.toml constraints.txt | prerequisites $(BIN)/python
	@echo "Installing what serving needs into $(VENV) (about 1 GB on disk, once) ..."
	@$(PIP_INSTALL) --editable '.[quickstart]'
	@touch $@

$(VENV)/.dev-installed: pyproject.toml constraints.txt | prerequisites $(BIN)/python
	@echo "Installing everything for development into $(VENV) (once) ..."
	@$(PIP_INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/.quickstart-installed
