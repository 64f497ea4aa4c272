# make demo: sets up, builds the sample corpus, trains small models on it, searches it.
# make serve: does that, writes the films that are searched, and serves a page that plays them.
# make test: sets up, checks style and types, tests; `pytest -m slow` runs the campaigns it leaves out.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/ready

.PHONY: demo serve test lint

# Written sentences about films of the test split, each true of a moment in them.
QUERIES := "the yellow oval leaps over the green cross" \
	"the orange star comes in from the right on the beach" "the purple ring wants to go home"

SERVE := $(RUN) -m hero_jax.search serve --model=exports/demo --index=indexes/demo --data=datasets/shapes_query

demo: indexes/demo.done
	$(RUN) -m hero_jax.search query $(QUERIES) --top=3 --model=exports/demo --index=indexes/demo \
		--page=runs/demo/found.html --data=datasets/shapes_query
	@echo
	@echo 'To search on a page that plays the films: make serve, or without the films'
	@echo '$(SERVE)'

serve: indexes/demo.done runs/demo/films.done
	$(SERVE) --videos=runs/demo/films

test: $(READY) lint
	$(RUN) -m pytest -m "not slow"

lint: $(READY)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/lint-imports --no-logo --no-cache
	$(VENV)/bin/mypy

# The steps of the demo. Each is skipped once it has finished, and resumed if it was interrupted.

datasets/shapes/clips: | $(READY)
	$(RUN) -m data.build shapes --out=datasets/shapes

datasets/shapes_query/clips: | $(READY)
	$(RUN) -m data.build shapes --queries=query --out=datasets/shapes_query

# A run draws its curves at its end; it has none if it was stopped before.
runs/shapes/curves.png: | datasets/shapes/clips
	$(RUN) main.py --config=configs/pretrain.py:shapes --workdir=runs/shapes
	@test -f $@

runs/demo/curves.png: | runs/shapes/curves.png datasets/shapes_query/clips
	$(RUN) main.py --config=configs/tvr.py:shapes --workdir=runs/demo --config.init_from=runs/shapes
	@test -f $@

exports/demo/model.json: runs/demo/curves.png
	@rm -rf exports/demo
	$(RUN) main.py --mode=export --workdir=runs/demo --out=exports/demo
	@touch $@

indexes/demo.done: exports/demo/model.json
	@rm -rf indexes/demo
	$(RUN) -m hero_jax.search index --model=exports/demo --data=datasets/shapes_query --split=test \
		--index=indexes/demo
	@touch $@

runs/demo/films.done: | $(READY)
	$(RUN) -m data.shapes --videos=runs/demo/films --split=test --num=150
	@touch $@

$(READY): requirements.txt constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; \
	  sys.exit(0 if v == (3, 11) else f"Python 3.11 is needed, this is {v[0]}.{v[1]}; run `make PYTHON=python3.11`.")'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $(READY)
