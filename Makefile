# Everything sets itself up: Python 3.11 to 3.13 and make are all that must be there.
# Written for GNU make 3.81, which is what macOS has.

VENV ?= .venv
export VENV PYTHON

help: ## say what there is (the default)
	@echo 'usage: make TARGET'
	@sed -n 's/^\([a-z]*\):.* ## \(.*\)/  \1  \2/p' Makefile | \
		while read -r target what; do printf '  %-12s %s\n' "$$target" "$$what"; done

demo: ## a simulated board, the daemon and a local IoT Central; MINUTES=2 ends it by itself
	@sh deploy/venv.sh central
	@$(VENV)/bin/sensor-agent demo $(if $(MINUTES),--minutes $(MINUTES))

test: ## run the tests; ARGS="-k outbox" goes to pytest
	@sh deploy/venv.sh test
	@$(VENV)/bin/python -m pytest $(ARGS)

lint: ## check style and types
	@sh deploy/venv.sh test
	@$(VENV)/bin/python -m ruff check
	@$(VENV)/bin/python -m ruff format --check
	@$(VENV)/bin/python -m mypy

format: ## bring the code into form
	@sh deploy/venv.sh test
	@$(VENV)/bin/python -m ruff check --fix --exit-zero
	@$(VENV)/bin/python -m ruff format

constraints: ## write constraints.txt anew, with today's versions
	@sh deploy/venv.sh constraints

clean: ## remove what was made here
	rm -rf .venv .venv-* build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find agent central hw tests -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help demo test lint format constraints clean
