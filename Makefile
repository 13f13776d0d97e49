# The front door. `make help` lists what there is; the engine behind it is workflow/Snakefile.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
TIER ?= laptop
CORPUS ?= python-docs
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
VENV := .venv
RUN := $(VENV)/bin/python
BUILD := $(RUN) -m l2m_utils.book
OPTIONS = --tier '$(TIER)' --corpus '$(CORPUS)' --jobs $(JOBS)

.PHONY: help setup book smoke test bench publish reproduce status lab serve lock clean

help: ## this list
	@echo "The executable book of L2M.  Targets:"
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1|\2/' | column -t -s '|'
	@echo "Options: TIER=smoke|laptop|gpu|cluster (now $(TIER))  CORPUS=name or path (now $(CORPUS))  JOBS=n (now $(JOBS))  PYTHON=python3.11 or later"

# The stamp is made last: an interrupted installation is done again.
$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=python3.12 …" >&2; exit 1; }
	@echo "setting up $(VENV) from requirements.lock"
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

setup: $(VENV)/.installed ## make the virtual environment from the lock

book: setup ## execute what changed and build the book (TIER, CORPUS, JOBS)
	@$(BUILD) book $(OPTIONS)

smoke: setup ## the same at tier smoke: minutes, for checking that everything runs
	@$(BUILD) book --tier smoke --corpus '$(CORPUS)' --jobs $(JOBS)

test: setup ## the test suite, at most five minutes
	@OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(JOBS) --dist loadfile

bench: setup ## measure the ratios of benchmarks/ and write benchmarks/report.json
	@$(RUN) -m benchmarks

publish: setup ## copy the small records of this build to results/
	@$(BUILD) publish $(OPTIONS)

reproduce: setup ## compute the tier from nothing and compare with the published records
	@$(BUILD) reproduce $(OPTIONS)

status: setup ## print the reproduction table
	@$(BUILD) status

lab: setup ## JupyterLab on the notebooks
	@$(VENV)/bin/jupyter lab --notebook-dir notebooks

serve: setup ## the built book on http://127.0.0.1:8000
	@$(RUN) -m l2m_utils.book.serve $(OPTIONS)

lock: ## renew requirements.lock from pyproject.toml in a fresh environment
	@rm -rf _build/lock && $(PYTHON) -m venv _build/lock
	@_build/lock/bin/pip install --quiet --disable-pip-version-check 'torch==2.13.0' '.[book,test]'
	@(sed -n '/^#/p' requirements.lock 2>/dev/null; _build/lock/bin/pip freeze --exclude l2m-book --all --exclude pip --exclude wheel | sed -E 's/\+cpu$$//') > requirements.new
	@mv requirements.new requirements.lock && rm -rf _build/lock build *.egg-info

clean: ## remove builds and caches (not the virtual environment)
	@rm -rf _build .snakemake .cache .pytest_cache .hypothesis
