# The targets set up what they need. Python 3.11 to 3.14 and make must be installed.
# Written for GNU make 3.81, which is what macOS has.

VENV ?= .venv
# Most tests wait for something most of the time, so there may be more of them than processors.
WORKERS ?= 4
PYTEST = $(VENV)/bin/python -m pytest --numprocesses $(WORKERS) --dist worksteal
# What runs in a process that a test started is not counted.
COVERAGE = echo "Coverage of lines and branches: $$($(VENV)/bin/python -m coverage report --format=total) %"
export VENV PYTHON

help: ## list the targets (the default)
	@echo 'usage: make TARGET'
	@sed -n 's/^\([a-z0-9-]*\):.* ## \(.*\)/  \1  \2/p' Makefile | \
		while read -r target what; do printf '  %-15s %s\n' "$$target" "$$what"; done

demo: ## start a simulated board, the daemon and a local IoT Central; MINUTES=2 stops by itself
	@sh deploy/venv.sh central
	@"$(VENV)/bin/sensor-agent" demo $(if $(MINUTES),--minutes $(MINUTES))

check: lint ## check style, types and imports, and run the unit tests: under a minute
	@FUZZ_INPUTS=$${FUZZ_INPUTS:-200} $(PYTEST) tests/unit $(ARGS)

test: ## run unit and integration tests; ARGS="-k outbox" is passed to pytest
	@sh deploy/venv.sh test
	@$(PYTEST) --cov --cov-report= $(ARGS)
	@$(COVERAGE)

coverage: ## list the lines and branches that the last make test did not run
	@$(VENV)/bin/python -m coverage report --show-missing --skip-covered

soak: ## send 10,000 readings through faults and kill -9, and judge an hour of rules: 40 minutes; SEED=... repeats a run
	@sh deploy/venv.sh test
	@SOAK_READINGS=$${SOAK_READINGS:-10000} SOAK_KILLS=$${SOAK_KILLS:-50} \
		SOAK_SEED=$${SOAK_SEED:-$(SEED)} FLAT_CONNECTIONS=$${FLAT_CONNECTIONS:-500} \
		FLAT_READINGS=$${FLAT_READINGS:-20000} \
		RULES_DEVICES=$${RULES_DEVICES:-1000} RULES_SECONDS=$${RULES_SECONDS:-3600} \
		$(VENV)/bin/python -m pytest -s \
		tests/integration/reliability/test_soak.py tests/integration/reliability/test_flat.py \
		tests/integration/reliability/test_rules.py

bench: ## measure beside a plain program; writes the table in tests/bench/README.md
	@sh deploy/venv.sh test
	@PYTHONPATH=.:tests:tests/support $(VENV)/bin/python -m bench
	@PYTHONPATH=.:tests:tests/support $(VENV)/bin/python -m bench.central_fleet
	@PYTHONPATH=.:tests:tests/support $(VENV)/bin/python -m bench.central_bounds

test-ways: ## run the tests on the wire in each way to a hub: DPS, connection string, X.509
	@sh deploy/venv.sh test
	@$(PYTEST) --every-way tests/integration/agent tests/integration/reliability $(ARGS)

# The next version of azure-iot-device, which setup.cfg allows and constraints.txt does not install.
SDK ?= 2.15.0rc1
SDK_TESTS = tests/unit/agent/cloud tests/integration/agent/cloud tests/integration/agent/daemon \
	tests/integration/agent/cli/test_check.py tests/integration/agent/test_ways_in.py \
	tests/integration/agent/test_tls_faults.py tests/integration/central/test_sdk.py \
	tests/integration/reliability/test_exhausted.py \
	tests/integration/reliability/test_faults_survived.py \
	tests/integration/reliability/test_fleet_move.py

test-sdk: ## run the tests of what uses Azure's SDK with its next version; SDK=2.15.0rc1 names it
	@SDK=$(SDK) VENV=.venv-sdk sh deploy/venv.sh test
	@.venv-sdk/bin/python -m pytest --numprocesses $(WORKERS) --dist worksteal $(SDK_TESTS) $(ARGS)

