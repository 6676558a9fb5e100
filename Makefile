# The targets set up what they need. Python 3.11 to 3.14 and make must be installed.
# Written for GNU make 3.81, which is what macOS has.

VENV ?= .venv
export VENV PYTHON

help: ## say what there is (the default)
	@echo 'usage: make TARGET'
	@sed -n 's/^\([a-z0-9-]*\):.* ## \(.*\)/  \1  \2/p' Makefile | \
		while read -r target what; do printf '  %-12s %s\n' "$$target" "$$what"; done

demo: ## a simulated board, the daemon and a local IoT Central; MINUTES=2 ends it by itself
	@sh deploy/venv.sh central
	@"$(VENV)/bin/sensor-agent" demo $(if $(MINUTES),--minutes $(MINUTES))

test: ## run the tests; ARGS="-k outbox" goes to pytest
	@sh deploy/venv.sh test
	@$(VENV)/bin/python -m pytest $(ARGS)

soak: ## 10,000 readings through faults and kill -9, 500 connections: 20 minutes; SEED=... repeats
	@sh deploy/venv.sh test
	@SOAK_READINGS=10000 SOAK_KILLS=50 SOAK_SEED=$(SEED) FLAT_CONNECTIONS=500 FLAT_READINGS=20000 \
		$(VENV)/bin/python -m pytest -s tests/reliability/test_soak.py tests/reliability/test_flat.py

bench: ## measure beside a plain program; writes the table in tests/bench/README.md
	@sh deploy/venv.sh test
	@PYTHONPATH=.:tests $(VENV)/bin/python -m bench
	@PYTHONPATH=.:tests $(VENV)/bin/python -m bench.central_fleet

test-azure: ## test with Azure's own IoT Central; asks the environment for its credentials
	@sh deploy/venv.sh test
	@TEST_AZURE=1 $(VENV)/bin/python -m pytest tests/azure $(ARGS)

test-kernel: ## the drivers under a real Linux kernel in a virtual machine; as root on Debian
	@sh deploy/venv.sh test
	@sh tests/kernel/run.sh $(ARGS)

test-pi3: ## the LED on an emulated Raspberry Pi 3B; as root on Debian, and slow
	@sh deploy/venv.sh test
	@sh tests/pi3/run.sh $(ARGS)

test-pi: ## on a Raspberry Pi: read the sensor, blink the LED, print a report; ARGS="--pin 4 --led 17"
	@sh deploy/venv.sh pi
	@$(VENV)/bin/python tests/pi/report.py $(ARGS)

test-service: ## the service under a real systemd, in containers; needs root and Debian
	@sh deploy/venv.sh test
	@$(VENV)/bin/python -m pytest --timeout 600 tests/service $(ARGS)

install: ## make it a service of this machine (sudo make install); ARGS=--help lists options
	@sh deploy/install.sh $(ARGS)

fuzz: ## what comes from outside, 100,000 times each; takes half an hour
	@sh deploy/venv.sh test
	@FUZZ_INPUTS=100000 $(VENV)/bin/python -m pytest -m fuzz $(ARGS)

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

.PHONY: help demo test soak bench lint format constraints clean test-azure test-kernel test-pi3 test-pi test-service install fuzz
