# Perdure: the words a developer types. Each one does its own set-up in .venv; the README says what it needs.
#
#   make demo [LOG=kafka]   200 money transfers survive kill -9 of owner and worker
#   make unit               tests that need no broker (the inner loop)
#   make test [SEED=n]      all tests but the longer faults, with a real Kafka broker that is started here, or the one in PERDURE_TEST_KAFKA=host:port
#   make faults [ROW=word]  faults put to real processes and a real broker, row by row, with a report in .cache/faults.jsonl
#   make soak [MINUTES=n] [LOG=sqlite]  owners, workers and load under a random fault every 15 s; half an hour, on Kafka, if not told otherwise
#   make sim [SEEDS=n]      the simulation in full: lives of the public API, a failure at every port call, pairs of them, 20,000 random schedules
#   make mutants            each misreading of the protocol put into the code: what finds it, and how soon, as a table (half an hour)
#   make check              format, lint, strict types
#   make bench              throughput, latency and rebuild rate, as a table
#   make bench EVENTS=n     a partition of n events (1000000, say) rebuilt, verified and checked on Kafka and SQLite: time and memory
#   make fmt                format the sources
#   make install            only the set-up;   make clean  remove everything that these commands made

SHELL := /bin/sh
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help install forget-rows demo unit test faults soak sim mutants check fmt bench lock clean

# Of the interpreters in PATH that are new enough and can make a virtual environment, the first whose build used a profile (others take
# some 15 % more time), else the first; `make PYTHON=/path/to/python3.12 install` chooses another.
BUILD := platform/perdure_platform/ops/bench/interpreter.py
PYTHON ?= $(shell IFS=:; for name in python3.11 python3.12 python3.13 python3; do for place in $$PATH; do \
	found="$$place/$$name"; test -x "$$found" || continue; \
	"$$found" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
	first="$${first:-$$found}"; "$$found" $(BUILD) >/dev/null 2>&1 && { echo "$$found"; exit; }; done; done; echo "$$first")
VENV := .venv
BIN := $(VENV)/bin
LOG ?= sqlite
SEED ?=
ROW ?=
MINUTES ?= 30
SEEDS ?= 20000
EVENTS ?=
PYTEST := $(BIN)/python -m pytest $(if $(SEED),--randomly-seed=$(SEED))
# Two at a time; who is done takes over what is left.
PARALLEL := --numprocesses=2 --dist=worksteal

help:
	@sed -n 's/^#   //p' Makefile

# Two stamps: the locked dependencies, and the package itself (editable: sources are used where they lie).
$(VENV)/.dependencies: requirements.lock
	@test -n "$(PYTHON)" || { echo "Perdure needs Python 3.11 or newer; install it, or name it: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 2; }
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python $(BUILD) | sed 's/^/the interpreter of $(VENV): /' >&2
	@echo "installing the locked dependencies into $(VENV)" >&2
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

$(VENV)/.installed: $(VENV)/.dependencies pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

install: $(VENV)/.installed

# The report of rows is of one run.
forget-rows:
	@rm -f .cache/faults.jsonl

demo: install
	@PYTHONPATH=$(CURDIR)/sdk/examples $(BIN)/python -m transfer.demo --log $(LOG)

unit: install forget-rows
	$(PYTEST) $(PARALLEL) -m "not kafka"

test: install forget-rows
	$(PYTEST) $(PARALLEL) -m "not row or sharp" --durations=20 --durations-min=5

faults: install forget-rows
	$(PYTEST) $(PARALLEL) tests/faults $(if $(ROW),-k "$(ROW)")

soak: install
	@PYTHONPATH=$(CURDIR)/tests $(BIN)/python -m kit.soak --minutes $(MINUTES) --log $(if $(filter-out file,$(origin LOG)),$(LOG),kafka) \
		$(if $(SEED),--seed $(SEED))

sim: install
	PERDURE_API_EXAMPLES=1000 $(PYTEST) tests/sim/test_public_api.py --override-ini=timeout=3600
	@PYTHONPATH=$(CURDIR)/tests $(BIN)/python -m kit.campaign --seeds $(SEEDS)

mutants: install
	@rm -f .cache/mutants.jsonl
	PERDURE_MUTANTS_SEARCH=1 $(PYTEST) tests/sim/test_mutants.py
	@PYTHONPATH=$(CURDIR)/tests $(BIN)/python -m kit.mutants.killing

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

fmt: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install
	@PYTHONPATH=$(CURDIR)/tests $(BIN)/python -m $(if $(EVENTS),bench.rebuild --events $(EVENTS),bench.table)

# After a change of dependencies in pyproject.toml; needs uv (pip install uv).
lock:
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --upgrade --no-emit-index-url \
		--custom-compile-command "make lock" --output-file requirements.lock

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
