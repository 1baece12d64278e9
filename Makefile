# Every target makes its own virtual environment when it is missing or out of date. `make help` lists them.
PYTHON ?= python3
PYTEST_ARGS ?= -n 2 --dist worksteal
BIN := .venv/bin
TYPES := build/types
MACHINE ?= cpu

.PHONY: help install demo test test-show docs docs-serve benchmark drill test-oldest test-transformers lint types linked ci clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

install: .venv/.installed ## make .venv with the package (editable) and everything its development needs

demo: install ## teach a tiny CLIP motion by prompts alone, on the CPU; results go to demo_output/
	$(BIN)/vita-clip demo --output demo_output

test: install ## run the tests
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-show: .venv/.show ## test the app in a browser, notebooks, the site, what its pages print, and packages; Chromium must be there
	$(BIN)/python -m pytest $(PYTEST_ARGS) --show tests/show

docs: .venv/.docs linked ## build the documentation's site into docs/site; warnings are errors
	$(BIN)/zensical build --clean --strict --config-file docs/zensical.toml

docs-serve: .venv/.docs linked ## show the documentation's site at http://localhost:8000, and again when a page changes
	$(BIN)/zensical serve --config-file docs/zensical.toml

benchmark: install ## measure docs/performance.md anew: half an hour on two quiet cores
	$(BIN)/python -m benchmarks all --out docs/performance/$(MACHINE).json --render docs/performance.md

drill: install ## damaged and odd videos, checkpoints that lie, strangers' pickles and URLs, training runs cut short: hours; renders docs/reliability.md
	PYTHONPATH=tests $(BIN)/python -m hostile.drill --render docs/reliability.md $(DRILL_ARGS)
	PYTHONPATH=tests $(BIN)/python -m hostile.videos --folder build/honest_videos --render docs/reliability.md
	PYTHONPATH=tests $(BIN)/python tests/checkpoint_drill.py --render docs/reliability.md

test-oldest: .venv-oldest/.installed ## run the tests with the oldest supported versions
	.venv-oldest/bin/python -m pytest $(PYTEST_ARGS)

test-transformers: install ## run transformers' own common tests, fetched from the package index; not part of `make ci`
	$(BIN)/python tests/transformers_common/run.py

lint: install ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install linked ## check types
	cd $(TYPES) && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache -p vita_clip_hf -p benchmarks

# modeling/ is installed as vita_clip_hf.modeling, hub_cards/ likewise, which tools that read sources cannot see: link all
# as they install.
linked:
	rm -rf $(TYPES)
	mkdir -p $(TYPES)/vita_clip_hf
	ln -s $(CURDIR)/vita_clip_hf/* $(CURDIR)/modeling $(CURDIR)/hub_cards $(TYPES)/vita_clip_hf/
	ln -s $(CURDIR)/benchmarks $(TYPES)/

ci: ## everything that must pass before a change is merged
	.ci/run

clean: ## remove what the other targets made
	rm -rf .venv .venv-oldest build demo_output docs/site docs/.cache .pytest_cache .mypy_cache .ruff_cache *.egg-info

.venv/.docs: .venv/.installed
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[docs]'
	@touch $@

.venv/.show: .venv/.installed
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[show]'
	@touch $@

.venv/.installed: constraints.txt
.venv-oldest/.installed: constraints-oldest.txt

# The stamp is written last and dropped first: an installation that was interrupted starts again from an empty folder.
%/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo 'Python 3.10 or newer is needed; name one with: make PYTHON=/path/to/python3' >&2; exit 1; }
	@if [ -e $@ ]; then rm $@; else $(PYTHON) -m venv --clear $*; fi
	$*/bin/python -m pip install --disable-pip-version-check --quiet --constraint $(filter constraints%,$^) --editable '.[dev]'
	@touch $@
