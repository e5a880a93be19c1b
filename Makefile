# Two commands for everybody: `make demo` and `make test`. Both need Python 3.11+ and gcc, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUTPUT ?= outputs/demo
# What pip installs beside the package: dev for the tests; tts, serve, ray and onnx for what they test with the real packages.
EXTRAS ?= dev

.PHONY: demo test lint install results results-test bench bench-gpu clean

# The stamp, one for each choice of extras, is newer than pyproject.toml and the C kernel when the environment fits them.
INSTALLED := $(VENV)/installed-$(EXTRAS)
$(INSTALLED): pyproject.toml $(wildcard diffwave/kernels/csrc/*)
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"diffwave needs Python 3.11 or newer; {sys.executable} is {v.major}.{v.minor}. Choose another: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	touch $@

install: $(INSTALLED)

demo: install
	$(BIN)/diffwave demo --output $(OUTPUT)

test: install
	$(BIN)/python -m pytest

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Rewrites docs/results-val.* and the picture of the diffusion: make results DATA=path/to/LibriSpeech
DATA ?= data/LibriSpeech
results: install
	mkdir -p docs/images
	$(BIN)/diffwave show-diffusion diffwave/assets/utterance.flac --output docs/images/diffusion.png --force
	$(BIN)/python -m benchmarks.quality --data $(DATA) --split val

# Rewrites docs/results.*, the final page, and the README's table: of the test split, and of the corpora in OTHER (a
# folder for each); most of an hour with the machine to itself. After an interruption RESUME=1 keeps what was made by the same command and checkpoint.
OTHER ?=
RESUME ?=
results-test: install
	$(BIN)/python -m benchmarks.quality --data $(DATA) --split test $(if $(OTHER),--other $(OTHER)) $(if $(RESUME),--resume)

# How fast synthesis is, beside other vocoders: rewrites docs/benchmarks/synthesis.*; a quarter of an hour with the
# machine to itself. The other projects' packages are kept in PEERS, if that is set: make bench PEERS=peers
PEERS ?=
WITH_PEERS = $(if $(PEERS),--peers $(PEERS))
bench: install
	$(BIN)/python -m benchmarks.peers.synthesis $(WITH_PEERS)

# The same on a CUDA GPU, after the kernels and the training step, of which synthesis.md takes figures over.
bench-gpu: install
	$(BIN)/python -m benchmarks.kernels.gpu
	$(BIN)/python -m benchmarks.peers.training --only throughput --device cuda $(WITH_PEERS)
	$(BIN)/python -m benchmarks.peers.synthesis --device cuda $(WITH_PEERS)

clean:
	rm -rf $(VENV) outputs build *.egg-info
