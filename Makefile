.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
REFERENCE ?= build/docs
# Every command that a test starts would compile the sources anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help venv demo iot check test serve bench lint docs

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## (.*)/  \1\t\2/'

$(STAMP): pyproject.toml requirements/runtime.txt requirements/dev.txt
	./.ci/prepare python
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

venv: $(STAMP)  ## create .venv with the pinned requirements

demo: venv  ## the airline story, end to end, on throwaway state
	$(BIN)/watchword demo

iot: venv  ## a fleet of devices, its brokers and a dashboard, on throwaway state (Debian: .ci/prepare brokers)
	$(BIN)/python -m examples.iot

serve: venv  ## run the server
	$(BIN)/watchword serve

lint: venv  ## style, types, direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint  ## before each commit, a minute and a half: lint, types, unit tests, house rules
	$(BIN)/pytest -q -n 2 tests/unit tests/house

test: lint  ## lint, then every test against real servers
	./.ci/prepare servers
	./.ci/prepare brokers
	$(BIN)/pytest -n 2 --dist loadgroup

bench: venv  ## the measurements under bench/
	$(BIN)/python -m bench

docs: venv  ## build the API reference into build/docs; a warning is an error
	$(BIN)/python -W error -m pdoc --docformat google -o $(REFERENCE) \
	  watchword.client watchword.resource watchword.resource.asgi watchword.jose
