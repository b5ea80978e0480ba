# make demo: set everything up and run the main job · make test: set everything up and run all checks
PYTHON ?= python3
VENV := .venv

.PHONY: setup demo test clean

setup: $(VENV)/.done

$(VENV)/.done: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Elman needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt scikit-build-core pathspec
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-build-isolation --editable ".[train,test]"
	touch $@

demo: setup
	$(VENV)/bin/elman demo

test: setup
	tools/check

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
