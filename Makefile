# Two commands for everybody: `make demo` and `make test`. Both need Python 3.11+ and gcc, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUTPUT ?= outputs/demo

.PHONY: demo test lint install results clean

# The stamp is newer than pyproject.toml when the environment fits it.
$(VENV)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"diffwave needs Python 3.11 or newer; {sys.executable} is {v.major}.{v.minor}. Choose another: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

install: $(VENV)/installed

demo: install
	$(BIN)/diffwave demo --output $(OUTPUT)

test: install
	$(BIN)/python -m pytest

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Rewrites docs/results-val.*, the README's tables and its picture: make results DATA=path/to/LibriSpeech
DATA ?= data/LibriSpeech
results: install
	mkdir -p docs/images
	$(BIN)/diffwave show-diffusion diffwave/assets/utterance.flac --output docs/images/diffusion.png --force
	$(BIN)/python benchmarks/quality.py --data $(DATA) --split val

clean:
	rm -rf $(VENV) outputs build *.egg-info
