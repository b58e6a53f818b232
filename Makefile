# Everything works on a machine that has nothing but Python >= 3.11 and make.
PYTHON ?= python3
BIN := .venv/bin
EXTRAS := .venv-extras/bin
# The build of PyTorch in .venv-extras. The version is that of tool.uv in pyproject.toml.
TORCH ?= torch==2.13.0
UV_VERSION := 0.13.9
export UV_NO_PROGRESS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test check chaos bench format lock clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    tiny real models on the bundled harmless benchmark, with tables and a report"
	@echo "make test    format, lint, types, arrows and tests: what CI runs"
	@echo "make check   the same"
	@echo "make chaos   the suites of faults and kills in their whole form (minutes)"
	@echo "make bench   the engine beside the limit of its HTTP client (a few minutes)"
	@echo "make format  put the code into the project's form"
	@echo "make lock    pin the dependencies anew, with hashes"

# The environment: uv from pip, then exactly what requirements/ pins, then this project.
.venv/ready: requirements/dev.txt requirements/uv.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name it with make PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv \
		|| { echo "python3 -m venv does not work here; on Debian: apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation \
		--editable . --editable examples/plugin
	@touch $@

demo: .venv/ready
	@$(BIN)/safemlrm demo

check: .venv/ready
	@$(BIN)/ruff format --check --quiet . || { echo "run: make format"; exit 1; }
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/pytest -m "not slow"

test: check

chaos: .venv/ready
	@$(BIN)/pytest tests/chaos

# BENCH="--long", or BENCH="--inspect-python PATH" to measure Inspect AI beside it.
bench: .venv/ready
	@$(BIN)/python benchmarks/engine.py $(BENCH)

format: .venv/ready
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# Not through .venv/ready: that would first bring the environment to the pins that are outdated.
lock:
	@test -x $(BIN)/uv || $(MAKE) .venv/ready
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header pyproject.toml --group dev -o requirements/dev.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header pyproject.toml --all-extras --group dev --group research \
		--no-emit-package torch --no-emit-package torchvision \
		-o requirements/extras.txt
	echo "uv==$(UV_VERSION)" | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header - -o requirements/uv.txt

clean:
	rm -rf .venv dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
