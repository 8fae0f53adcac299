# make demo   from nothing to a trained checkpoint
# make test   every check and every test, as the continuous integration runs them
# Needs Python 3.11 to 3.13 and make. PYTHON=... chooses the interpreter.

VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Modules are compiled when they are first imported: most of the 18,000 files never are, and
# compiling them all takes a third of the installation. What the service's processes import is
# compiled at the end of it. Where compiling is forbidden by the environment, each process would
# compile everything anew: 5 s at every start instead of 2 s.
unexport PYTHONDONTWRITEBYTECODE

# torch comes first, by itself: a CPU build that is there, or that TORCH_PIP_ARGS asks for (say
# --index-url with PyTorch's CPU builds), is then kept by the rest of the installation.
TORCH ?= torch==2.13.*
TORCH_PIP_ARGS ?=

# Four test processes: many tests wait for a server or a lease, and others compute meanwhile. Each
# takes a part of the folders, so that a started stack, a database or a trained model is mostly made
# once, and takes over what the others have left.
PYTEST_ARGS ?= -n 4 --dist worksteal

ifndef PYTHON
PYTHON := $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& echo $$python && break; done)
endif

PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help install demo test check format clean
.DEFAULT_GOAL := help

help:
	@echo "make demo     install, start the whole stack, train on a synthetic market, fetch the checkpoint"
	@echo "make test     install, check, run every test"
	@echo "make check    style, types and import rules only"
	@echo "make format   put the code into the project's style"
	@echo "make install  make $(VENV) with everything a developer needs"
	@echo "make clean    remove $(VENV) and what tools left behind (datasets and jobs stay)"

install: $(STAMP)

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "gogooku3 needs Python 3.11, 3.12 or 3.13: make PYTHON=/path/to/python"; exit 1; }
	@test -x $(BIN)/python || { echo "making $(VENV) with $(PYTHON)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing $(TORCH) (the large one)"
	@$(PIP) install --no-compile $(TORCH_PIP_ARGS) "$(TORCH)"
	@echo "installing gogooku3 and its tools"
	@$(PIP) install --no-compile --editable ".[dev]"
	@$(BIN)/python -c "import app.cli.main, app.main, worker.main, gogooku3.training.run"
	@touch $@

demo: install
	@$(BIN)/python examples/demo.py

test: check
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
