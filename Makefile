# The only commands: demo · test · check · docs · golden · bench · fuzz · processes
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo test check docs golden bench fuzz processes clean

demo: $(VENV)/.demo
	$(BIN)/segnosis demo --out runs/demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal
	KERAS_BACKEND=jax $(BIN)/python -m pytest -n $(JOBS) --dist worksteal tests/contracts -m "not one_backend"
	KERAS_BACKEND=torch $(BIN)/python -m pytest -n $(JOBS) --dist worksteal tests/contracts -m "not one_backend"

check: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.dev
	$(BIN)/python -m docs.build

golden: $(VENV)/.dev
	$(BIN)/python -m pytest tests/golden --regenerate

bench: $(VENV)/.dev
	$(BIN)/pip install --quiet --requirement benchmarks/requirements.txt --constraint constraints.txt
	$(BIN)/python -m benchmarks

fuzz: $(VENV)/.dev
	$(BIN)/python -m benchmarks.readers_fuzz --trials 100000

processes: $(VENV)/.dev
	$(BIN)/python -m benchmarks.processes

# A virtual environment is made once, and again when what it is made from changes.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --editable ".[tensorflow-cpu]" --constraint constraints.txt
	touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --editable ".[dev]" --constraint constraints.txt
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) build dist site runs src/*.egg-info
