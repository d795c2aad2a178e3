# Every target is one line that can also be typed; README.md shows them for Windows.
# make lab and make test each build the virtual environment first, on a machine with only Python.

PYTHON ?= python3
REPO ?=
ARGS ?=
VENV := .venv
PY := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts/python.exe,bin/python)

# One thread for each of the two test processes; more would only fight over the cores.
TEST_ENV := OMP_NUM_THREADS=1 MPLBACKEND=Agg

# Jupyter refuses to run as root unless told; and where there is no screen, "the browser" may
# be a text browser that takes the terminal away.
LAB_FLAGS := $(shell [ "$$(id -u)" != 0 ] || echo --allow-root) \
	$(shell [ -z "$$SSH_CONNECTION" ] && { [ "$$(uname)" = Darwin ] || [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ]; } || echo --no-browser)

.PHONY: help lab test notebooks network gallery scores bench home

help:
	@echo "make lab         open lesson 00 in JupyterLab"
	@echo "make test        run every test and every lesson"
	@echo "make notebooks   execute the lessons that changed (ARGS='01' for one, ARGS=--all)"
	@echo "make network     train the embedded networks again"
	@echo "make gallery     make the larger pictures in data/ again"
	@echo "make scores      make the score tables in data/ again"
	@echo "make bench       compare with other libraries"
	@echo "make home REPO=owner/name   write the repository's address everywhere"

USABLE = $(PY) -c 'import pip, sys; sys.exit(sys.version_info < (3, 10))' || { \
	echo "$(VENV) is broken, or its Python too old: delete it and try again"; exit 1; }

# A half-made environment is taken away again, else it would stand in the way of the next try.
$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "Python 3.10 or newer is needed, and $(PYTHON) is not: make lab PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/lab.stamp: pyproject.toml | $(PY)
	@$(USABLE)
	$(PY) -m pip install -e ".[lab]"
	@touch $@

# The controls are also tested with the ipywidgets that Colab has, kept apart from our own.
$(VENV)/test.stamp: pyproject.toml | $(PY)
	@$(USABLE)
	$(PY) -m pip install -e ".[test]"
	$(PY) -m pip install --upgrade --no-deps --target $(VENV)/ipywidgets-7.7.1 ipywidgets==7.7.1 ipython_genutils
	@touch $@

lab: $(VENV)/lab.stamp
	$(PY) -m jupyterlab --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb $(LAB_FLAGS) $(ARGS)

test: $(VENV)/test.stamp
	$(TEST_ENV) $(PY) -m pytest -n 2 --dist worksteal --nbmake --nbmake-timeout=900 tests notebooks $(ARGS)

notebooks: $(VENV)/test.stamp
	$(PY) .ci/notebooks.py $(ARGS)

network: $(VENV)/test.stamp
	$(PY) -m cnnvis_helpers.picturebook.training $(ARGS)

gallery: $(VENV)/test.stamp
	$(PY) .ci/gallery.py $(ARGS)

scores: $(VENV)/test.stamp
	$(PY) .ci/scores.py $(ARGS)

bench: $(VENV)/test.stamp
	$(PY) tests/benchmarks/bench.py $(ARGS)

home:
	$(PYTHON) .ci/home.py $(REPO)