test-azure: ## test against an IoT Central application; credentials come from the environment
	@sh tests/system/preconditions.sh azure
	@sh deploy/venv.sh test
	@TEST_AZURE=1 $(VENV)/bin/python -m pytest tests/integration/azure $(ARGS)

test-kernel: ## test the drivers under a real kernel in a virtual machine; as root on Debian
	@sh tests/system/preconditions.sh kernel
	@sh deploy/venv.sh test
	@sh tests/system/kernel/run.sh $(ARGS)

test-pi3: ## test the LED on an emulated Raspberry Pi 3B; as root on Debian, and slow
	@sh tests/system/preconditions.sh pi3
	@sh deploy/venv.sh test
	@sh tests/system/pi3/run.sh $(ARGS)

test-pi: ## on a Raspberry Pi: try sensor and LED, print a report; ARGS="--pin 4 --led 17"
	@sh tests/system/preconditions.sh pi $(ARGS)
	@sh deploy/venv.sh pi
	@$(VENV)/bin/python tests/system/pi/report.py $(ARGS)

test-service: ## test the service under a real systemd, in containers; as root on Debian
	@sh tests/system/preconditions.sh service
	@sh deploy/venv.sh test
	@$(VENV)/bin/python -m pytest --numprocesses 2 --timeout 600 \
		tests/system/service $(ARGS)

test-package: ## test the Debian packages under a real systemd, in containers; as root on Debian
	@sh tests/system/preconditions.sh package
	@sh deploy/venv.sh test
	@$(VENV)/bin/python -m pytest --numprocesses 2 --timeout 600 \
		tests/system/package $(ARGS)

test-everywhere: ## run make test on fresh systems, for root and for others; as root on Debian
	@sh tests/system/preconditions.sh everywhere $(ARGS)
	@sh deploy/venv.sh test
	@$(VENV)/bin/python tests/system/everywhere.py $(ARGS)

deb: ## build the Debian packages in dist/; any user can, on Debian
	@$(or $(PYTHON),python3) deploy/debian/build_debs.py

deb-lock: ## rewrite deploy/debian/packages.lock with the versions of constraints.txt
	@$(or $(PYTHON),python3) deploy/debian/build_debs.py --lock

repo: ## make a signed apt repository of dist/; KEY=FINGERPRINT URL=https://...
	@$(or $(PYTHON),python3) deploy/debian/repository.py "$(KEY)" "$(URL)"

install: ## build the package, install it and set up the service; ARGS are options of setup
	@sh deploy/install.sh $(ARGS)

fuzz: ## give each fuzz test 100,000 inputs: half an hour
	@sh deploy/venv.sh test
	@FUZZ_INPUTS=$${FUZZ_INPUTS:-100000} $(PYTEST) -m fuzz $(ARGS)

lint: ## check style, types and imports
	@sh deploy/venv.sh test
	@$(VENV)/bin/python -m ruff check
	@$(VENV)/bin/python -m ruff format --check
	@$(VENV)/bin/python -m mypy
	@$(VENV)/bin/lint-imports setup.cfg

dist: ## build the wheel and the source distribution in dist/
	@sh deploy/venv.sh test
	@$(VENV)/bin/python deploy/distributions.py dist

docs: ## build the documentation in site/
	@sh deploy/venv.sh docs
	@$(VENV)/bin/python docs/generate.py
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict
	@echo "The documentation is in site/index.html"

format: ## format the code
	@sh deploy/venv.sh test
	@$(VENV)/bin/python -m ruff check --fix --exit-zero
	@$(VENV)/bin/python -m ruff format

constraints: ## rewrite constraints.txt with today's versions
	@sh deploy/venv.sh constraints

clean: ## remove what make created here
	rm -rf .venv .venv-* build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	find agent central deploy hw tests -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "In each terminal in which .venv is activated, type: deactivate"

.PHONY: help check demo test coverage soak bench lint dist docs format constraints clean test-ways test-sdk test-azure test-kernel test-pi3 test-pi test-service test-package test-everywhere deb deb-lock repo install fuzz
