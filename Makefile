# Everything a person or a machine does with this tree. `make` alone lists it.
# Needs Python 3.11 or newer, git and make; the rest is installed into .venv once.

PORT ?= 8000
ARGS ?=
# Tests run side by side in so many processes; most of them wait most of the time.
JOBS ?= 3
VERSIONS ?= 3.13 3.12 3.11
SOURCES = taskflow executors tests benchmarks examples fastapi_taskflow.py

# The newest Python that is new enough and can make virtual environments.
FIND_PYTHON = for candidate in $(PYTHON) python3.13 python3.12 python3.11 python3.14 python3 python; do \
    if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
        >/dev/null 2>&1; then echo "$$candidate"; exit 0; fi; done; \
    echo "No Python 3.11 or newer with venv and ensurepip was found." >&2; \
    echo "Install one (on Debian: apt install python3 python3-venv), or: make PYTHON=/path/to/it" >&2; \
    exit 1

.DEFAULT_GOAL := help
.PHONY: help demo test check format bench bench-tiny browser chaos fuzz poison schedules test-all build clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.demo ## a small real application on http://127.0.0.1:8000 (PORT=...)
	PORT=$(PORT) exec .venv/bin/python -m examples.demo

# Tests start hundreds of processes: without bytecode each would compile the whole of it again.
test: export PYTHONDONTWRITEBYTECODE =
test: .venv/.dev ## all tests on one Python (ARGS="-k name" for some)
	.venv/bin/python -m pytest -n $(JOBS) -m "not alone and not slow" $(ARGS) || [ $$? = 5 ]
	.venv/bin/python -m pytest -m "alone and not slow" $(ARGS) || [ $$? = 5 ]

check: .venv/.dev ## formatting, lint and types
	.venv/bin/ruff format --check $(SOURCES)
	.venv/bin/ruff check $(SOURCES)
	.venv/bin/mypy

format: .venv/.dev ## put the sources into shape
	.venv/bin/ruff check --fix-only $(SOURCES)
	.venv/bin/ruff format $(SOURCES)

bench: .venv/.dev ## profile throughput and latency (ARGS="name --json FILE")
	.venv/bin/python -m benchmarks $(ARGS)

bench-tiny: .venv/.dev ## each benchmark once in its smallest form, the costly ones included
	.venv/bin/python -m pytest --timeout 600 tests/blackbox/test_benchmarks.py $(ARGS)

chaos: .venv/.dev ## kill the application 30 times under load and count what is lost
	.venv/bin/python -m tests.chaos.driver --kills 30 $(ARGS)

browser: .venv/.dev ## every page of the dashboard in Chromium at every width and in every theme
	.venv/bin/python -m pytest tests/browser $(ARGS)

poison: .venv/.dev ## the worst tasks there are, 20 times each, and a long overload
	ROUNDS=20 OVERLOAD_SECONDS=20 .venv/bin/python -m pytest --timeout 3600 -s \
	    tests/contract/test_lane_poison.py tests/blackbox/test_poison.py \
	    tests/blackbox/test_overload.py $(ARGS)

fuzz: .venv/.dev ## ask the API for everything that its schema allows and forbids, for a minute
	.venv/bin/python -m pip install --quiet 'schemathesis>=4'
	.venv/bin/python -m tests.chaos.fuzz $(ARGS)

schedules: .venv/.dev ## 60 virtual days with 8 instances that crash, every zone, a long lock
	for seed in 1 2 3 4 5; do DAYS=60 INSTANCES=8 SEED=$$seed .venv/bin/python -m pytest \
	    --timeout 3600 tests/model/test_schedules_over_days.py $(ARGS) || exit 1; done
	ZONES=all .venv/bin/python -m pytest --timeout 3600 -m slow \
	    tests/model/test_cron_against_an_oracle.py $(ARGS)
	LOCKED=10 .venv/bin/python -m pytest tests/blackbox/test_schedules.py $(ARGS)

test-all: ## all tests on every Python of VERSIONS that is found
	@for version in $(VERSIONS); do \
	    python=; \
	    for candidate in python$$version "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$$version*/bin/python; do \
	        if "$$candidate" -c 'import venv, ensurepip' >/dev/null 2>&1; then \
	            python=$$candidate; break; fi; done; \
	    if [ -z "$$python" ]; then echo "== Python $$version: not found, skipped"; continue; fi; \
	    echo "== Python $$version: $$python"; \
	    $(MAKE) --no-print-directory VENV=.venv-$$version PYTHON="$$python" .venv-$$version/.dev \
	        && .venv-$$version/bin/python -m pytest -n $(JOBS) $(ARGS) || exit 1; \
	done

build: .venv/.dev ## the distribution, into dist/
	.venv/bin/python -m pip install --quiet build
	.venv/bin/python -m build

clean: ## remove everything that was made
	rm -rf .venv .venv-* build dist demo-data .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

VENV ?= .venv

$(VENV)/bin/python:
	@python=$$($(FIND_PYTHON)) && echo "Making $(VENV) with $$python" && "$$python" -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --upgrade pip

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	@echo "Installing what the demo needs (once)"
	@$(VENV)/bin/python -m pip install --quiet --editable '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	@echo "Installing what the tests need (once)"
	@$(VENV)/bin/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.demo
