# make lab: everything set up, JupyterLab open on the first notebook.    make test: the same set-up and the whole test suite.
# make app: the lab as a page of its own, without a notebook around it.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# The build looks for meson and ninja by name, and notes cython's place for later rebuilds from anywhere.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export CYTHON := $(CURDIR)/.venv/bin/cython
FIRST_NOTEBOOK := $(firstword $(sort $(wildcard notebooks/*.ipynb)))
LAB_ARGS ?=
APP_ARGS ?=
TEST_ARGS ?=
# JupyterLab refuses to run as root unless told that this is meant, as in a container.
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)
BUILD_FILES := pyproject.toml meson.build meson.options $(shell find ext -type f)

# notebooks is a folder as well
.PHONY: lab app test notebooks install lint bench docs sanitize clean

lab: install
	$(BIN)/jupyter lab $(AS_ROOT) --ServerApp.root_dir=$(CURDIR) $(FIRST_NOTEBOOK) $(LAB_ARGS)

app: install
	$(BIN)/voila notebooks/app/lab.ipynb $(APP_ARGS)

# The notebooks run twice: with the solutions here, and without, as learners get them, for the site that tests/docs builds.
test: install
	sh tests/browser/ensure_chromium.sh $(BIN)/python
	$(BIN)/seerlab course build/course
	$(BIN)/python -m pytest --nbmake --nbmake-timeout=300 tests notebooks/app build/course/source $(TEST_ARGS)

# The notebooks as learners get them, from their text.
notebooks: install
	$(BIN)/seerlab course --release notebooks

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

# The site, in docs/_build/html; EXECUTE=1 runs the notebooks for it. A warning is an error, a name without a page too.
EXECUTE ?= 0
docs: install
	$(BIN)/python -m sphinx -b html -W --keep-going -n docs docs/_build/html $(if $(filter 1,$(EXECUTE)),-D nb_execution_mode=force)

# Every compiled module built with AddressSanitizer and UndefinedBehaviorSanitizer, under the tests that run it. The tests
# are copied: beside the sources they would import those. Leaks are not looked for: the interpreter leaks by itself.
SANITIZED := build/sanitize
SANITIZERS := -Db_sanitize=address,undefined -Db_lundef=false -Dbuildtype=debugoptimized
SANITIZE_TESTS ?= tests/kernels tests/encodings
sanitize: install
	rm -rf $(SANITIZED)/venv $(SANITIZED)/tests
	mkdir -p $(SANITIZED)
	$(BIN)/python -m venv --without-pip $(SANITIZED)/venv
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" \
	  > "$$($(SANITIZED)/venv/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/packages.pth"
	$(SANITIZED)/venv/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps . \
	  $(SANITIZERS:%=-Csetup-args=%) -Cbuild-dir=$(SANITIZED)/build
	cp -r tests pyproject.toml $(SANITIZED)
	grep -q __asan_report $(SANITIZED)/venv/lib/python*/site-packages/seerlab/kernels/_masked_conv.*
	cd $(SANITIZED) && ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
	  LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libstdc++.so)" \
	  venv/bin/python -m pytest -p no:cacheprovider $(SANITIZE_TESTS) $(TEST_ARGS)

clean:
	rm -rf .venv build dist docs/_build docs/generated
