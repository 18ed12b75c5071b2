# Each target works from a fresh clone: it makes .venv from pinned versions first. What ddrs is
# measured beside gets an environment of its own, .venv-bench, so that it cannot change ours.
# PIP_EXTRA_INDEX_URL may point pip to PyTorch's CPU builds; the default build works too.

PYTHON ?= python3
BIN := .venv/bin
KILLS ?= 500
ALTERED ?= 20000
LOAD ?= 50

.PHONY: install demo test stress lint bench constraints clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("ddrs needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: install
	$(BIN)/ddrs demo --out runs/demo

test: install
	$(BIN)/python -m pytest -n 2

# Hundreds of kills over the life of one store, thousands of lives of small ones, thousands of
# altered runs, memories, exports and logs (by parts with DDRS_ALTERED_FROM); threads, stores that
# go back and answers that are asked for again under load.
stress: install
	DDRS_KILLS=$(KILLS) DDRS_ALTERED=$(ALTERED) DDRS_LOAD=$(LOAD) HYPOTHESIS_PROFILE=long \
	  $(BIN)/python -m pytest -n 2 -o faulthandler_timeout=0 \
	  tests/memory/test_kills.py tests/memory/test_lifecycle.py tests/memory/test_replaced.py \
	  tests/finished/test_damaged_runs.py tests/finished/test_damaged_memories.py \
	  tests/smoothing/test_threads.py tests/smoothing/test_asking_again.py

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv-bench/installed
	.venv-bench/bin/python -m benchmarks $(BENCH)

# Without their requirements, so that no peer brings another torch; the run says which could not be
# installed.
.venv-bench/installed: pyproject.toml constraints.txt benchmarks/peers.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[compile,hf,postgresql]' statsmodels
	grep -v '^#' benchmarks/peers.txt | while read -r peer; do \
	  .venv-bench/bin/python -m pip install --disable-pip-version-check --no-deps "$$peer" \
	    || echo "$$peer cannot be installed"; \
	done
	touch $@

constraints:
	( echo '# The versions that make install gives every machine. Made again with: make constraints'; \
	  $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu//' ) > constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf .venv .venv-bench build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
