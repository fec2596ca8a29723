# make demo | test | test-all | check | fix | bench | storm      (each sets up what it needs in .venv first)
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# Bytecode is kept whatever the shell says: a hundred processes import the same (0.3 s each), and pytest rewrites it.
export PYTHONDONTWRITEBYTECODE :=
DEMO := --categories breakfast_box juice_bottle screw_bag --train 20 --validation 6 --good 10 --logical 13 --structural 10

.PHONY: demo test test-all check fix bench storm clean

# Workers take tests in runs of neighbours, so that what a file shares is mostly made once; eight, because each
# holds a torch of its own (1 GiB). One more than cores: some wait for a Ray to start, or for a process to die.
WORKERS := $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )))
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --maxprocesses 8 --dist worksteal --durations 10

$(READY): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $(READY)

demo: $(READY)
	$(BIN)/python -m harness.data demo data/demo $(DEMO)
	$(BIN)/python -m harness.sweep configs/demo.yaml
	$(BIN)/python -m reports runs/demo
	@echo "open runs/demo/report/report.html"

test: $(READY)
	$(PYTEST) -m "not slow"

test-all: $(READY)
	$(PYTEST)

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

fix: $(READY)
	$(BIN)/python -m harness.list --write
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python -m benchmarks

storm: $(READY)
	$(BIN)/python tests/cluster/storm.py --kills 200

clean:
	rm -rf .venv build dist *.egg-info
