# inotify-bridge. `make` lists what there is.
SHELL := /bin/sh
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Standard input of pip and the suite is empty: nothing here ever asks a question.
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
CODE := $(wildcard inotify_bridge tests benchmarks compat monitoring)
# Tests wait more than they compute; each job starts brokers of its own, of a gigabyte together.
JOBS ?= 2
DOCKER ?= docker
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"$$/\1/p' inotify_bridge/__init__.py)

# What stands in a stamp is installed: a second call takes no time.
RUN_STAMP := $(VENV)/.installed-run
DEV_STAMP := $(VENV)/.installed-dev

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(RUN_STAMP) ## make .venv with the locked packages that the agent needs

.PHONY: run
run: $(RUN_STAMP) ## watch ./data, print its events, serve the status page (Ctrl-C ends it)
	@# In the foreground of a terminal (its process group is proc(5)'s tpgid) the agent is a job of its own: Ctrl-C
	@# reaches it alone, so that make ends with its exit code. Ctrl-Z stops make with it, and `fg` continues both.
	@mkdir -p data; read -r _ _ _ _ group _ _ foreground _ </proc/self/stat; \
	[ "$$group" -ne "$$foreground" ] || set -m; \
	$(BIN)/inotify-bridge run -c examples/run.yaml; status=$$?; \
	while [ $$status -gt 128 ] && [ "$$(kill -l $$status)" = TSTP ]; do \
		set +m; kill -TSTP 0; set -m; fg >/dev/null; status=$$?; \
	done; exit $$status

.PHONY: test
test: $(DEV_STAMP) ## the whole suite, with real brokers (ARGS="-k name" for a part)
	@$(BIN)/python -m tests.brokers kafka fetch || [ -z "$$CI" ]
	@$(BIN)/python -m tests.charts fetch >/dev/null || [ -z "$$CI" ]
	@# The order of a set of bytes is that of its hashes: with the same, a seed of the simulation gives the same run.
	@PYTHONHASHSEED=0 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS) </dev/null

.PHONY: check
check: $(DEV_STAMP) ## lint, format, types, import rule
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/mypy --strict $(CODE)
	@$(BIN)/python -m pytest -q tests/test_project.py </dev/null

.PHONY: bench
bench: $(DEV_STAMP) ## measure (ARGS="--help" for what can be measured)
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: soak
soak: $(DEV_STAMP) ## a campaign of faults against an agent (ARGS="--minutes 30 --broker kafka --seed 1")
	@$(BIN)/python -m tests.soak $(ARGS)

.PHONY: image
image: ## build the container image inotify-bridge:VERSION (DOCKER=podman, ARGS="--build-arg …")
	@$(DOCKER) build --tag inotify-bridge:$(VERSION) --build-arg VERSION=$(VERSION) \
		--build-arg REVISION="$$(git rev-parse HEAD 2>/dev/null)" $(ARGS) .

.PHONY: container-test
container-test: $(DEV_STAMP) ## the image and docker-compose.yml with a Docker engine of its own (root, docker.io)
	@INOTIFY_BRIDGE_CONTAINERS=1 $(BIN)/python -m pytest -s tests/containers $(ARGS) </dev/null

.PHONY: failpoints
failpoints: $(DEV_STAMP) ## kill an agent at every named point (ARGS="--help")
	@$(BIN)/python -m tests.failpoints $(ARGS)

.PHONY: mutants
mutants: $(DEV_STAMP) ## break every promise on purpose and see which test notices (ARGS="--only NAME")
	@$(BIN)/python -m tests.mutants $(ARGS)

.PHONY: boards
boards: $(DEV_STAMP) ## write the Grafana boards anew, from monitoring/boards/
	@$(BIN)/python -m monitoring.boards

.PHONY: man
man: $(DEV_STAMP) ## write the manual page anew, from the command line
	@$(BIN)/python -m tests.manual > man/inotify-bridge.1.new && mv man/inotify-bridge.1.new man/inotify-bridge.1

.PHONY: charts
charts: $(DEV_STAMP) ## write what the Helm charts hold of other folders, and what their examples render to
	@$(BIN)/python -m tests.charts sync

.PHONY: cluster-test
cluster-test: $(DEV_STAMP) ## the charts in a real Kubernetes on this machine (root, Go, containerd; builds it once)
	@$(BIN)/python -m tests.cluster.programs
	@INOTIFY_BRIDGE_CLUSTER=1 $(BIN)/python -m pytest --timeout=900 tests/cluster $(ARGS) </dev/null

.PHONY: lock
lock: $(BIN)/python ## write the lock files anew, with the newest packages allowed by pyproject.toml
	@$(PIP) install "uv>=0.5"
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
		pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
		pyproject.toml --extra dev -c requirements.lock -o requirements-dev.lock
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
		pyproject.toml --extra all -c requirements-dev.lock -o requirements-image.lock
	@sed -n 's/^requires = \["\(.*\)"\]$$/\1/p' pyproject.toml | \
		$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
		- -c requirements-dev.lock -o requirements-build.lock

.PHONY: clean
clean: ## remove .venv, caches and what `make run` wrote (not what is in ./data)
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist journal.jsonl*
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "make: inotify-bridge needs Python 3.11 or newer: apt-get install python3, or make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "make: Python cannot make virtual environments: apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

define install
	@$(PIP) install --require-hashes -r $(1) </dev/null && $(PIP) install --no-deps -e . </dev/null || \
		{ echo "make: the packages of $(1) could not be installed; is the package index reachable from here?" >&2; exit 1; }
	@touch $@
endef

$(RUN_STAMP): requirements.lock pyproject.toml | $(BIN)/python
	$(call install,requirements.lock)

$(DEV_STAMP): requirements-dev.lock $(RUN_STAMP)
	$(call install,requirements-dev.lock)
