# One command to serve, one to test, one to check. Each makes its own environment.
#
#   make serve     the demo on http://127.0.0.1:8000 (PORT=9000 make serve for another port)
#   make test      every test, on SQLite, and what builds a server three times more: on
#                  PostgreSQL, beside Valkey, and on both (RUNS=sqlite:none for one of them,
#                  ARGS="-x tests/guard" for some tests, one after the other)
#   make check     format, lint, types, import contracts, documents
#   make bench     benchmarks, side by side with peers (ONLY="guarded login" for some)
#   make lock      renew the pinned requirements
#
# PYTHON=python3.13 make test uses another Python; each has an environment of its own.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
VENV ?= .venv-$(VERSION)
BIN := $(VENV)/bin
PORT ?= 8000
UV := $(shell command -v uv)

ifeq ($(UV),)
  INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input
else
  INSTALL = $(UV) pip install --quiet --compile-bytecode --python $(BIN)/python
endif

# The tests start hundreds of processes; each would compile everything again.
export PYTHONDONTWRITEBYTECODE =

.PHONY: help serve test check format bench lock clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^#   //p' Makefile

$(VENV)/.made:
	$(PYTHON) -m venv $(VENV)
	touch $@

# The package itself comes last and without its dependencies: those are pinned.
$(VENV)/.serve: $(VENV)/.made requirements/run.txt pyproject.toml
	$(INSTALL) --require-hashes -r requirements/run.txt
	$(INSTALL) --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.dev: $(VENV)/.serve requirements/dev.txt
	$(INSTALL) --require-hashes -r requirements/dev.txt
	touch $@

# The peers pin older releases of what is shared, so they live apart.
.venv-bench/.made:
	$(PYTHON) -m venv .venv-bench
	touch $@

.venv-bench/.bench: .venv-bench/.made requirements/bench.txt
	.venv-bench/bin/python -m pip install --quiet --require-hashes -r requirements/bench.txt
	.venv-bench/bin/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

serve: $(VENV)/.serve
	@$(BIN)/watchword dev --app examples.demo:app --port $(PORT)

# A database, and what is beside it. All of them are run, whichever fails; some ARGS leave
# nothing to some of them, which is pytest's 5. Without ARGS, WORKERS share the tests, and those
# that measure time come after them, by themselves.
RUNS ?= sqlite:none postgresql:none sqlite:valkey postgresql:valkey
WORKERS ?= 3
PYTEST = TEST_DATABASE=$${run%:*} TEST_REDIS=$${run\#*:} $(BIN)/python -m pytest

test: $(VENV)/.dev
	@scripts/programs
	@failed=; for run in $(RUNS); do \
	  if [ -n "$(strip $(ARGS))" ]; then \
	    $(PYTEST) $(ARGS) || [ $$? = 5 ] || failed="$$failed $$run"; \
	  else \
	    $(PYTEST) -n $(WORKERS) --dist worksteal || failed="$$failed $$run"; \
	    TEST_QUIET=only $(PYTEST) || failed="$$failed $$run:quiet"; \
	  fi; \
	done; \
	if [ -n "$$failed" ]; then echo "failed:$$failed" >&2; exit 1; fi

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/honest.py

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv-bench/.bench
	.venv-bench/bin/python -m bench.run $(ONLY)

# Nothing younger than a week gets in, because most bad releases are found within days;
# but for the framework's release that the floor names.
COOLDOWN := $(shell date -u -d '7 days ago' +%Y-%m-%d)
COMPILE = uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url \
  --no-annotate --python-version 3.11 --exclude-newer $(COOLDOWN) \
  --exclude-newer-package fastapi=$(shell date -u +%Y-%m-%d)

lock:
	$(COMPILE) pyproject.toml --group build -o requirements/run.txt
	$(COMPILE) pyproject.toml --extra all --group build --group test --group check \
	  -c requirements/run.txt -o requirements/dev.txt
	$(COMPILE) pyproject.toml --group build --group bench -o requirements/bench.txt

clean:
	rm -rf .venv-* .pytest_cache .ruff_cache .mypy_cache .hypothesis
