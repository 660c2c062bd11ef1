# `make` lists every recipe. Everything runs from .venv, which `make setup` makes from the lock with a uv of its own.
.DEFAULT_GOAL := help
SHELL := /bin/bash
# What Python has compiled is kept: a start without it takes twice as long.
unexport PYTHONDONTWRITEBYTECODE

UV_VERSION := 0.13.9
UV := .uv/bin/uv
RUN := .venv/bin
PORT ?= 8080
# Processes, each with servers of its own; a file's tests stay together. Three where many tests wait, two where servers
# are killed and browsers clicked.
SPREAD := --dist loadfile
REST := "chaos or browser or image or interop or fuzz"
MOST := "not (chaos or browser or image or interop or fuzz)"
# client libraries from npm, by their lock
CLIENTS := tests/interop/node_modules/.package-lock.json

help: ## list the recipes
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(UV):
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Watchword needs Python 3.11 or newer as python3."; exit 1; }
	@echo "Fetching uv and, with it, what runs: a minute, once."
	@python3 -m venv .uv && .uv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

setup: $(UV) ## make .venv from the lock
	@$(UV) sync --quiet --frozen --all-packages --all-extras

up: $(UV) ## run everything here: PostgreSQL, NATS, the services and the demo, until Ctrl-C
	@$(UV) sync --quiet --frozen --no-dev --inexact # only what runs: nothing to build, test or measure with
	@exec $(RUN)/watchword up --port $(PORT)

# What failed is run once more, alone and with servers of its own: red twice is red. Red once is a race, of the test or
# of the product: it stands in the output by name and is to be mended. A leaked secret (status 6) is red at once.
ONCE_MORE = || { [ $$? -eq 1 ] && echo "Once more, alone: what failed above." && \
	$(RUN)/pytest --last-failed --last-failed-no-failures none --maxfail 1

test: setup ## the test suite against real servers
	@$(RUN)/pytest -n 3 $(SPREAD) -m $(MOST) $(ONCE_MORE) -m $(MOST); }

test-all: test test-rest ## everything: also what kills processes and drives a browser

test-rest: setup tools $(CLIENTS) # what `make test` leaves out, so that both together are `make test-all`
	@$(RUN)/pytest -n 2 $(SPREAD) -m $(REST) $(ONCE_MORE) -m $(REST); }

$(CLIENTS): tests/interop/package-lock.json | tools
	cd tests/interop && npm ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@

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

bench-filled: setup tools ## measure with 1,000,000 users beside a new installation (about fifteen minutes)
	$(RUN)/python -m tests.bench.filled

bench-scim: setup ## measure SCIM over 1,000,000 users (about ten minutes)
	$(RUN)/python -m tests.bench.scim

bench-revocation: setup ## measure how soon a revocation is obeyed, and what must be 0 (about forty minutes)
	$(RUN)/python -m tests.bench.revocation

translations: setup ## bring the catalogues of other languages up to date with the code
	$(RUN)/python -m watchword.translations

docs: setup ## write docs/reference from the code
	$(RUN)/python -m watchword.reference

pictures: setup tools ## take the pictures of the documentation again
	WATCHWORD_PICTURES=1 $(RUN)/pytest -q tests/flows/test_quick_start.py tests/flows/test_up_in_browser.py \
		tests/admin/test_console_browser.py::test_the_sign_in_page_is_seen_before_it_is_branded

docs-site: $(UV) ## build the documentation as a site in .site; a broken link fails
	@$(UV) sync --quiet --frozen --all-packages --all-extras --group docs
	NO_MKDOCS_2_WARNING=1 $(RUN)/mkdocs build --strict --quiet

tools: # programs from Debian's packages that some tests and benchmarks drive
	@deploy/install-tools

clean: ## remove .venv, caches and the data of `make up`
	@if [ -e .data/access.json ]; then echo "\`make up\` runs on .data: stop it first (it ended badly? then remove .data/access.json)"; exit 1; fi
	rm -rf .venv .uv .data .site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.PHONY: help setup up test test-all test-rest lint format bench bench-peers bench-filled bench-scim bench-revocation docs pictures docs-site translations tools clean
