# make site: build the site into site/.  make test: build the site and run every test.
# make test-all: tests that need an environment of their own (nox).
# make serve: the site with live reload.  make lint: ruff, mypy, import-linter.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Notices of Material and ProperDocs about MkDocs 2: mkdocs is pinned below 2.
export NO_MKDOCS_2_WARNING := 1
export DISABLE_MKDOCS_2_WARNING := true
# Tests start a hundred processes: the bytecode of the first is for all.
unexport PYTHONDONTWRITEBYTECODE

# What torch brings for CUDA; which build of torch is installed is the machine's choice.
CUDA := cuda-bindings cuda-pathfinder cuda-toolkit triton $(addprefix nvidia-,cublas cuda-cupti \
  cuda-nvrtc cuda-runtime cudnn-cu13 cufft cufile curand cusolver cusparse cusparselt-cu13 \
  nccl-cu13 nvjitlink nvshmem-cu13 nvtx)

.PHONY: site serve test tests test-all lint bench hashes clean

site: $(STAMP)
	$(BIN)/mkdocs build --strict

serve: $(STAMP)
	$(BIN)/mkdocs serve

test: $(STAMP)
	$(MAKE) --jobs=2 site tests

tests: $(STAMP)
	$(BIN)/pytest

test-all: $(STAMP)
	$(BIN)/nox

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python -m benchmarks.analyze
	$(BIN)/python -m benchmarks.browser
	$(BIN)/python -m benchmarks.build
	$(BIN)/python -m benchmarks.live
	$(BIN)/python -m benchmarks.sweep

# constraints-hashes.txt from constraints.txt; needs uv.
hashes:
	printf 'pip\neditables\n' | uv pip compile --quiet --universal --generate-hashes --no-annotate \
	  --python-version 3.11.7 --custom-compile-command 'make hashes' \
	  --constraint constraints.txt --extra test --extra docs \
	  $(addprefix --no-emit-package ,torch $(CUDA)) \
	  --output-file constraints-hashes.txt pyproject.toml -

$(STAMP): pyproject.toml constraints.txt constraints-hashes.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"mkdocs-dsocr needs Python 3.11 or newer, found {sys.version.split()[0]} ({sys.executable}); choose another with: make PYTHON=python3.12 site")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement constraints-hashes.txt
	$(BIN)/python -m pip install --quiet --no-build-isolation --constraint constraints.txt --editable '.[test,docs]'
	@touch $@

clean:
	rm -rf $(VENV) site dist tmp
