# `make demo` and `make test` do all set-up themselves; the rest is for those who work on Driftline.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
BENCH  ?= .venv-bench
KAFKA  := scripts/kafka
STAMP  := $(VENV)/.installed
NATIVE := setup.py $(wildcard models/compiled/src/*)

.PHONY: demo test sim chaos check bench format docs kafka-up kafka-down clean

$(STAMP): pyproject.toml $(NATIVE)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Driftline needs Python 3.11 or newer; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "Installing Driftline and its tools into $(VENV) (a minute, once)..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable '.[embedded,flights,mlflow,plot]' --group dev
	@touch $@

demo: $(STAMP)  ## The main job in a minute, with embedded servers
	@$(BIN)/driftline demo

test: $(STAMP)  ## All tests; a real Kafka is started from Maven artifacts
	@$(BIN)/python -m pytest $(ARGS)

sim: $(STAMP)  ## Thousands of seeds of simulated faults
	@$(BIN)/python scripts/sim $(ARGS)

chaos: $(STAMP)  ## A real cluster, broken for ten minutes and audited
	@$(BIN)/python scripts/chaos $(ARGS)

check: $(STAMP)  ## Format, lint, types, layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(STAMP)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: $(STAMP)  ## Write what is generated: docs/configuration.md, docs/topology.svg
	@$(BIN)/driftline config reference > docs/configuration.md
	@$(BIN)/driftline topology -c fraud --svg docs/topology.svg

# Of its own: Quix Streams holds some of our dependencies back.
$(BENCH)/.installed: pyproject.toml $(NATIVE)
	@echo "Installing Driftline and its peers into $(BENCH) (a minute, once)..."
	@$(PYTHON) -m venv $(BENCH)
	@$(BENCH)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	@PYTHONWARNINGS=ignore $(BENCH)/bin/python -m pip install --quiet --editable '.[embedded]' --group bench
	@touch $@

bench: $(BENCH)/.installed  ## The worker against its peers on one broker, in one run
	@$(BENCH)/bin/python -m benchmarks.throughput $(ARGS)

kafka-up:  ## A real Kafka for development; prints its address
	@$(KAFKA) up $(ARGS)

kafka-down:
	@$(KAFKA) down $(ARGS)

clean:
	rm -rf $(VENV) $(BENCH) build dist *.egg-info models/compiled/*.so
