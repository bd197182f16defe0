PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Nodes need root and SLURM; without them these tests skip, and say why.
WITH_SLURM = $$([ "$$(id -u)" != 0 ] || ! command -v slurmd > /dev/null || echo launchers/slurm-local with)

.PHONY: run test test-slurm test-browser slurm lint docs clean help

help:            ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

run: $(VENV)/.run   ## set up and run the main job: synthetic suite, signal listener, then its chance level
	$(BIN)/python -m lalm_bench
	$(BIN)/python -m lalm_bench model=random

test: $(VENV)/.dev  ## set up and pass the tests
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile -m "not slurm and not browser"

test-slurm: $(VENV)/.dev    ## the tests that need SLURM: as root, installed, started and stopped here
	@$(MAKE) -s slurm
	$(WITH_SLURM) $(BIN)/python -m pytest -q tests -m "slurm and not browser"

test-browser: $(VENV)/.dev  ## the tests that need Chromium: as root, installed here (SLURM too)
	@$(MAKE) -s slurm
	@[ "$$(id -u)" != 0 ] || command -v chromium > /dev/null || { apt-get update -qq && \
		apt-get install -y -qq --no-install-recommends chromium fonts-liberation > /dev/null; } || \
		echo "Chromium could not be installed; its tests will skip"
	$(WITH_SLURM) $(BIN)/python -m pytest -q tests -m browser

slurm:
	@[ "$$(id -u)" != 0 ] || launchers/slurm-local install || \
		echo "SLURM could not be installed; its tests will skip"

lint: $(VENV)/.dev  ## style and types
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
	$(BIN)/mypy launchers/mlflow-server
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema -q --builtin-schema vendor.compose-spec compose.yaml
	! command -v shellcheck > /dev/null || shellcheck -x .ci/run launchers/slurm-local

docs: $(VENV)/.dev  ## the site, strictly, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

clean:           ## remove the environment and caches (results stay)
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	touch $@

# torchvision and torchaudio in a folder of their own, and without what they ask for: see
# tests/companions.py.
$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install -q -c constraints.txt --no-deps --upgrade --target $(VENV)/vision torchvision torchaudio timm
	touch $@ $(VENV)/.run
