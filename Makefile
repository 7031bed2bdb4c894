# Everything happens in .venv; nothing outside this folder is changed.

PYTHON ?= python3
# For a build of torch other than the one your package index gives, such as the small one without CUDA:
#   make install TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"
TORCH ?= torch==2.13.0
JOBS ?= 2
# Passed on to pytest: make test ARGS="tests/test_media.py -k mp4"
ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test lint format types floors

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

install: .venv/.installed ## make the environment .venv and install vitascope into it
	@:

demo: install ## make videos from text and from an image with the bundled weights
	@$(BIN)/vitascope demo

test: .venv/.installed-dev ## run the tests
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile $(ARGS)

lint: .venv/.installed-dev ## look for mistakes and unusual formatting
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

format: .venv/.installed-dev ## mend what can be mended
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

types: .venv/.installed-dev ## check the annotations
	@$(BIN)/mypy

floors: .venv/.installed-dev ## check who imports whom
	@$(BIN)/lint-imports --no-logo

# The stamps make a second run quiet and quick. torch comes first: nothing after it may choose another build.
.venv/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing vitascope into .venv: some minutes the first time"
	@$(PIP) $(TORCH)
	@$(PIP) --constraint constraints.txt --editable .
	@touch $@
	@echo "installed; '. .venv/bin/activate' puts vitascope on the path"

.venv/.installed-dev: .venv/.installed
	@echo "installing what the tests need into .venv"
	@$(PIP) --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(BIN)/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed and '$(PYTHON)' is not; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@"$(PYTHON)" -m venv .venv || { rm -rf .venv; exit 1; }
