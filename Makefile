# Everything a developer or CI runs. `make` alone lists the targets.

PYTHON ?= python3.11
VENV ?= .venv
VENV_LOWEST ?= .venv-lowest
VENV_OBJECTS ?= .venv-objects
AZURITE = azurite@3.37.0
VENV_WAREHOUSES ?= .venv-warehouses
# The oldest Airflow that the package claims and the suite runs on.
LOWEST_AIRFLOW = 3.1.8

# uv when there is one, else the pip of the environment itself.
UV := $(shell command -v uv 2>/dev/null)
ifdef UV
new_venv = $(UV) venv --quiet --allow-existing --python $(PYTHON) $(1)
install = $(UV) pip install --quiet --python $(1)/bin/python
else
new_venv = $(PYTHON) -m venv $(1)
install = $(1)/bin/python -m pip install --quiet
endif

# The extra mysql is compiled, so it comes where its headers are; without, the tests on MariaDB say what is missing.
MYSQL := $(shell pkg-config --exists mysqlclient 2>/dev/null && echo ,mysql)

BIN = $(VENV)/bin
SHELL = /bin/bash
.SHELLFLAGS = -euo pipefail -c
.DEFAULT_GOAL = help
.DELETE_ON_ERROR:
.PHONY: help venv test lint format types unit system test-lowest test-object-stores test-warehouses docs demo ui compose-test constraints clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(VENV)/.dev ## create the development environment (PYTHON=... VENV=...)

# Stamps say what an environment was last filled with.
$(VENV)/.demo: pyproject.toml constraints.txt
	$(call new_venv,$(VENV))
	$(call install,$(VENV)) -c constraints.txt -e '.[demo]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	$(call new_venv,$(VENV))
	$(call install,$(VENV)) -c constraints.txt -e '.[dev$(MYSQL)]'
	touch $@

$(VENV_LOWEST)/.test: pyproject.toml constraints-lowest.txt
	$(call new_venv,$(VENV_LOWEST))
	$(call install,$(VENV_LOWEST)) -c constraints-lowest.txt -e '.[test$(MYSQL)]' apache-airflow==$(LOWEST_AIRFLOW)
	touch $@

$(VENV_OBJECTS)/.test: pyproject.toml constraints-objects.txt
	$(call new_venv,$(VENV_OBJECTS))
	$(call install,$(VENV_OBJECTS)) -c constraints-objects.txt -e '.[test-objects]'
	touch $@

# Azure's emulator, which is written for Node.
$(VENV_OBJECTS)/.azurite: Makefile
	mkdir -p $(VENV_OBJECTS)/azurite
	npm install --silent --no-audit --no-fund --ignore-scripts --prefix $(VENV_OBJECTS)/azurite $(AZURITE)
	touch $@

test: lint types unit system ## lint, types, and the whole suite

lint: $(VENV)/.dev ## ruff: rules and format; and that docs/ says what the code says
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python scripts/docs.py --check

format: $(VENV)/.dev ## let ruff fix and format the source
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.dev ## mypy
	$(BIN)/mypy

unit: $(VENV)/.dev ## the tests that need no running Airflow (ARGS=... for pytest)
	$(BIN)/pytest -n 2 --dist loadscope -m 'not system and not objectstore and not warehouse' $(ARGS)

system: $(VENV)/.dev ## the tests against Airflow's real components and other servers
	$(BIN)/pytest -m system $(ARGS)

# What meets Airflow, its providers or a database: the rest is arithmetic, which `make unit` has gone through already.
# Without the tests of the extra llm: the common.ai provider runs on the oldest Airflow, but needs newer releases of two
# other providers than the oldest that this package admits.
test-lowest: $(VENV_LOWEST)/.test ## what meets Airflow, on the oldest Airflow and providers of the range
	$(VENV_LOWEST)/bin/pytest -n 2 --dist loadscope -m 'not system and not llm and not objectstore' $(ARGS) \
		$(addprefix tests/,cli contract dag_factory delivery examples operators packaging runtime store ui wiring)
	$(VENV_LOWEST)/bin/pytest -m 'system and not llm and not celery' $(ARGS) tests/system tests/ui

# In an environment of its own: Google's libraries and those of the package's other extras want different releases of protobuf.
test-object-stores: $(VENV_OBJECTS)/.test $(VENV_OBJECTS)/.azurite ## models in Azure, Google Cloud Storage and on FTP (needs npm)
	PATH=$(abspath $(VENV_OBJECTS))/azurite/node_modules/.bin:$$PATH \
		$(VENV_OBJECTS)/bin/pytest -n 2 --dist loadscope -m objectstore tests/artifacts $(ARGS)

$(VENV_WAREHOUSES)/.test: pyproject.toml constraints-warehouses.txt
	$(call new_venv,$(VENV_WAREHOUSES))
	$(call install,$(VENV_WAREHOUSES)) -c constraints-warehouses.txt -e '.[test-warehouses]'
	touch $@

# The emulators are slow, not heavy. bqemulator's plugin for pytest wants a container.
test-warehouses: $(VENV_WAREHOUSES)/.test ## Snowflake, BigQuery and ClickHouse, on emulators or in process, and the others' hooks
	$(VENV_WAREHOUSES)/bin/pytest -p no:bqemulator -m warehouse $(ARGS) tests/warehouses

docs: $(VENV)/.dev ## write anew what in docs/ is made from the code
	$(BIN)/python scripts/docs.py

demo: $(VENV)/.demo ## find what really happened in New York's flights of 2013
	VENV=$(VENV) scripts/demo.sh

ui: $(VENV)/.demo ## open Airflow on what the demo left
	VENV=$(VENV) scripts/ui.sh

compose-test: ## bring docker-compose.yaml up, run the demo's DAG in it, look for its rows and its mail
	scripts/compose_test.sh

# Newest releases of everything, and the oldest of what pyproject.toml names, for the Python of $(PYTHON). Needs uv.
constraints: ## pin anew what the tests run on
	$(UV) pip compile --quiet --upgrade --python $(PYTHON) --extra dev --extra mysql \
		--no-annotate --no-header --no-emit-package anomstack-provider \
		pyproject.toml -o constraints.txt
	echo 'apache-airflow==$(LOWEST_AIRFLOW)' | $(UV) pip compile --quiet --upgrade --python $(PYTHON) --extra test --extra mysql \
		--resolution lowest-direct --no-annotate --no-header --no-emit-package anomstack-provider \
		pyproject.toml - -o constraints-lowest.txt
	$(UV) pip compile --quiet --upgrade --python $(PYTHON) --extra test-objects \
		--no-annotate --no-header --no-emit-package anomstack-provider \
		pyproject.toml -o constraints-objects.txt
	$(UV) pip compile --quiet --upgrade --python $(PYTHON) --extra test-warehouses \
		--no-annotate --no-header --no-emit-package anomstack-provider \
		pyproject.toml -o constraints-warehouses.txt

clean: ## remove the environments and what the tools leave behind
	rm -rf $(VENV) $(VENV_LOWEST) $(VENV_OBJECTS) $(VENV_WAREHOUSES) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
