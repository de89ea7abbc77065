# One command each, from a clean clone with Python 3.11+ and make: `make demo`, `make test-fast`,
# `make test`, `make check`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= demo
PYTEST ?= -q -n 2 --dist worksteal
KERAS_TESTS := tests/keras tests/training/test_fit_keras.py

.PHONY: help demo picture test test-fast test-browser isolated check format clean

help:
	@echo "make demo    synthetic videos -> features -> training -> test -> prediction (OUT=$(OUT))"
	@echo "make test    every test, in all frameworks: ten minutes on two cores"
	@echo "make test-fast"
	@echo "             what takes seconds, in PyTorch alone: 75 seconds on two cores"
	@echo "make test-browser"
	@echo "             the served page in Chromium, which must be installed"
	@echo "make isolated each framework's tests by themselves, the other frameworks not installed"
	@echo "make picture the README's pictures, of the demo's folder"
	@echo "make check   format, lint, types, import directions"

$(VENV)/.base: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "timeception requires Python 3.11 or newer; choose it with make PYTHON=...")'
	@echo "== installing timeception into $(VENV)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	@echo "== installing the test tools and the other frameworks into $(VENV)"
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: $(VENV)/.base
	$(BIN)/timeception demo --out $(OUT)

# KERAS_BACKEND is one per process: everything runs on TensorFlow, then the Keras tests on the others.
test: $(VENV)/.dev
	OMP_NUM_THREADS=1 KERAS_BACKEND=tensorflow $(BIN)/python -m pytest $(PYTEST)
	OMP_NUM_THREADS=1 KERAS_BACKEND=jax $(BIN)/python -m pytest $(PYTEST) $(KERAS_TESTS)
	OMP_NUM_THREADS=1 KERAS_BACKEND=torch $(BIN)/python -m pytest $(PYTEST) $(KERAS_TESTS)

test-fast: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST) -m "not slow"

# Another environment, because Gradio may require older packages.
test-browser:
	$(PYTHON) -m venv build/browser
	build/browser/bin/python -m pip install --quiet --editable '.[serve,report]' playwright pytest hypothesis
	OMP_NUM_THREADS=1 build/browser/bin/python -m pytest -q tests/serving/test_browser.py tests/report/test_in_browser.py

isolated: isolated-torch isolated-jax isolated-keras-jax isolated-keras-tensorflow

isolated-torch: NEEDS := torch
isolated-torch: TESTS := tests/torch
isolated-jax: NEEDS := jax
isolated-jax: TESTS := tests/jax
isolated-keras-jax: NEEDS := keras jax
isolated-keras-jax: TESTS := tests/keras
isolated-keras-tensorflow: NEEDS := keras tensorflow-cpu
isolated-keras-tensorflow: TESTS := tests/keras tests/tensorflow

isolated-%:
	@echo "== $(TESTS) in build/isolated/$*, with $(NEEDS) alone"
	$(PYTHON) -m venv build/isolated/$*
	build/isolated/$*/bin/python -m pip install --quiet --no-deps --editable .
	build/isolated/$*/bin/python -m pip install --quiet h5py huggingface_hub safetensors typer rich \
		pytest pytest-xdist hypothesis $(NEEDS)
	OMP_NUM_THREADS=1 KERAS_BACKEND=$(lastword $(subst -, ,$*)) \
		build/isolated/$*/bin/python -m pytest $(PYTEST) $(TESTS)

picture: $(VENV)/.base
	$(BIN)/python examples/demo_picture.py $(OUT) docs/assets/demo.png
	$(BIN)/python examples/demo_animation.py $(OUT) docs/assets/demo_timeline.webp

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/plain_words.py

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
