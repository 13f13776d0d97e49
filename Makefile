# The front door. `make help` lists what there is; the engine behind it is workflow/Snakefile.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
TIER ?= laptop
CORPUS ?= python-docs
ENGINE ?=
ifndef JOBS
JOBS := $(shell nproc 2>/dev/null || echo 2)
endif
# What a person gives reaches the command through the environment, as it is: neither make nor the shell reads it.
override TIER := $(value TIER)
override CORPUS := $(value CORPUS)
override JOBS := $(value JOBS)
override ENGINE := $(value ENGINE)
SEED ?= 0
override SEED := $(value SEED)
export TIER CORPUS JOBS ENGINE SEED
# Tests start Python a hundred times: what it compiles of tests and library is kept, as a build keeps it.
unexport PYTHONDONTWRITEBYTECODE
VENV := .venv
LOCKED := book test check gguf# the extras of pyproject.toml that requirements.lock covers
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip install --quiet --disable-pip-version-check
# No shell stays between make and the build, which ends when make is killed.
BUILD := L2M_PARENT=$$PPID exec $(RUN) -E -X utf8 -m l2m_utils book
WHICH := --tier="$$TIER" --corpus="$$CORPUS"
WORK := --jobs="$$JOBS" --engine="$$ENGINE"
# In the order of the folders: the tests of whole builds, which take longest, begin first, and both processes end together.
TEST := case "$$JOBS" in ''|*[!0-9]*) echo "error: JOBS=$$JOBS: expected a whole number" >&2; exit 2;; esac; \
    OMP_NUM_THREADS=1 exec $(RUN) -m pytest -n "$$JOBS" --dist loadfile --no-loadscope-reorder --ignore tests/test_types.py

.PHONY: help setup book pdf smoke slides site test test-site test-slurm test-outside attack check coverage links bench dist archive publish reproduce status lab serve instructor lock clean

help: ## this list
	@echo "The executable book of L2M.  Targets:"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'
	@echo "Options: TIER=smoke|laptop|gpu|cluster (now $$TIER)  CORPUS=name or path (now $$CORPUS)  JOBS=n (now $$JOBS)  PYTHON=python3.11 or later  ENGINE='options for Snakemake'"

# The stamp is made last: an interrupted installation is done again. The lock comes first and whole (every package in it is
# pinned and hashed, so nothing is resolved); torch after it, with its dependencies, which the lock already satisfies: what torch
# adds on top is what this machine needs (NVIDIA's libraries where there is CUDA), and nothing locked moves.
$(VENV)/.installed: requirements.lock requirements-torch.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 5))' || { echo "error: $(PYTHON) is $$($(PYTHON) --version 2>&1), expected Python 3.11.5 or later; name a newer one: make PYTHON=python3.12 …" >&2; exit 1; }
	@echo "setting up $(VENV) from requirements.lock"
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	@$(PIP) --require-hashes --no-deps -r requirements.lock
	@$(PIP) -r requirements-torch.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@$(RUN) -m pip check --disable-pip-version-check
	@touch $@

setup: $(VENV)/.installed ## make the virtual environment from the lock

book: setup ## execute what changed and build the book (TIER, CORPUS, JOBS)
	@$(BUILD) build $(WHICH) $(WORK)

pdf: book ## the whole book as one PDF beside its pages (needs Chromium)
	@$(BUILD) pdf $(WHICH)

smoke: setup ## the same at tier smoke: minutes, for checking that everything runs
	@$(BUILD) build --tier smoke --corpus="$$CORPUS" $(WORK)

slides: setup ## make the slides of the course and build the book with links to them (TIER, CORPUS; asks npm for reveal.js once)
	@$(RUN) -E -X utf8 -m l2m_utils course slides $(WHICH)
	@$(BUILD) html $(WHICH)

site: book ## all that readers, students and teachers get: slides, editions, PDF, the teacher's zip; time and size of each
	@exec $(RUN) -E -X utf8 -m l2m_utils course site $(WHICH)

test: setup ## the test suite, about five minutes on two cores
	@$(TEST)

test-site: setup ## look at every page of the built book in Chromium (TIER, CORPUS, JOBS): axe, phone, keyboard, links, weight
	@exec $(RUN) -X utf8 tests/site/run_site.py $(WHICH) --jobs "$$JOBS"

