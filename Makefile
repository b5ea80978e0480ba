# make demo: set everything up and run the main job · make test: set everything up and run all checks
# make sanitize: the compiled kernel under address, undefined-behaviour and thread sanitizers
PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip --quiet --disable-pip-version-check
KERNEL := CMakeLists.txt native/editable/CMakeLists.txt $(wildcard native/*.h native/*.cpp)

.PHONY: setup demo test sanitize clean

setup: $(VENV)/.done

$(VENV)/.tools: constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Elman needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --constraint constraints.txt scikit-build-core pathspec nanobind cmake ninja
	touch $@

$(VENV)/.done: $(VENV)/.tools pyproject.toml $(KERNEL)
	$(PIP) install --constraint constraints.txt --no-build-isolation --editable ".[train,plot,serve,test]"
	touch $@

demo: setup
	$(VENV)/bin/elman demo

test: setup
	tools/check

sanitize: $(VENV)/.tools
	tools/sanitize

clean:
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis src/elman/_kernel.* src/elman/no_kernel.txt
	find native/editable -mindepth 1 -maxdepth 1 ! -name CMakeLists.txt -exec rm -r {} +
