# Everything works on a machine that has nothing but Python >= 3.11 and make.
PYTHON ?= python3
BIN := .venv/bin
EXTRAS := .venv-extras/bin
# The build of PyTorch in .venv-extras. The version is that of tool.uv in pyproject.toml.
TORCH ?= torch==2.13.0
# Processes that share the tests: two more than there are cores, since tests wait for servers, retries
# and other processes. A file's tests stay in one, which starts its servers once; tests/conftest.py
# says which files are begun first.
WORKERS ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2) + 2 )))
PYTEST := pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
UV_VERSION := 0.13.9
export UV_NO_PROGRESS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Some containers tell Python to keep no compiled modules: every process of the tests would then compile
# all that it imports again (`safemlrm table asr`: 1.2 s of CPU instead of 0.55).
unexport PYTHONDONTWRITEBYTECODE
# Small matrices: in each worker, threads of numpy's OpenBLAS would wait for each other and keep cores busy.
export OPENBLAS_NUM_THREADS := 1

.PHONY: help demo test test-extras check lint chaos bench docs package format lock clean programs
.DEFAULT_GOAL := help

help:
	@echo "make demo         evaluate tiny bundled models on a harmless benchmark: answers in words, and a report"
	@echo "make test         check format, lint, types and imports, and run the tests"
	@echo "make test-extras  run the tests again with every extra installed, and measure their coverage"
	@echo "make check        the same as make test"
	@echo "make chaos        run the tests of faults, kills and flipped bits in full (minutes)"
	@echo "make bench        measure the engine against a bare HTTP loop (minutes)"
	@echo "make docs         build the docs site into site/"
	@echo "make package      build wheel and sdist into dist/ twice, and compare them"
	@echo "make format       format the code, and fix what the linter can fix"
	@echo "make lock         pin the dependencies anew, with hashes"

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

# A second environment with every extra. PyTorch comes first and by its version alone: its CPU builds
# are in no index that could be pinned here. pip takes one from your find-links, or what your index has.
.venv-extras/ready: requirements/extras.txt requirements/uv.txt pyproject.toml
	@test -x $(EXTRAS)/python || $(PYTHON) -m venv .venv-extras
	@$(EXTRAS)/python -m pip install --quiet --no-compile "$(TORCH)"
	@$(EXTRAS)/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	@$(EXTRAS)/uv pip install --quiet --python $(EXTRAS)/python --no-deps --require-hashes \
		-r requirements/extras.txt
	@$(EXTRAS)/uv pip install --quiet --python $(EXTRAS)/python --no-deps --no-build-isolation \
		--editable . --editable examples/plugin
	@$(EXTRAS)/uv pip check --quiet --python $(EXTRAS)/python
	@touch $@

# A browser for the report and LaTeX for its tables: Debian's, where one is missing and you are root.
programs:
	@{ command -v chromium && command -v pdflatex; } >/dev/null \
		|| test "$$(id -u)" != 0 || ! command -v apt-get >/dev/null \
		|| { apt-get update -qq && apt-get install -y -qq --no-install-recommends \
			chromium texlive-latex-recommended; } >/dev/null

demo: .venv/ready
	@$(BIN)/safemlrm demo

lint: .venv/ready
	@$(BIN)/ruff format --check --quiet . || { echo "run: make format"; exit 1; }
	@$(BIN)/ruff check .
	@$(BIN)/mypy --num-workers 2
	@$(BIN)/lint-imports

check: lint
	@$(BIN)/$(PYTEST) -m "not slow and not once and not browser" --part base

test: check

test-extras: .venv-extras/ready programs
	@$(EXTRAS)/$(PYTEST) -m "not slow" --part extras --cov --cov-report=

chaos: .venv/ready
	@$(BIN)/pytest tests/chaos tests/models/http

# BENCH="--long", or BENCH="--inspect-python PATH" to measure Inspect AI beside it.
bench: .venv/ready
	@$(BIN)/python benchmarks/engine.py $(BENCH)

# The generator of the site has an environment of its own: nothing of the package needs it.
.venv-docs/ready: requirements/docs.txt requirements/uv.txt
	@test -x .venv-docs/bin/python || $(PYTHON) -m venv .venv-docs
	@.venv-docs/bin/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	@.venv-docs/bin/uv pip sync --quiet --python .venv-docs/bin/python --require-hashes requirements/docs.txt
	@touch $@

docs: .venv-docs/ready
	@.venv-docs/bin/python scripts/build_docs.py

# The same bytes from the same commit: times of files come from SOURCE_DATE_EPOCH, the last commit's.
package: .venv/ready
	@rm -rf dist && export SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) && for out in dist dist/again; do \
		$(BIN)/uv build --quiet --no-build-isolation --python $(BIN)/python --out-dir $$out . || exit 1; done
	@for file in dist/opensafemlrm-*; do cmp $$file dist/again/$${file#dist/} || exit 1; done
	@rm -r dist/again && ls dist

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
		--group servers --group checks --no-emit-package torch --no-emit-package torchvision \
		-o requirements/extras.txt
	echo zensical | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header - -o requirements/docs.txt
	echo "uv==$(UV_VERSION)" | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header - -o requirements/uv.txt

clean:
	rm -rf .venv .venv-docs .venv-extras .docs site dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