test-slurm: setup ## jobs on a Slurm cluster of two nodes on this machine; a few minutes, skips where Slurm is not installed
	@L2M_SLURM=1 OMP_NUM_THREADS=1 exec $(RUN) -m pytest -rs tests/slurm

test-outside: setup ## clean notebooks in a fresh environment with the wheel of this checkout; minutes, asks a package index
	@L2M_OUTSIDE=1 OMP_NUM_THREADS=1 exec $(RUN) -m pytest -rs tests/course/test_outside.py

attack: setup ## attack the book again: kills, damage, builds at once; up to three hours, goes on where it was interrupted
	@OMP_NUM_THREADS=1 exec $(RUN) tests/attack/run_attacks.py

check: setup ## format, lint, floor plan, spelling, types, and that lock, workflows and pyproject.toml agree; about a minute
	@$(RUN) -m ruff format --check --quiet .
	@$(RUN) -m ruff check --quiet .
	@$(VENV)/bin/lint-imports --no-cache > /dev/null || $(VENV)/bin/lint-imports --no-cache
	@$(VENV)/bin/codespell
	@$(RUN) -m pytest tests/test_project.py tests/test_hosting.py tests/test_types.py

coverage: setup ## which lines no test runs: a table, and pages in _build/coverage/html
	@mkdir -p _build/coverage
	@$(TEST) --cov --cov-report=term --cov-report=html

links: smoke ## ask for every outside link of the book (needs the network)
	@$(VENV)/bin/jupyter-book build _build/smoke-python-docs/source --path-output _build/links --builder linkcheck --keep-going --quiet

bench: setup ## measure the ratios of benchmarks/, and how cost grows: benchmarks/report.json and records performance/growth
	@$(RUN) -m benchmarks
	@OMP_NUM_THREADS=1 $(RUN) -m benchmarks._growth

dist: setup ## wheel and sdist of the library, in _build/dist
	@rm -rf _build/dist
	@SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2>/dev/null || echo 315532800) $(RUN) -m uv build --quiet --no-config --offline \
	    --no-build-isolation --python $(RUN) --out-dir _build/dist .
	@ls _build/dist

archive: setup ## source, records and built site of this commit in one zip file that anyone can check, in _build/archive
	@$(BUILD) archive $(WHICH)

publish: setup ## copy the small records of this build to results/
	@$(BUILD) publish $(WHICH)

reproduce: setup ## compute the tier from nothing and compare with the published records
	@$(BUILD) reproduce $(WHICH) $(WORK)

status: setup ## print the reproduction table
	@$(BUILD) status

lab: setup ## JupyterLab on the notebooks
	@$(VENV)/bin/jupyter lab --notebook-dir notebooks

serve: setup ## the built book on http://127.0.0.1:8000
	@$(BUILD) serve $(WHICH)

instructor: setup ## one zip for a teacher: answers, notes, and the assignments of the class with SEED=…
	@exec $(RUN) -E -X utf8 -m l2m_utils handout instructor --seed="$$SEED"

# One resolution for all Pythons and systems that the project supports. Pins that still fit pyproject.toml stay as they are;
# `make lock UPGRADE=--upgrade` renews them all. torch is left out, and with it what only torch needs: requirements-torch.txt.
lock: setup ## bring requirements.lock in line with pyproject.toml (UPGRADE=--upgrade: newest releases)
	@sed -E 's/[^a-z].*//' requirements-torch.txt > requirements.excluded
	@UV_PYTHON_DOWNLOADS=never UV_CUSTOM_COMPILE_COMMAND='make lock' $(RUN) -m uv pip compile --quiet --no-config --universal --python-version 3.11.5 \
	    --generate-hashes --no-annotate --excludes requirements.excluded $(UPGRADE) $(LOCKED:%=--extra %) pyproject.toml -o requirements.lock; \
	    status=$$?; rm -f requirements.excluded; exit $$status

clean: ## remove builds and caches (not the virtual environment)
	@if test -x $(RUN); then $(BUILD) clean; else $(PYTHON) -m l2m_utils book clean; fi
