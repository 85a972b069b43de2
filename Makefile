# make run starts everything; make help says what else there is.

VENV := .venv
BIN := $(VENV)/bin
PATH := $(CURDIR)/$(BIN):$(PATH)
export PATH
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTHON ?=
ARGS ?=
WSTEST ?=

.PHONY: help run test test-slow autobahn chaos bench check clean
.DEFAULT_GOAL := help

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 16

run: $(VENV)/.installed ## install at the first time, start gateway and worker (http://localhost:8080/)
	@exec $(BIN)/honcho start

test: $(VENV)/.installed-dev ## run the tests; ARGS="-k word" hands options to pytest
	$(BIN)/python -m pytest $(ARGS)

test-slow: $(VENV)/.installed-dev ## run the tests that take long
	$(BIN)/python -m pytest -m slow $(ARGS)

autobahn: $(VENV)/.installed-dev ## run Autobahn's suite against our WebSocket class; WSTEST=/path/to/wstest
	CI=true WSTEST="$(WSTEST)" $(BIN)/python -m pytest -m slow tests/gateway/ws/test_autobahn.py $(ARGS)

chaos: $(VENV)/.installed-dev ## break the service under load by a plan and judge it; ARGS="--seconds 60 --seed 1"
	$(BIN)/python -m tests.chaos $(ARGS)

bench: $(VENV)/.installed-bench ## measure against others for an hour, rewrite docs/performance.md; ARGS="--rounds 3 --minutes 30"
	$(BIN)/python -m benchmarks all $(ARGS)

check: $(VENV)/.installed-dev ## format, lint, types and tests: what CI runs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@$(MAKE) --no-print-directory test

clean: ## remove the environment and all caches
	rm -rf $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps say that an install was finished. One that was broken off leaves `unfinished` behind and is made anew from
# nothing, because pip takes a package that is half there for a whole one.

$(VENV)/.installed: pyproject.toml
	$(call install,.)
	@touch $@

$(VENV)/.installed-dev: pyproject.toml
	$(call install,.[dev])
	@touch $(VENV)/.installed $@

$(VENV)/.installed-bench: pyproject.toml
	$(call install,.[bench])
	@touch $(VENV)/.installed $@

define install
@if [ -e $(VENV)/unfinished ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then rm -rf $(VENV); fi
@[ -d $(VENV) ] || { python=$$($(find_python)) && mkdir $(VENV) && : >$(VENV)/unfinished && "$$python" -m venv $(VENV); }
@: >$(VENV)/unfinished
@echo "Installing into $(VENV), which takes a minute ..."
@$(PIP) install --editable '$(1)'
@rm $(VENV)/unfinished
endef

# Prints the first Python that is new enough and can make environments; says in one line what is missing otherwise.
define find_python
missing=; for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11 python); do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	"$$python" -c 'import ensurepip, venv' 2>/dev/null && { echo "$$python"; exit 0; }; \
	missing="$$("$$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"; \
done; \
if [ "$$missing" ]; then echo "Python lacks venv, which makes environments: apt-get install $$missing (or python3-venv)" >&2; \
else echo "Python 3.11 or newer is needed and was not found (make PYTHON=/path/to/python names one)" >&2; fi; exit 1
endef
