# The two commands of a newcomer are `make quickstart` and `make test`; README.md says more.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# Three at a time on two cores: a test that starts a server or a training waits as long as it
# computes. Each begins with a third in order, so that what a folder shares is made once as a rule;
# who is done first takes from the others' rest, so that no long file is left to one at the end.
PARALLEL := --numprocesses 3 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help quickstart test test-slow test-wheel check bench bench-full install prerequisites clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*##/  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

quickstart: $(VENV)/.quickstart-installed  ## predict a real film on a real Triton server, find its neighbours, write a page
	@$(BIN)/python deploy/quickstart.py

test: $(VENV)/.dev-installed  ## every test that is not slow
	@$(BIN)/python -m pytest -m "not slow" $(PARALLEL)

test-slow: $(VENV)/.dev-installed  ## the others
	@$(BIN)/python -m pytest -m slow

test-wheel: $(VENV)/.dev-installed  ## the built wheel in an empty environment, with what it requires
	@$(BIN)/python -m pytest -m slow tests/model_repository/test_wheel.py

check: $(VENV)/.dev-installed  ## format, lint, types, imports, and how the house stands
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python .ci/house.py

# A part that cannot be measured here says why; the others go on.
bench: $(VENV)/.dev-installed  ## how fast this machine serves, beside the alternatives (20 min after the first build)
	$(BIN)/python benchmarks/material.py --precision int8
	-$(BIN)/python benchmarks/ensemble.py
	-$(BIN)/python benchmarks/stages.py
	-$(BIN)/python benchmarks/preprocessing.py --json benchmarks/results/preprocessing.json
	$(BIN)/python benchmarks/performance_page.py

bench-full: $(VENV)/.dev-installed  ## all concurrencies, memory, the client, the archive, the ten-minute soak (hours)
	$(BIN)/python benchmarks/material.py --precision int8
	-$(BIN)/python benchmarks/ensemble.py --full
	-$(BIN)/python benchmarks/stages.py --full
	-$(BIN)/python benchmarks/soak.py --scenario paper-512 --scenario paper
	-$(BIN)/python benchmarks/footprint.py --json benchmarks/results/footprint.json
	-$(BIN)/python benchmarks/client.py
	-$(BIN)/python benchmarks/archive.py
	-$(BIN)/python benchmarks/preprocessing.py --json benchmarks/results/preprocessing.json
	$(BIN)/python benchmarks/performance_page.py

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
