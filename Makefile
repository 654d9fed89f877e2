# Thin on purpose: each target is one or two commands that can be typed by hand.
#   make PYTHON=python3.12 demo    another interpreter for .venv
#   make ARGS="-k embedded" test   arguments for pytest
#   make release                   wheel and sdist in dist/, looked at and tried out
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help install demo lab labextension test check lint types bench chaos fmt docs release clean

help:  ## say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

install: $(VENV)/.installed  ## make .venv and install funcx-lab with everything a user needs
demo: $(VENV)/.installed  ## run notebooks/01-quickstart.ipynb here, print it, leave nothing behind
	@$(BIN)/python scripts/demo.py $(ARGS)

lab: $(VENV)/.installed  ## open JupyterLab on the notebooks with everything running
	@$(BIN)/python scripts/labextension.py --or-go-on
	@$(BIN)/funcx-lab lab $(ARGS)

labextension: $(VENV)/.installed  ## build JupyterLab's part of it, unless that is done
	@$(BIN)/python scripts/labextension.py $(ARGS)

test: $(VENV)/.installed-dev  ## the tests, at most 15 minutes
	@$(BIN)/pytest -m "not slow" $(ARGS)

check: lint types labextension $(VENV)/.installed-dev  ## lint, types, import contracts and all tests: what CI runs
	@$(BIN)/pytest $(ARGS)

lint: $(VENV)/.installed-dev  ## style and import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports

types: $(VENV)/.installed-dev  ## mypy, strict
	@$(BIN)/mypy

bench: $(VENV)/.installed-bench  ## measure ours and the peers, write docs/benchmarks.md
	@$(BIN)/python -m benchmarks.run $(ARGS)

chaos: $(VENV)/.installed-dev  ## kill and freeze programs while tasks run, write docs/reliability.md
	@$(BIN)/python -m chaos.run $(if $(KILLS),--kills $(KILLS)) $(if $(TASKS),--tasks $(TASKS)) \
		$(if $(SEED),--seed $(SEED)) $(ARGS)
	@$(if $(HISTORIES),$(BIN)/python -m chaos.histories --histories $(HISTORIES) --write)

fmt: $(VENV)/.installed-dev  ## format, and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: $(VENV)/.installed-dev  ## write the generated pages of docs/reference again
	@$(BIN)/python scripts/write_reference.py

release: $(VENV)/.installed-release  ## build sdist and wheel, look into them and try the wheel out
	@$(BIN)/python scripts/release.py

clean:  ## remove .venv and what tools left; ~/.funcx_lab is yours and stays
	rm -rf $(VENV) labextension/node_modules labextension/lib labextension/funcx_lab_labextension/labextension
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# The stamps lie inside .venv: whoever removes it removes them.
$(VENV)/.installed: pyproject.toml scripts/bootstrap.py
	@$(PYTHON) scripts/bootstrap.py $(VENV)
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(PYTHON) scripts/bootstrap.py $(VENV) test lint
	@touch $@

$(VENV)/.installed-release: $(VENV)/.installed
	@$(PYTHON) scripts/bootstrap.py $(VENV) release
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed
	@$(PYTHON) scripts/bootstrap.py $(VENV) bench
	@touch $@
