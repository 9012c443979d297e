# `make` alone lists what there is. Everything runs in a virtual environment of its own, .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
CODE   := src tests train.py test.py $(wildcard benchmarks tools)

# Tests of one file share their fixtures, so a process takes whole files; one thread each, so that they share the cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --maxprocesses 8 --dist loadfile

# Left out: runs in processes of their own, and whatever composes hundreds of configurations or generates whole worlds.
FAST   := tests/end_to_end/test_few_shot.py tests/parity tests/backbones tests/callbacks tests/functional tests/methods \
	tests/metrics tests/model_files tests/prompts tests/reports tests/tasks tests/data tests/cli tests/test_*.py \
	--ignore tests/test_shell.py --ignore tests/callbacks/test_preemption.py --ignore-glob '*_harness.py'

.DEFAULT_GOAL := help
.PHONY: help setup lint type test test-fast test-slow coverage demo smoke dataset bench lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv with the exact versions of constraints.txt; nothing to do the second time

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "no $(PYTHON) here: install Python 3.11, 3.12 or 3.13, or say which: make setup PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo "$(PYTHON) is $$($(PYTHON) --version), zsad needs Python 3.11, 3.12 or 3.13: make setup PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo "installing torch and the rest into $(VENV): some gigabytes, a few minutes"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

lint: setup ## Check style and format
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)

type: setup ## Check types
	$(BIN)/basedpyright

test: lint type ## Set up, then everything CI runs: style, types, tests, doctests
	$(PYTEST) -m "not slow"

test-fast: setup ## Units, parity and one run from end to end: three minutes
	$(PYTEST) -m "not slow" $(FAST)

test-slow: setup ## The tests that take minutes each
	$(BIN)/pytest -m slow

coverage: setup ## Measure which lines the tests run: htmlcov/index.html
	$(PYTEST) -m "not slow" --cov=zsad --cov-report=term:skip-covered --cov-report=html

demo: setup ## Learn on generated categories, outline defects on others never seen: minutes, no download
	$(BIN)/zsad prepare synthetic datasets/synthetic
	$(BIN)/python train.py experiment=demo overwrite=true
	$(BIN)/python test.py experiment=demo dataset=synthetic_b ckpt_path=runs/train/demo overwrite=true
	@if grep -qs '"mtd"' data_json/roots.json; then set -x; $(BIN)/python test.py experiment=demo dataset=mtd ckpt_path=runs/train/demo name=demo_mtd overwrite=true; fi
	@printf '\nLook at:\n'; ls -1 runs/test/demo/report.html runs/test/demo/results.md runs/test/demo/run_card.md runs/test/demo/heatmaps/*.png

smoke: setup ## Does it run at all? Two batches of training and of testing
	$(BIN)/zsad prepare synthetic datasets/synthetic
	$(BIN)/python train.py experiment=demo trainer=smoke name=smoke overwrite=true
	$(BIN)/python test.py experiment=demo trainer=smoke dataset=synthetic_b name=smoke ckpt_path=runs/train/smoke overwrite=true

dataset: setup ## Index a dataset: make dataset NAME=screws ROOT=/path [LAYOUT=mvtec]
	@[ -n "$(NAME)" ] && [ -n "$(ROOT)" ] || { echo "which dataset? make dataset NAME=screws ROOT=/path LAYOUT=mvtec"; exit 1; }
	$(BIN)/zsad prepare "$(NAME)" "$(ROOT)" $(if $(LAYOUT),--layout $(LAYOUT))

bench: setup ## Measure speed and memory: every program of benchmarks/
	@for program in benchmarks/*.py; do echo "== $$program"; $(BIN)/python "$$program" || exit 1; done

lock: setup ## Refresh constraints.txt from what .venv holds
	@{ echo '# The exact set the tests run on. `make setup` installs with it; refresh with `make lock`.'; $(BIN)/python -m pip freeze --exclude-editable; } > constraints.txt
	@touch $(READY)

clean: ## Delete .venv and the caches of the tools; data, runs and indexes stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .coverage htmlcov build dist
	find $(wildcard src tests tools) -name __pycache__ -type d -prune -exec rm -rf {} +
