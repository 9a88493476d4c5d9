# Two commands do it all on a fresh machine with Python 3.11 and g++: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
VENV_TF217 ?= .venv217
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo test test-all test-gpu test-tf217 test-matrix lint docs clean

demo: $(VENV)/.installed
	$(BIN)/python scripts/demo.py

test: lint
	$(BIN)/python -m pytest -m "not slow and not gpu and not tf217"

# The slow suites too: every model of the zoo, the 2.5 GB model, the stock converter's environment.
test-all: lint test-tf217
	$(BIN)/python -m pytest -m "not gpu and not tf217"

# TensorFlow's own converter, in an environment of its own: it needs older NumPy and protobuf.
test-tf217: $(VENV_TF217)/.installed
	CUDA_VISIBLE_DEVICES=-1 $(VENV_TF217)/bin/python -m pytest -m tf217 tests/tf217

# Every test that needs a GPU: no other is run with one, and these are run in no other way.
test-gpu: $(VENV)/.installed
	$(BIN)/python -m pytest -m gpu

# The ops and a smoke suite on TensorFlow 2.18 to 2.21; writes the table into the documents.
test-matrix: $(VENV)/.installed
	$(BIN)/python scripts/test_matrix.py --write

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# What is generated from code, and the site in site/; a test fails where one is stale or warns.
docs: $(VENV)/.installed
	$(BIN)/python -m tftrt_toolkit.support.table
	$(BIN)/python scripts/error_table.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --site-dir site

$(VENV)/.installed: setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 is needed: make PYTHON=/path/to/python3.11" if sys.version_info[:2] < (3, 11) else 0)'
	@command -v g++ >/dev/null || { echo "g++ is needed to compile the TensorFlow ops: install it (apt-get install g++)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[rtx,test]'
	touch $@

$(VENV_TF217)/.installed:
	$(PYTHON) -m venv $(VENV_TF217)
	$(VENV_TF217)/bin/python -m pip install --quiet tensorflow==2.17.1 "absl-py>=2" "rich>=13" "pytest>=8"
	touch $@

clean:
	rm -rf $(VENV) $(VENV_TF217) .matrix build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
