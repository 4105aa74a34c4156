# make lab: everything set up, JupyterLab open on the first notebook.    make test: the same set-up and the whole test suite.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# The build looks for meson and ninja by name, and notes cython's place for later rebuilds from anywhere.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export CYTHON := $(CURDIR)/.venv/bin/cython
FIRST_NOTEBOOK := $(firstword $(sort $(wildcard notebooks/*.ipynb)))
LAB_ARGS ?=
TEST_ARGS ?=
# JupyterLab refuses to run as root unless told that this is meant, as in a container.
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)
BUILD_FILES := pyproject.toml meson.build $(shell find ext -type f)

.PHONY: lab test install lint bench clean

lab: install
	$(BIN)/jupyter lab $(AS_ROOT) --ServerApp.root_dir=$(CURDIR) $(FIRST_NOTEBOOK) $(LAB_ARGS)

test: install
	sh tests/browser/ensure_chromium.sh $(BIN)/python
	$(BIN)/python -m pytest --nbmake --nbmake-timeout=300 tests notebooks $(TEST_ARGS)

install: $(STAMP)

.venv/.requirements: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(STAMP): .venv/.requirements $(BUILD_FILES)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	touch $@

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install
	for script in benchmarks/kernel_*.py benchmarks/encodings.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf .venv build dist
