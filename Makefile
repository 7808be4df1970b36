# Everything a person does with a clone. Needs GNU make, a shell and Python 3.11 or 3.12.

VENV := .venv
PY := $(VENV)/bin/python
PIP_INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check --no-input --require-hashes
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))
PYTHON ?= $(shell for python in python3 python3.12 python3.11; do \
	$$python -c '$(FITS)' 2>/dev/null && { echo $$python; break; }; done)
LOCK := $(PY) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock" pyproject.toml

CATALOGUES := $(patsubst %.po,%.mo,$(wildcard locale/*/LC_MESSAGES/django.po))

.DEFAULT_GOAL := help
.PHONY: help install install-test run stop restart logs shell test test-long check format docs messages bench drill soak release lock

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

install: $(VENV)/.run-installed $(CATALOGUES) ## what the product needs, into .venv

install-test: $(VENV)/.test-installed $(CATALOGUES) ## what tests and checks need, into .venv

run: install ## everything on this machine until Ctrl-C; HOST, PORT, WEB_WORKERS and TITANIC_HOME say where
	@exec $(PY) manage.py up

stop: install ## stop a running `make run`
	@$(PY) manage.py up --stop

restart: install ## have a running `make run` stop and start again: new code, new settings
	@$(PY) manage.py up --restart

logs: ## follow the logs
	@exec tail -n 50 -F $${TITANIC_HOME:-var}/logs/*.log

shell: install ## a Python shell with the models
	@exec $(PY) manage.py shell

test: install-test ## tests, a worker for each core; ARGS="-k word" for some, ARGS="-n 0" in one process
	@exec $(PY) -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder -m "not long" $(ARGS)

test-long: install-test ## what takes volume or patience, which `make test` leaves out
	@exec $(PY) -m pytest -m long --timeout 3600 $(ARGS)

check: install-test ## format, lint, types, import contracts, migrations, templates, documents
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy .
	$(VENV)/bin/lint-imports
	$(PY) manage.py makemigrations --check --dry-run
	$(PY) -m tools.lint_migrations
	$(VENV)/bin/djlint templates --check --lint
	$(PY) -m properdocs build --quiet

format: install-test ## fix what can be fixed automatically
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .
	$(VENV)/bin/djlint templates --quiet --reformat

docs: install-test ## the documents as a site, site/index.html
	@$(PY) -m properdocs build --quiet

messages: install ## bring the translations in locale/ in step with the code
	$(PY) -m core.translations

bench: install-test ## measure what is promised, in some 20 minutes, also into benchmarks/results.json; ARGS=serving for a part
	@exec $(PY) -m benchmarks $(ARGS)

drill: install-test ## faults, several hosts, an upgrade and Compose's services, in some 40 minutes; ARGS=Valkey or ARGS=Compose for some
	@exec $(PY) -m drills $(ARGS)

soak: install-test ## an hour of mixed load, and what stays flat, into docs/soak.md; ARGS="--minutes 10" for less
	@exec $(PY) -m drills.soak --report docs/soak.md $(ARGS)

release: install-test ## check, tag and write the notes of a version, as ARGS=0.3.0; push it yourself
	@$(PY) -m tools.release $(ARGS)

lock: $(PY) ## compile requirements/*.txt again; ARGS=--upgrade for newer versions
	@$(PY) -m uv --version >/dev/null 2>&1 || { echo "uv is missing: run make install-test first."; exit 1; }
	$(LOCK) --output-file requirements/run.txt $(ARGS)
	$(LOCK) --output-file requirements/test.txt --group test --constraints requirements/run.txt $(ARGS)

# The real file behind the link is looked at: a venv whose interpreter is gone is made and filled again.
$(PY):
	@$(or $(PYTHON),false) -c '$(FITS)' || { \
		echo "Python 3.11 or 3.12 is needed: install one, or name it, as in make run PYTHON=/usr/bin/python3.11."; exit 1; }
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make a virtual environment: install its venv module (Debian: apt install python3-venv)."; exit 1; }

$(VENV)/.run-installed: requirements/run.txt $(PY)
	@echo "Installing into $(VENV): a few minutes the first time"
	@$(PIP_INSTALL) -r requirements/run.txt
	@touch $@

$(VENV)/.test-installed: requirements/test.txt $(VENV)/.run-installed
	@echo "Installing what tests need into $(VENV)"
	@$(PIP_INSTALL) -r requirements/test.txt
	@touch $@

%.mo: %.po $(VENV)/.run-installed
	@$(VENV)/bin/pybabel --quiet compile --input-file $< --output-file $@.$$$$ && mv $@.$$$$ $@
