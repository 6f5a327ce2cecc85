# Every target sets up what it needs: a virtual environment in .venv, then the command. Only Python 3.11+ is assumed.
#   make demo     a search over the documentation of your own Python, in about two minutes
#   make test     the test suite          make test ARGS="-k flat -x"
#   make check    everything that CI runs

PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=
BIN    := $(VENV)/bin
DEMO   := $(VENV)/.installed-demo
DEV    := $(VENV)/.installed-dev
INPUTS := pyproject.toml constraints.txt src/isometry/_version.py

.DEFAULT_GOAL := help
.PHONY: help demo test kills lint types imports docs bench format check clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 10

demo: $(DEMO) ## Search the documentation of the installed Python
	$(BIN)/isometry demo --to .demo/python-docs.iso --overwrite $(ARGS)

test: $(DEV) ## Run the test suite
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile $(ARGS)

kills: $(DEV) ## Kill a writer 1,000 times and check that nothing is lost (half an hour)
	$(BIN)/python -m tests.crash.kills $(or $(ARGS),1000)

lint: $(DEV) ## Style and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(DEV) ## Static types
	$(BIN)/mypy

imports: $(DEV) ## The rooms import one way
	$(BIN)/lint-imports

docs: $(DEV) ## Build the docs site into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(DEV) ## Measure every figure of the README again (slow) and write benchmarks/results/
	for question in benchmarks/[a-z]*.py; do $(BIN)/python "$$question" $(ARGS) || exit 1; done

format: $(DEV) ## Rewrite the sources in the house style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

check: lint types imports docs test ## Everything that CI runs

clean: ## Remove what the targets made
	rm -rf $(VENV) .demo site

# torch goes first, by its pinned version: resolved together with the rest, pip may pick a build of several gigabytes.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"isometry needs Python 3.11 or newer; $(PYTHON) is {v[0]}.{v[1]}. Name another one: make <target> PYTHON=python3.12")'
	@echo "Setting up $(VENV); this takes a minute or two, once."
	@$(PYTHON) -m venv $(VENV)

$(DEMO): $(INPUTS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[demo]'
	@touch $@

$(DEV): $(INPUTS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(DEMO) $@
