# Two commands do everything on a fresh machine: `make run` and `make test`.
# They need Python 3.11 or newer, pip and make; what else is needed is installed into .venv here.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup servers run test lint types unit coverage whole superlender-cluster e2e bench crash faults chaos cluster-test topic-scenarios cluster-bench failover move-store upgrade-under-load fuzz soak docs audit wheel release clean

setup: .venv/done

.venv/done: pyproject.toml requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lendsignal needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q src/lendsignal
	touch .venv/done

run: setup
	$(BIN)/lendsignal demo

test: setup servers lint types unit

# Kafka, PostgreSQL, MariaDB and Node for the scenario tests; what is missing is installed where that is allowed.
servers: setup
	tests/servers/install.sh

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: setup
	$(BIN)/mypy

# What runs over real servers, and whole services on whatever machine this is; the longest files come first.
SERVED := $(wildcard tests/contract/*_cluster.py tests/contract/*_topic.py) tests/scenario tests/e2e/test_first_steps.py

# Each file on one of two workers, those with most tests first, or in the order of `SERVED`; of the browser's tests the
# short one, `make e2e` runs them all.
# Of what is served, those that fail are named and get a second chance, alone. What stays in the output is a
# race to be found, in the product or in the test.
unit: setup
	$(BIN)/pytest -n 2 --dist loadfile --ignore-glob='*/contract/*_cluster.py' --ignore-glob='*/contract/*_topic.py' \
		tests/scenario/test_superlender*.py tests/docs tests/contract tests/property tests/unit
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --ignore-glob='*/test_superlender*' $(SERVED) \
		|| $(BIN)/pytest --last-failed --last-failed-no-failures=none $(SERVED)

# The lines that no test has reached, by the processes that pytest itself runs.
coverage: setup
	$(BIN)/pytest -n 2 --dist loadfile --cov --cov-report= tests/unit tests/property tests/contract
	$(BIN)/coverage report --skip-covered --sort=cover

# Slow suites, each with its own command.

whole: setup
	$(BIN)/python examples/superlender/run.py --data ../shared/data/superlender --world-tool ../shared/tools/superlender_world.py

# The same twice, through one data folder and through a cluster with a desk: equal row by row. CUSTOMERS=50 takes
# some minutes, all of them an hour or so.
superlender-cluster: setup servers
	$(BIN)/python -m tests.superlender_cluster $(if $(CUSTOMERS),--customers $(CUSTOMERS))

# The console in a real browser; screenshots are kept in build/e2e.
e2e: setup servers
	$(BIN)/pytest tests/e2e

bench: setup
	$(BIN)/lendsignal bench

KILLS ?= 200

crash: setup
	$(BIN)/python -m tests.crash --kills $(KILLS)

SEEDS ?= 2000

faults: setup
	$(BIN)/python -m tests.faults --seeds $(SEEDS)

SECONDS ?= 60
SEED ?= $(shell date +%s)

chaos: setup
	$(BIN)/python -m tests.chaos --seconds $(SECONDS) --seed $(SEED)

# Minutes of kills, zombies and cut networks over one PostgreSQL; LOG=kafka: with three brokers; STANDBY=1: over
# a PostgreSQL that fails over; SHORT=1: half a minute.
cluster-test: setup servers
	$(if $(STANDBY),tests/servers/install_failover.sh)
	$(BIN)/python -m tests.cluster --seconds $(if $(SHORT),20,180) --seed $(SEED) --log $(or $(LOG),postgresql) \
		$(if $(STANDBY),--standby)

# The scenarios of nodes, of a desk and of a store that is away, once more with a Kafka topic as the log.
topic-scenarios: setup servers
	$(BIN)/python -m tests.cluster.over_kafka

# Real nodes over three PostgreSQL servers under Patroni: the primary is killed, frozen and cut off by turns.
failover: setup servers
	tests/servers/install_failover.sh
	$(BIN)/python -m tests.cluster.failover $(if $(SHORT),--short,--seconds 600) --seed $(SEED)

# The store moves to another server under traffic: by a standby, then by a dump.
move-store: setup servers
	$(BIN)/python -m tests.cluster.relocate --seed $(SEED)

# Every node is replaced under traffic, from the code of the last commit with an earlier form, or of OLD.
upgrade-under-load: setup servers
	$(BIN)/python -m tests.cluster.upgrade --seed $(SEED) $(if $(OLD),--old $(OLD))

# What an event costs in a data folder, over PostgreSQL's log and over a Kafka topic.
cluster-bench: setup servers
	$(BIN)/python -m tests.cluster.costs

REQUESTS ?= 100000

# Requests made from the API's own description, right and wrong and bent; none may be answered with a 5xx.
# PARSERS=1: bytes at everything that reads what others wrote, each for SECONDS, guided by coverage.
PARSED = event segment postback table csv_rows json_rows config expression

fuzz: setup
ifdef PARSERS
	$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install --quiet 'atheris>=3.0'
	for name in $(PARSED); do $(BIN)/python -m tests.fuzz.guided $$name $(SECONDS) || exit 1; done
else
	$(BIN)/python -m tests.fuzz --requests $(REQUESTS) --seed $(SEED)
endif

# Six days of a lender in HOURS of this machine while platforms fail and roles are killed; SHORT=1: seconds.
# A run of hours is published as docs/reference/soak.md.
HOURS ?= 2

soak: setup
	$(BIN)/python -m tests.soak $(if $(SHORT),--short,--hours $(HOURS) --publish docs/reference)

# The pages as a site in build/site; a warning is a mistake.
docs: setup
	$(BIN)/mkdocs build --strict

# Known holes in the libraries, and a bill of materials in dist; the tools go to build/audit.
audit: setup
	$(BIN)/python -m release.audit

# Built twice, far apart: the same to the byte.
wheel: setup
	$(BIN)/python -m release.wheel

# `make release VERSION=0.2.0 KEY=~/.ssh/id_ed25519`: checks, numbers, builds, signs, commits, tags; pushes nothing.
release: setup
	$(BIN)/python -m release.cut $(VERSION) $(if $(KEY),--key $(KEY))

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*
