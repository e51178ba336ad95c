# Needs Python >= 3.11 and make. Everything is installed into .venv, once for each
# extra; a stamp file per extra notes that, and a change of pyproject.toml renews it.
# That warnings are errors in tests stands in pyproject.toml.

# Tests start Python hundreds of times: without byte code it compiles everything anew.
export PYTHONDONTWRITEBYTECODE :=

# Two processes, each with neighbouring tests: what one compiles, the next one needs.
TWO := -n 2 --dist worksteal

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test check fuzz slow test-triton test-oldest-triton test-view bench
.PHONY: mutation clean

help:
	@echo "make demo   train an MLP on handwritten digits; writes demo-report/"
	@echo "make test   run the tests, warnings as errors"
	@echo "make check  run the linter, the format check and the type checker"
	@echo "make fuzz   150,000 random programs, two or three hours; failures say their seed"
	@echo "make slow   every float32 through each function, 3 minutes for each of 23,"
	@echo "            and the cases of long tables that make test leaves out"
	@echo "make test-triton  compile every kernel of the tests for three GPUs"
	@echo "make test-oldest-triton  the tests of GPU kernels on Triton 3.6"
	@echo "make test-view  open pages of tracejit view in Chromium"
	@echo "make mutation  plant each of 273 bugs and run the tests that reach it, an hour"
	@echo "make bench  measure beside NumPy and other compilers"
	@echo "make clean  remove the environment and what was made"
	@echo
	@echo "PYTHON=python3.13 chooses the interpreter; ARGS='...' is passed on."

demo: $(VENV)/.installed-demo
	$(BIN)/tracejit demo $(ARGS)

# The tests of the demo run it.
test: $(VENV)/.installed-test $(VENV)/.installed-demo
	$(BIN)/python -m pytest $(TWO) $(ARGS)

check: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fuzz: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2 -m fuzz $(ARGS)

# One function alone: make slow ARGS="-k all_numbers[tanh]"
slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2 -m slow $(ARGS)

test-triton: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2 -m triton $(ARGS)

# It is kept beside the newest one that `make test` takes.
OLDEST_TRITON := $(VENV)/triton-3.6.0
test-oldest-triton: $(VENV)/.installed-test $(OLDEST_TRITON)
	PYTHONPATH=$(OLDEST_TRITON) $(BIN)/python -m pytest -n 2 tests/codegen/triton $(ARGS)

$(OLDEST_TRITON): | $(BIN)/python
	$(BIN)/python -m pip install --quiet --no-deps --target $@ triton==3.6.0

# Playwright drives the system's browser; it downloads none.
CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser \
  || command -v google-chrome)
test-view: $(VENV)/.installed-test $(VENV)/.installed-view-test
	@test -n "$(CHROMIUM)" || { echo "error: no Chromium found; on Debian and" \
	  "Ubuntu run apt-get install chromium, or set CHROMIUM" >&2; exit 1; }
	CHROMIUM="$(CHROMIUM)" $(BIN)/python -m pytest -n 0 -m view tests/debug/page $(ARGS)

# First which tests run which lines, where Python is 3.12 or later: most bugs are found
# by the first of these.
REACHED := tests/mutation/reached.json
mutation: $(VENV)/.installed-test $(VENV)/.installed-demo
	@test -e $(REACHED) || ! $(BIN)/python -c 'from sys import monitoring' 2>/dev/null \
	  || $(BIN)/python -m pytest -n 2 -q -p tests.mutation.reach
	$(BIN)/python -m tests.mutation $(ARGS)

bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks $(or $(ARGS),all --out bench-report)

clean:
	rm -rf $(VENV) build dist demo-report bench-report .pytest_cache .ruff_cache .mypy_cache
	rm -rf .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable ".[$*]"
	@touch $@

# A half-made environment is removed, or the next call would take it for a whole one.
$(BIN)/python:
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "error: no '$(PYTHON)' found; set PYTHON to a Python >= 3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: tracejit needs Python >= 3.11, but '$(PYTHON)' is" \
	    "$$("$(PYTHON)" --version 2>&1); set PYTHON, e.g. make test PYTHON=python3.12" \
	    >&2; exit 1; }
	@"$(PYTHON)" -m venv --clear $(VENV) || { rm -rf $(VENV); \
	  echo "error: '$(PYTHON) -m venv' failed; on Debian and Ubuntu install" \
	    "the package python3-venv" >&2; exit 1; }
