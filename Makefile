# make demo | test | lint | docs | bench | test-long: each installs first what it needs (see .ci/setup).
SHELL := /bin/bash
BIN := .venv/bin
# Network namespaces and slurmd need root; everything else runs as you.
ROOT := $(shell [ "$$(id -u)" = 0 ] || echo sudo -E)
SHELL_FILES := .ci/run .ci/setup .ci/demo .ci/demo-failure plugins/spank/node/prolog-map.sh plugins/epilog/slurmkit-epilog.sh plugins/prolog/slurmkit-prolog.sh plugins/health/slurmkit-health.sh

.PHONY: help setup demo demo-failure test test-unit test-slurm test-faults test-long lint check format docs bench clean

help:
	@echo 'make demo       a real 2-node Slurm on this machine, and a Llama trained on it by 4 ranks'
	@echo 'make demo-failure   the same on 2 nodes and a spare; one node is killed, and nothing is lost'
	@echo 'make test       lint, types, layers, unit tests, tests on real Slurm clusters, faults'
	@echo 'make lint       ruff, mypy --strict, import layers, shellcheck, luacheck'
	@echo 'make bench      speed and size, as ratios against named rivals'
	@echo 'make docs       the documentation as a web site in build/docs'
	@echo 'make test-long  what takes too long for every day'

setup:
	@.ci/setup

demo: setup
	@$(ROOT) .ci/demo

demo-failure: setup
	@$(ROOT) .ci/demo-failure

test: lint test-unit test-slurm test-faults

# Each worker boots clusters of its own; tests of clusters wait more than they compute, so 4 on 2 cores.
PYTEST := $(BIN)/pytest -p no:benchmark --dist loadfile

test-unit: setup
	$(PYTEST) -n 2 tests/unit

test-slurm: setup
	$(ROOT) $(PYTEST) -n 4 tests/slurm

# Nodes, ranks and disks that fail under running jobs. FAULTS_SEED=N does again what a failed test did.
test-faults: setup
	$(ROOT) $(PYTEST) -n 4 tests/faults

test-long: setup
	$(ROOT) $(PYTEST) -n 4 tests/unit tests/slurm tests/faults -m 'long or not long'

lint check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache | tail -n 4
	shellcheck $(SHELL_FILES)
	luacheck --quiet --config plugins/lua/.luacheckrc plugins/lua tests/unit/lua

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup
	$(BIN)/python docs/generate.py
	$(BIN)/mkdocs build --strict

bench: setup
	$(ROOT) $(BIN)/pytest tests/bench -o timeout=1800

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .benchmarks .hypothesis
