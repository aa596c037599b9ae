# Everything is made from what is locked in requirements.lock; nothing outside this folder is changed,
# but for two Debian packages (python3-venv, maven) that are installed where they are missing and we are root.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: help run run-kafka test test-chaos check coverage format docs bench lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'TRELAY_PORT (8080) and TRELAY_DATA (var/) move `make run`; tests/README.md names the variables of `make test`.'

run: .venv ## Trelay in one process, on a PostgreSQL of its own, with the examples as its sources
	@exec $(BIN)/python -m services.cli run

run-kafka: .venv ## Trelay as three processes, on a Kafka and a PostgreSQL of their own
	@command -v mvn >/dev/null || $(BIN)/python -m tests.servers.debian mvn maven
	@exec $(BIN)/python -m services.standalone.three_processes

test: .venv ## every test but chaos; PYTEST='tests/unit -k name' narrows it
	@$(BIN)/python -m pytest -m 'not chaos' $(PYTEST)

test-chaos: .venv ## the long tests that kill parts at random; each prints its seed
	@$(BIN)/python -m pytest -m chaos --timeout=3600 $(PYTEST)

check: .venv ## lint, format, types, import contracts and the coverage of modules without I/O, as CI runs them
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m tests.pure_coverage

coverage: .venv ## the branches of the modules without I/O that their unit tests do not run
	@$(BIN)/python -m tests.pure_coverage

format: .venv ## put the code into the project's format
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

docs: .venv ## what the documentation takes from the code
	@$(BIN)/python -m tests.architecture

bench: .venv ## the figures of benchmarks/, each beside its bare limit
	@$(BIN)/python -m benchmarks

# uv resolves for every platform and Python at once. The locks name no index, folder or file of the machine
# that wrote them: hashes alone say what may be installed. trelay-client is installed from clients/python.
COMPILE := pip compile --quiet --universal $(UPGRADE) --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-emit-package trelay-client --no-header --no-annotate

lock: ## resolve pyproject.toml into the lock files and keep what is locked; UPGRADE=--upgrade takes the newest
	@scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	$(PYTHON) -m venv "$$scratch/venv"; \
	"$$scratch/venv/bin/python" -m pip install --quiet uv; \
	"$$scratch/venv/bin/uv" $(COMPILE) --all-extras --group build --group test --output-file requirements.lock pyproject.toml; \
	"$$scratch/venv/bin/uv" $(COMPILE) --constraint requirements.lock --group build --output-file requirements-build.lock

clean: ## remove what the other targets made, the data of `make run` too
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache var
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so that an installation that broke off is begun again. It follows the locks and the client
# library: no dependency changes without the locks, and the projects are imported from this folder.
.PHONY: .venv
.venv: .venv/installed

.venv/installed: requirements.lock requirements-build.lock clients/python/pyproject.toml
	@.ci/make-venv '$(PYTHON)'
