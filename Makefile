# make demo: set up, build the sample corpus, pre-train a small model on it. make test: set up, test
# without the tests marked slow, which `pytest -m slow` runs.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/ready

.PHONY: demo test lint

demo: $(READY) datasets/shapes/clips
	$(RUN) main.py --config=configs/pretrain.py:shapes --workdir=runs/shapes

test: $(READY) lint
	$(RUN) -m pytest -m "not slow"

lint: $(READY)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/lint-imports --no-logo --no-cache

datasets/shapes/clips: | $(READY)
	$(RUN) -m data.build shapes --out=datasets/shapes

$(READY): requirements.txt constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; \
	  sys.exit(0 if v == (3, 11) else f"Python 3.11 is needed, this is {v[0]}.{v[1]}; run `make PYTHON=python3.11`.")'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $(READY)
