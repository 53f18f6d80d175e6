# make demo: sets up and shows the main job on sample footage.   make test: sets up and runs every test and linter.
PYTHON ?= python3.11
PYTHON312 ?= python3.12
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
DEV := $(VENV)/.dev
RUN := $(VENV)/.run

.PHONY: demo test test-all test-pyav19 lint format types setup setup-dev clean lock doctor validate bench fuzz soak audit

demo: $(RUN)
	$(BIN)/videonovelty demo demo

# Whole files side by side, for their tests share footage: as many at a time as there are processors, at most four.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

test: lint types
	$(PYTEST) -m "not slow"

test-all: lint types
	$(PYTEST)

# The decoding tests with PyAV 19, which needs Python 3.12: make test-pyav19 PYTHON312=/path/to/python3.12
test-pyav19:
	$(MAKE) --no-print-directory setup-dev VENV=.venv-pyav19 PYTHON=$(PYTHON312)
	.venv-pyav19/bin/python -c 'import av; assert av.__version__.startswith("19."), av.__version__'
	.venv-pyav19/bin/python -m pytest -m "not slow" tests/test_decode.py tests/test_packets.py tests/test_keyframes.py \
	  tests/test_writer.py tests/test_sandbox.py tests/test_accounting.py tests/test_skipped.py tests/test_transparent.py

# 2,000 damaged copies of a clip in each of six containers, each signed in its locked process; some minutes.
fuzz: $(DEV)
	$(BIN)/python tests/faults/fuzz.py
	$(BIN)/python tests/fuzz_lists.py

# A scan killed with SIGKILL at 200 seeded moments ends like an undisturbed one.
soak: $(DEV)
	PYTHONPATH=tests $(BIN)/python tests/soak.py --kills 200

# Side by side with other programs; hours on an idle machine. One of them: make bench ONLY=end_to_end VIDEOS=folder
ONLY ?= all
bench: $(DEV)
	$(BIN)/python -m benchmarks $(ONLY) $(if $(VIDEOS),--videos $(VIDEOS))

# Bill of materials, licences and old libraries, down to the shared libraries inside wheels; fetches nothing.
audit: $(DEV)
	$(BIN)/python tests/audit.py --out audit

lint: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(DEV)
	$(BIN)/mypy

format: $(DEV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

setup: $(RUN)
setup-dev: $(DEV)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Python 3.11 or newer is needed; name it: make PYTHON=/path/to/python3 …"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "A virtual environment could not be made. On Debian: apt-get install python3-venv"; rm -rf $(VENV); exit 1; }

# The lock holds hashes: what is installed is what was tested. The project itself is used from this folder.
$(RUN): $(VENV)/bin/python requirements.lock pyproject.toml
	@echo "installing the locked packages into $(VENV): about a minute"
	$(PIP) install --quiet --require-hashes --only-binary :all: -r requirements.lock
	$(BIN)/python -m compileall -q videonovelty
	$(MAKE) --no-print-directory $(VENV)/.linked
	@touch $@

$(DEV): $(VENV)/bin/python requirements-dev.lock pyproject.toml
	@echo "installing the locked packages and the test tools into $(VENV): about two minutes"
	$(PIP) install --quiet --require-hashes --only-binary :all: -r requirements-dev.lock
	$(MAKE) --no-print-directory $(VENV)/.linked
	@touch $@ $(RUN)

# The build tool is in the lock as well, so nothing is fetched here.
$(VENV)/.linked: $(VENV)/bin/python pyproject.toml
	$(PIP) install --quiet --no-deps --no-build-isolation --no-index --editable .
	@touch $@

doctor: $(RUN)
	$(BIN)/videonovelty doctor

validate: $(RUN)
	$(BIN)/videonovelty validate --out validation

lock:
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate \
	  --no-header --python-version 3.11 --extra build --extra test --extra tune --extra report-xlsx pyproject.toml -o requirements-dev.lock
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate \
	  --no-header --python-version 3.11 --extra build -c requirements-dev.lock pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) demo validation audit build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
