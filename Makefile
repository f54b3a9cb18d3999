# Every verb sets itself up: .venv is made or refreshed only when pyproject.toml or the lock changed.
# Settings: CARD=experiments/course.toml (of tune and final-train)  ARGS="--max-trials 30"  PYTHON=python3.12

PYTHON ?= python3
CARD ?= experiments/xception_150.toml
ARGS ?=

BIN := .venv/bin
READY := .venv/.ready
TORCH_BIN := .venv-torch/bin
TORCH_READY := .venv-torch/.ready
RUN := $(BIN)/fashion-tuning

# An environment knows its own path: in a folder that was moved or copied, it is made anew.
$(foreach ready,$(READY) $(TORCH_READY),$(shell [ "$$(cat $(ready) 2>/dev/null)" = "$(CURDIR)" ] || rm -f $(ready)))

.DEFAULT_GOAL := help
.PHONY: help tune demo data leaderboard report ui final-train serve check replay cache test test-all test-torch browser lint bench lock

help: ## Show the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  settings: CARD=experiments/course.toml (of tune and final-train) ARGS="--max-trials 30" PYTHON=python3.12'

tune: $(READY) ## Run the study, or go on with it; ends with a leaderboard
	$(RUN) tune $(CARD) $(ARGS)

demo: $(READY) ## A small study on drawn garments, without any photo
	$(RUN) demo $(ARGS)

data: $(READY) ## Get and verify the photos
	$(RUN) data $(ARGS)

leaderboard: $(READY) ## The newest study's trials, best first
	$(RUN) leaderboard $(ARGS)

report: $(READY) ## Figures and a page of a study; ARGS="xception-150 course" compares two
	$(RUN) report $(ARGS)

ui: $(READY) ## The MLflow UI on the right store
	$(RUN) ui $(ARGS)

final-train: $(READY) ## Choose, retrain at the final size, register and measure
	$(RUN) final-train $(CARD) $(ARGS)

serve: $(READY) ## The upload page and its API, with the champion; ARGS="--port 8080"
	$(RUN) serve $(ARGS)

check: $(READY) ## Whether a study's runs agree with each other and with their artifacts
	$(RUN) check $(ARGS)

replay: $(READY) ## Train a recorded trial again and compare: ARGS=<run id>
	$(RUN) replay $(ARGS)

cache: $(READY) ## What the cache holds; ARGS=verify checks it, ARGS=prune removes what is bad
	$(RUN) cache $(or $(ARGS),list)

test: $(READY) ## The quick tests
	$(BIN)/python -m pytest -m "not slow" --numprocesses 2 --dist worksteal $(ARGS)

test-all: $(READY) browser ## All tests, the slow ones and those of the UI too
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal $(ARGS)

# What a backend decides: features, training, checkpoints, and the commands as real processes. Between the backends each
# one works in an environment of its own.
test-torch: $(READY) $(TORCH_READY) ## The tests of Keras on PyTorch, in an environment without TensorFlow
	KERAS_BACKEND=torch TENSORFLOW_PYTHON=$(CURDIR)/$(BIN)/python $(TORCH_BIN)/python -m pytest \
		-m "not slow" tests/model tests/study/test_executors.py tests/study/test_replay.py tests/test_backend.py $(ARGS)
	KERAS_BACKEND=torch TENSORFLOW_PYTHON=$(CURDIR)/$(BIN)/python $(TORCH_BIN)/python -m pytest tests/backends $(ARGS)

browser:
	@command -v chromium > /dev/null || command -v chromium-browser > /dev/null || \
		if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
			apt-get update -q && apt-get install -y -q chromium; \
		else \
			echo "without Chromium the tests of the UI are left out; to have it: sudo apt-get install chromium"; \
		fi

lint: $(READY) ## Style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY) ## Speed, as ratios measured in one run
	$(BIN)/python -m tests.benchmarks $(ARGS)

lock: $(READY) ## Renew requirements.lock from pyproject.toml
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --upgrade --no-emit-index-url --no-emit-find-links --strip-extras --extra dev --extra export \
		--output-file requirements.lock pyproject.toml
	$(BIN)/python -c "$$LOCK_REQUIREMENTS" | $(BIN)/pip-compile --quiet --no-emit-index-url --no-emit-find-links \
		--strip-extras --no-header --no-annotate --constraint requirements.lock --output-file .venv/torch.lock -
	(echo "$$LOCK_HEADER"; sed 's/+cpu$$//' .venv/torch.lock) > requirements-torch.lock
	rm .venv/torch.lock

# Another release of PyTorch is chosen here; "+cpu", the name of a build, is no part of it.
define LOCK_REQUIREMENTS
import tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
ours = project["dependencies"] + project["optional-dependencies"]["dev"]
print("torch==2.13.0", *(one for one in ours if not one.startswith("tensorflow")), sep="\n")
endef
define LOCK_HEADER
# Made by `make lock`: requirements.lock with PyTorch in place of TensorFlow, without the extra "export".
endef
export LOCK_REQUIREMENTS LOCK_HEADER

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "fashion-tuning needs Python 3.11 or newer; received $$($(PYTHON) --version). Try: make PYTHON=python3.12"; exit 2; }
	@echo "setting up .venv (about 2 minutes the first time)"
	$(PYTHON) -m venv $(if $(wildcard $(READY)),,--clear) .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@echo "$(CURDIR)" > $(READY)

$(TORCH_READY): pyproject.toml requirements-torch.lock
	@echo "setting up .venv-torch (about 2 minutes the first time)"
	$(PYTHON) -m venv $(if $(wildcard $(TORCH_READY)),,--clear) .venv-torch
	$(TORCH_BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-torch.lock
	$(TORCH_BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@echo "$(CURDIR)" > $(TORCH_READY)
