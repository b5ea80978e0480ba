# make demo: set up what a user needs and run the demonstration · make test: set up the tools too and run all checks
# make test CHECK=--coverage: measure too which lines the tests run
# make sanitize: the compiled kernel under address, undefined-behaviour and thread sanitizers
PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip --quiet --disable-pip-version-check
KERNEL := CMakeLists.txt native/editable/CMakeLists.txt $(wildcard native/*.h native/*.cpp)

.PHONY: setup setup-test demo test sanitize clean

setup: $(VENV)/.done

setup-test: $(VENV)/.test

$(VENV)/.tools: constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Elman needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --constraint constraints.txt scikit-build-core pathspec nanobind cmake ninja
	touch $@

$(VENV)/.done: $(VENV)/.tools pyproject.toml $(KERNEL)
	$(PIP) install --constraint constraints.txt --no-build-isolation --editable ".[train,plot,serve]"
	touch $@

$(VENV)/.test: $(VENV)/.done
	$(PIP) install --constraint constraints.txt --no-build-isolation --editable ".[train,plot,serve,test]"
	touch $@

demo: setup
	$(VENV)/bin/elman demo

test: setup-test
	tools/check $(CHECK)

sanitize: $(VENV)/.tools
	tools/sanitize

clean:
	rm -rf $(VENV) build elman-demo .mypy_cache .ruff_cache .pytest_cache .hypothesis src/elman/_kernel*.so src/elman/no_kernel.txt
	find native/editable -mindepth 1 -maxdepth 1 ! -name CMakeLists.txt -exec rm -r {} +
