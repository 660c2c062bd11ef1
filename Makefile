# `make` lists every recipe. Everything runs from .venv, which `make setup` makes from the lock with a uv of its own.
.DEFAULT_GOAL := help
SHELL := /bin/bash

UV_VERSION := 0.13.9
UV := .uv/bin/uv
RUN := .venv/bin
PORT ?= 8080
# two processes, each with servers of its own; a file's tests stay together
SPREAD := -n 2 --dist loadfile

help: ## list the recipes
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(UV):
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Watchword needs Python 3.11 or newer as python3."; exit 1; }
	@python3 -m venv .uv && .uv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

setup: $(UV) ## make .venv from the lock
	@$(UV) sync --quiet --frozen --all-packages --all-extras

up: $(UV) ## run everything here: PostgreSQL, NATS, the services and the demo, until Ctrl-C
	@$(UV) sync --quiet --frozen --no-dev --inexact # only what runs: nothing to build, test or measure with
	@exec $(RUN)/watchword up --port $(PORT)

test: setup ## the test suite against real servers, under ten minutes
	$(RUN)/pytest $(SPREAD) -m "not chaos and not browser and not image"

test-all: test test-rest ## everything: also what kills processes and drives a browser

test-rest: setup tools # what `make test` leaves out, so that both together are `make test-all`
	$(RUN)/pytest -m "chaos or browser or image"

lint: setup ## style, types, imports, the lock and generated documents
	$(RUN)/ruff check
	$(RUN)/ruff format --check
	$(RUN)/mypy
	$(RUN)/lint-imports
	$(UV) lock --check
	$(RUN)/python -m watchword.reference --check

format: setup ## put imports and layout in order
	$(RUN)/ruff check --fix
	$(RUN)/ruff format

bench: setup tools ## measure: one table (about ten minutes)
	$(RUN)/python -m tests.bench.run

bench-peers: setup tools ## the same, beside a certified provider on PostgreSQL
	cd tests/bench/peers && npm ci --ignore-scripts --no-audit --no-fund
	$(RUN)/python -m tests.bench.run --peers

docs: setup ## write docs/reference from the code
	$(RUN)/python -m watchword.reference

tools: # programs from Debian's packages that some tests and benchmarks drive
	@deploy/install-tools

clean: ## remove .venv, caches and the data of `make up`
	rm -rf .venv .uv .data .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.PHONY: help setup up test test-all test-rest lint format bench bench-peers docs tools clean
