# Every target sets up what it needs. `make` alone lists them.
#
# PYTHON=python3.12 make setup   another interpreter (3.11 to 3.13)

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALLED := $(VENV)/.installed
SYSTEM_PACKAGES := .ci/system-packages
# Labelled images: make evaluate PACK=folder ARGS="--max-images 3"
PACK ?= ../shared/packs/dev
# Options of the benchmark: BENCH='--only encoder --models vit_l'; python -m benchmarks --help
BENCH ?=
# What a click needs is quick with few threads; a test run must leave cores to its neighbours.
TEST_THREADS ?= 2

.PHONY: help setup check format test demo bench docs parity evaluate clean

help:
	@echo "make setup     .venv with everything, from constraints.txt"
	@echo "make demo      segment a shipped image with the bundled model, offline: out/demo"
	@echo "make test      all quick tests"
	@echo "make check     ruff, mypy, import-linter, no torchvision"
	@echo "make format    let ruff format and fix what it can"
	@echo "make bench     side by side with other SAMs, about an hour: BENCH='--only encoder,click'"
	@echo "make docs      the manual: out/docs/index.html"
	@echo "make parity    the networks beside the official packages, full sizes (long)"
	@echo "make evaluate  accuracy on labelled images: PACK=folder with a manifest.json"
	@echo "make clean     remove .venv and caches"

setup: $(INSTALLED)

# torch first and alone: as a dependency among others it may come with CUDA, several GB.
# segment-anything and mobilesam-mirror are the peers of the parity tests; their dependencies
# (torchvision, timm) must not come in, so they are installed without any.
$(INSTALLED): pyproject.toml constraints.txt
	$(SYSTEM_PACKAGES) $(PYTHON)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade --constraint constraints.txt pip
	$(PIP) install --quiet --constraint constraints.txt torch
	$(PIP) install --quiet --constraint constraints.txt \
	    --build-constraint constraints.txt --editable '.[all]' --group dev
	$(PIP) install --quiet --constraint constraints.txt \
	    --build-constraint constraints.txt --no-deps --group parity
	touch $@

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(BIN)/python -c "import importlib.util as u; bad = [n for n in ('torchvision', 'timm') \
	    if u.find_spec(n)]; raise SystemExit(f'{bad} must not be installed' if bad else 0)"

format: setup
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

test: setup
	$(SYSTEM_PACKAGES) --strict $(PYTHON)
	OMP_NUM_THREADS=$(TEST_THREADS) $(BIN)/python -m pytest

demo: setup
	$(BIN)/napari-sam demo --out out/demo --force

bench: setup
	$(BIN)/python -m benchmarks $(BENCH)

docs: setup
	$(PIP) install --quiet --constraint constraints.txt --group docs
	$(BIN)/sphinx-build --fail-on-warning --keep-going --fresh-env --quiet docs/manual out/docs
	@echo "out/docs/index.html"

parity: setup
	$(BIN)/python -m tests.parity.report

evaluate: setup
	$(BIN)/napari-sam evaluate $(PACK) $(ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache out
