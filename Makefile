# All targets use the packages of requirements.lock. Outside this folder, only two Debian packages (python3-venv, maven)
# are installed, as root, where they are missing.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# Compiled modules are kept, even where the environment forbids it: the tests start hundreds of processes, and each of them
# would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: help run run-kafka test test-chaos test-k8s check coverage format docs bench images lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'TRELAY_PORT (8080) and TRELAY_DATA (var/) move `make run`; tests/README.md names the variables of `make test`.'

run: .venv ## run Trelay in one process, on a PostgreSQL of its own, with example sources
	@exec $(BIN)/python -m services.cli run

run-kafka: .venv ## run Trelay as three processes, on a Kafka and a PostgreSQL of their own
	@command -v mvn >/dev/null || $(BIN)/python -m tests.servers.debian mvn maven
	@exec $(BIN)/python -m services.standalone.three_processes

# In four processes, each with servers of its own: many tests wait, and two processes would leave a part of two cores unused.
# A file stays in one of them, and files start in the order of their folders: those with servers first, so that no long one
# is left for the end.
test: .venv ## run the tests, without those marked chaos or k8s; PYTEST='tests/unit -k name' selects some
	@$(BIN)/python -m pytest -m 'not chaos and not k8s' $(or $(PYTEST),-n 4 --dist loadfile --no-loadscope-reorder)

test-chaos: .venv ## run the long tests, which kill parts at random and print their seeds
	@$(BIN)/python -m pytest -m chaos --timeout=3600 $(PYTEST)

test-k8s: .venv ## run Trelay on the cluster of KUBECONFIG, from the images of `make images`
	@$(BIN)/python -m pytest -m k8s --timeout=1800 tests/k8s/cluster $(PYTEST)

check: .venv .venv/checkov/installed ## check lint, format, types, import contracts, the coverage of the modules without I/O, and the manifests
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m tests.pure_coverage
	@$(BIN)/hadolint deploy/image/Dockerfile
	@$(BIN)/python -m tests.k8s.checkov
	@$(BIN)/python -m pytest -q -m 'not k8s' tests/k8s

coverage: .venv ## run the unit tests of the modules without I/O, and name the branches that they miss
	@$(BIN)/python -m tests.pure_coverage

format: .venv ## format the code and apply safe fixes
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

docs: .venv ## write the parts of the documentation that come from the code
	@$(BIN)/python -m tests.architecture
	@$(BIN)/python -m services.system_api.api.documents
	@$(BIN)/python -m services.process_api.api.documents
	@$(BIN)/python -m services.experience_api.api.documents
	@$(BIN)/python -m services.experience_api.admin.documents

bench: .venv ## run the benchmarks, each beside its bare limit
	@$(BIN)/python -m benchmarks

# uv resolves for all platforms and Python versions at once. The locks name no index, folder or file of the machine that
# wrote them; hashes decide what may be installed. trelay-client is installed from clients/python.
COMPILE := pip compile --quiet --universal $(UPGRADE) --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-emit-package trelay-client --no-header --no-annotate

# REGISTRY, BASE and VERSION choose names and content. The build uses the network, the authorities and the pip settings of
# this machine; nothing of them gets into an image.
TARGETS := system-api process-api experience-api cli
REGISTRY ?= registry.example/trelay
VERSION ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
PODMAN ?= podman
RUN_IMAGE ?= $(PODMAN) run
BUILD_IMAGE ?= $(PODMAN) build --network host --ignorefile deploy/image/Dockerfile.dockerignore \
	$(foreach file,$(wildcard /etc/pip.conf /etc/ssl/certs/ca-certificates.crt),--volume $(file):$(file):ro)

images: ## build the images, and print the size, the packages and the start of each; BASE=IMAGE replaces the base
	@for target in $(TARGETS); do \
		$(BUILD_IMAGE) --quiet --file deploy/image/Dockerfile --target "$$target" $(if $(BASE),--build-arg BASE=$(BASE)) \
			--build-arg VERSION=$(VERSION) --build-arg REVISION="$$(git rev-parse HEAD)" \
			--build-arg CREATED="$$(date -u +%Y-%m-%dT%H:%M:%SZ)" --tag "$(REGISTRY)/$$target:$(VERSION)" . >/dev/null; \
		$(RUN_IMAGE) --rm --interactive --network none --read-only --tmpfs /tmp --entrypoint /opt/trelay/bin/python \
			"$(REGISTRY)/$$target:$(VERSION)" - "$(REGISTRY)/$$target:$(VERSION)" \
			"$$($(PODMAN) image inspect --format '{{.Size}}' "$(REGISTRY)/$$target:$(VERSION)")" <deploy/image/measure.py || \
			echo "$(REGISTRY)/$$target:$(VERSION): built, and does not run here"; \
	done

lock: ## resolve pyproject.toml into the lock files, keeping locked versions; UPGRADE=--upgrade takes the newest
	@scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	$(PYTHON) -m venv "$$scratch/venv"; \
	"$$scratch/venv/bin/python" -m pip install --quiet uv; \
	"$$scratch/venv/bin/uv" $(COMPILE) --all-extras --group build --group test --output-file requirements.lock pyproject.toml; \
	"$$scratch/venv/bin/uv" $(COMPILE) --constraint requirements.lock --group build --output-file requirements-build.lock; \
	"$$scratch/venv/bin/uv" $(COMPILE) --output-file deploy/image/sbom.lock deploy/image/sbom.in; \
	"$$scratch/venv/bin/uv" $(COMPILE) --output-file tests/k8s/checkov.lock tests/k8s/checkov.in; \
	"$$scratch/venv/bin/uv" $(COMPILE) --constraint requirements.lock --extra kafka --extra notify --extra otel --output-file deploy/image/kafka.lock \
		pyproject.toml; \
	"$$scratch/venv/bin/uv" $(COMPILE) --constraint requirements.lock --extra kafka --extra notify --extra otel --extra state \
		--output-file deploy/image/process.lock pyproject.toml; \
	"$$scratch/venv/bin/uv" $(COMPILE) --constraint requirements.lock --extra kafka --extra mysql --extra oracle --extra files --extra queues --extra notify --extra otel \
		--output-file deploy/image/sources.lock pyproject.toml

clean: ## remove what the other targets made, including the data of `make run`
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache var
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so that an interrupted installation is repeated. It depends on the locks and on the metadata of
# the client library: dependencies change only with the locks, and the projects are imported from this folder.
.PHONY: .venv
.venv: .venv/installed

.venv/installed: requirements.lock requirements-build.lock clients/python/pyproject.toml
	@.ci/make-venv '$(PYTHON)'

# checkov requires old versions of packages that Trelay uses, so it has an environment of its own.
.venv/checkov/installed: tests/k8s/checkov.lock | .venv
	@echo 'installing the packages of tests/k8s/checkov.lock …'
	@unset PIP_PREFIX PIP_TARGET PIP_USER PYTHONHOME PYTHONPATH; \
	$(BIN)/python -m venv --clear .venv/checkov; \
	.venv/checkov/bin/python -m pip install --quiet --disable-pip-version-check --retries 10 --timeout 60 --require-hashes \
		--no-deps --no-compile --only-binary :all: --requirement tests/k8s/checkov.lock
	@touch $@
