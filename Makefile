# Two commands: `make run` (the example study, rendered) and `make test`. Each sets up what it needs, once.

PYTHON ?= python3
VENV ?= .venv
STUDY ?= data/example/study.yml
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST := $(BIN)/python -m pytest -p no:cacheprovider
# One BLAS thread: small matrices run faster, and last digits do not depend on the load of the machine.
export OPENBLAS_NUM_THREADS ?= 1
export OMP_NUM_THREADS ?= 1
# Where the environment forbids to keep compiled modules, each of some hundred processes would compile its libraries.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run no-study test soak reports lab lock clean
# A study that is not there is named before anything is set up; study.yml?market=North is a part of study.yml.
run: $(if $(wildcard $(firstword $(subst ?, ,$(STUDY)))),,no-study) $(READY)  ## execute and render the study; the last line is the path of the index page
	@$(BIN)/cxresearch run '$(STUDY)'

# As collected, browsers and faults come first: sorted by their number of tests, long modules of few tests end last,
# while the other worker has nothing left to do.
test: $(READY)  ## everything but the slow proofs, then the committed report against a fresh execution
	$(PYTEST) -n 2 --dist loadscope --no-loadscope-reorder tests
	$(PYTEST) --nbval --nbval-cell-timeout=300 --nbval-kernel-startup-timeout=120 -n 2 --dist loadscope reports/example

soak: $(READY)  ## the whole of the slow proofs
	$(PYTEST) -n 2 --dist loadscope -m soak tests

reports: $(READY)  ## execute the example study into reports/example, byte for byte the same when nothing changed
	@$(BIN)/cxresearch run $(STUDY) --out reports/example --reproducible

no-study:
	@echo "there is no study file $(STUDY); name one with: make run STUDY=data/raw/study.yml" >&2; exit 2

lab: $(READY)  ## JupyterLab on the notebooks
	@$(BIN)/cxresearch lab

lock: $(READY)  ## write requirements.lock from pyproject.toml (uv.lock records addresses and stays uncommitted)
	$(BIN)/uv lock --upgrade --python $(BIN)/python
	$(BIN)/uv export --locked --no-hashes --no-emit-project --no-header --all-extras --quiet -o requirements.lock

clean:
	rm -rf $(VENV) uv.lock *.egg-info .pytest_cache

# uv installs in seconds; where it cannot see the package index that pip is set up for, pip does the same slowly.
$(READY): pyproject.toml requirements.lock
	@command -v $(PYTHON) >/dev/null || { echo "there is no $(PYTHON); install Python 3.11 or newer (Debian: python3 python3-venv), or name one with: make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name it with: make PYTHON=python3.12")'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) lacks the modules venv and ensurepip; install them (Debian: python3-venv), or name another with: make PYTHON=python3.12" >&2; exit 2; }
	@echo "setting up $(VENV) (once; a minute or so)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv || echo "uv is not to be had; pip it is"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock || \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e . || \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@
