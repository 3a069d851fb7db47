# A clone needs only make and Python 3.11 (another supported python3 does too): the first target that
# wants an environment builds it from the pinned lists in .ci/requirements/.
#
#   make demo         watch the whole journey, then browse the example site (ONCE=1 stops after it)
#   make test         everything that a change must pass
#   make format       rewrite the code the way `make test` wants it
#   make translations bring the catalogues up to date with the sentences in code and templates
#   make bench        measure, beside other libraries (ARGS="--quick throughput"; ARGS=--help says more)
#
# ARGS is handed to pytest: make pytest ARGS="-k recovery -x"

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.ONESHELL:
.DEFAULT_GOAL := test

VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := -m pip --disable-pip-version-check --require-virtualenv install --quiet
LOCK := .ci/requirements/dev.txt
ARGS ?=
REPORTS := .cache/reports
PYTHONS := 3.10 3.12 3.13

.PHONY: test lint format types contracts pytest demo bench wheel translations locks clean
.PHONY: check-lowest check-pythons $(PYTHONS:%=check-python-%)

# ---------------------------------------------------------------- environment
# Two stamps, each written last, so that an interrupted build is started again and a finished one is
# not repeated: .locked stands for the pinned packages, .ready for this package on top of them.
$(VENV)/.locked: $(LOCK)
	python="$$(command -v python3.11 || command -v python3 || true)"
	if [ -z "$$python" ]; then echo "Python 3.11 is needed; neither python3.11 nor python3 is on PATH." >&2; exit 1; fi
	"$$python" -m venv --clear $(VENV)
	$(BIN)/python $(PIP_INSTALL) --no-deps --requirement $(LOCK)
	touch $@

$(VENV)/.ready: $(VENV)/.locked pyproject.toml
	$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	touch $@

# The same for the other Pythons, the lowest versions and the benchmarks, each in .venvs/<name>.
ENVIRONMENTS := $(PYTHONS:%=.venvs/%/.ready) .venvs/lowest/.ready .venvs/bench/.ready

$(ENVIRONMENTS): .venvs/%/.ready: pyproject.toml $(wildcard .ci/requirements/*.txt) .ci/scripts/environment
	.ci/scripts/environment $*
	touch $@

# ---------------------------------------------------------------- what a change must pass
test: lint types contracts pytest

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.ready
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

types: $(VENV)/.ready
	$(BIN)/mypy
	export PATH="$(CURDIR)/$(BIN):$$PATH" # --verifytypes looks for the environment only here
	pyright
	python .ci/scripts/public_types.py

contracts: $(VENV)/.ready
	$(BIN)/lint-imports --no-cache --no-logo

# Slow tests run where CI is set. ARGS picks tests, and a gate on a part of the suite means nothing.
pytest: $(VENV)/.ready
	$(BIN)/python -m pytest -n 2 --junit-xml=$(REPORTS)/test.xml $(SELECTION) \
		$(or $(ARGS),--cov --cov-report=term)
SELECTION := $(if $(CI),,-m "not slow")

# ---------------------------------------------------------------- other Pythons, lowest versions
# Storms and browsers say nothing of a version that the other tests do not, and a database server
# nothing of a Python.
OTHERS := not browser and not slow

check-lowest: $(VENV)/.ready .venvs/lowest/.ready
	$(BIN)/python .ci/scripts/bounds.py .ci/requirements/lowest.txt
	.venvs/lowest/bin/python -m pytest -n 2 --junit-xml=$(REPORTS)/lowest.xml -m "$(OTHERS)" $(ARGS)

check-pythons: $(PYTHONS:%=check-python-%)

$(PYTHONS:%=check-python-%): check-python-%: .venvs/%/.ready
	.venvs/$*/bin/python -m pytest -n 2 --junit-xml=$(REPORTS)/python-$*.xml -m "$(OTHERS) and not server" $(ARGS)

# ---------------------------------------------------------------- the rest
demo: $(VENV)/.ready
	@ONCE=$(ONCE) exec $(BIN)/python -m example_app.demo

# Figures are printed and judged by nobody: only what breaks fails.
bench: .venvs/bench/.ready
	.venvs/bench/bin/python -m tests.benchmarks $(ARGS)

wheel: $(VENV)/.ready
	rm -rf dist
	$(BIN)/python -m pip --disable-pip-version-check wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	$(BIN)/python .ci/scripts/wheel_contents.py dist/*.whl

# The catalogues again, with the sentences of today; says what a translator has to do.
translations: $(VENV)/.ready
	$(BIN)/python .ci/scripts/translations.py

# The pinned lists again, from the newest versions that pyproject.toml admits.
locks:
	.ci/scripts/lock

clean:
	rm -rf $(VENV) .venvs .cache dist .coverage .coverage.*
