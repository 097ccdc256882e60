# Everything there is to do with this project; `make` alone lists it.

# What the user has set for other Pythons and installations. Where packages come from stays: indexes,
# proxies, certificates.
unexport $(filter PYTHON%,$(.VARIABLES)) VIRTUAL_ENV PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON \
	PIP_REQUIRE_VIRTUALENV PIP_REQUIRE_HASHES PIP_CONSTRAINT PIP_BUILD_CONSTRAINT PIP_NO_BINARY PIP_ONLY_BINARY \
	PIP_DRY_RUN PIP_IGNORE_INSTALLED PIP_REQUIREMENT PIP_EDITABLE PIP_REPORT PIP_LOG PIP_SRC

PYTHONS := python3 python3.14 python3.13 python3.12 python3.11

# the first Python from 3.11 up that can run $(1)
python_for = $(firstword $(foreach name,$(PYTHONS),$(shell \
	$(name) -I -c 'import sys; assert sys.version_info >= (3, 11); $(1)' 2>/dev/null && echo $(name))))

# a pip.conf may contain the same
PIP_INSTALL := .venv/bin/python -I -m pip install --quiet --disable-pip-version-check \
	--no-user --target= --prefix="$$PWD/.venv" --no-binary=:none: --only-binary=:none:

# --clear when the Python of .venv is gone, or there is none
BROKEN = $(shell .venv/bin/python -I -c '' 2>/dev/null || echo --clear)

# Tests mostly wait, so they run in more processes than there are processors; PROCESSES=0 for none
CPUS := $(shell getconf _NPROCESSORS_ONLN)
TEST_PROCESSES := $(shell echo $$((2 * $(CPUS))))
FAULT_PROCESSES := $(CPUS)

.PHONY: help run dev demo test faults compose-test cluster-test check coverage bench bench-worker bench-recovery bench-backlog generated lock clean

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: .venv/.stamp ## Run the whole engine on 127.0.0.1:3000 until Ctrl-C
	@.venv/bin/python -m order_engine.local

dev: .venv/.stamp ## The same, starting again whenever a source changes
	@.venv/bin/python -m order_engine.local --reload

demo: .venv/.stamp ## Send orders to a running engine and show what becomes of them
	@.venv/bin/python -m order_engine.cli demo

test: .venv/.stamp ## Unit, integration and chart tests, on real stores (PYTEST_ARGS="-k routing" for some)
	.venv/bin/pytest tests -m "not fleet and not fault" -n $(or $(PROCESSES),$(TEST_PROCESSES)) --dist worksteal \
		$(PYTEST_ARGS)

faults: .venv/.stamp ## Whole fleets: running, killed, paused, flooded and cut off
	.venv/bin/pytest tests -m "fleet or fault" -n $(or $(PROCESSES),$(FAULT_PROCESSES)) --dist loadfile \
		$(PYTEST_ARGS)

compose-test: .venv/.stamp ## The images, and the whole fleet in containers (needs a Docker engine)
	.venv/bin/pytest tests/compose $(PYTEST_ARGS)

cluster-test: .venv/.stamp ## The chart on the cluster of KUBECONFIG, scaled, upgraded and killed under load
	.venv/bin/pytest tests/cluster -v $(PYTEST_ARGS)

check: .venv/.stamp ## Format, lint, types and unit tests: what to run before a commit
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	.venv/bin/mypy
	.venv/bin/pytest tests/unit --quiet -n $(or $(PROCESSES),$(CPUS)) $(PYTEST_ARGS)

coverage: .venv/.stamp ## All tests, and which lines they reach (htmlcov/index.html)
	.venv/bin/pytest tests --cov --cov-report=term:skip-covered --cov-report=html $(PYTEST_ARGS)

bench: .venv/.stamp ## The engine beside its Node peer and a plain server (WORK=intake for some; needs Node.js)
	@PYTHONPATH=tests .venv/bin/python -m bench.bench_engine $(if $(WORK),--work $(WORK)) $(if $(REPEATS),--repeats $(REPEATS))

bench-worker: .venv/.stamp ## Our RQ worker against RQ's own and BullMQ's (needs Node.js)
	@cd tests/bench && PYTHONPATH=.. ../../.venv/bin/python bench_worker.py

bench-recovery: .venv/.stamp ## How long orders wait after a killed worker, a flush, a frozen Redis
	@cd tests/bench && PYTHONPATH=.. ../../.venv/bin/python bench_recovery.py

bench-backlog: .venv/.stamp ## What 200,000 waiting orders cost, for ten minutes
	@cd tests/bench && PYTHONPATH=.. ../../.venv/bin/python bench_backlog.py --minutes $(or $(MINUTES),10)

generated: .venv/.stamp ## Regenerate dashboards, alerts, the chart's schema and README
	.venv/bin/python scripts/generate_monitoring.py
	.venv/bin/python scripts/chart_values.py

lock: .venv/.stamp ## Resolve the pins in requirements/ again
	.venv/bin/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 \
		--all-extras pyproject.toml -o requirements/dev.lock
	.venv/bin/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 \
		pyproject.toml -c requirements/dev.lock -o requirements/runtime.lock

clean: ## Remove caches and reports; .venv and the orders in .local stay
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov dist
	find . -name ".[a-z]*" -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.stamp: requirements/dev.lock pyproject.toml
	$(if $(call python_for,),,$(error Python 3.11 or later is needed, and none of $(PYTHONS) is))
	$(if $(call python_for,import venv; import ensurepip),,\
		$(error this Python has no venv module: apt-get install python3-venv))
	@echo 'making .venv (a minute or two)'
	@$(call python_for,import venv; import ensurepip) -I -m venv $(BROKEN) .venv
	@$(PIP_INSTALL) --require-hashes --no-deps -r requirements/dev.lock # the lock is whole: pip need not resolve
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@# relative: Python reads this file in the encoding of the locale, which may lack letters of the absolute path
	@for file in .venv/lib/python3*/site-packages/_order_execution_engine.pth; do echo ../../../../services >$$file; done
	@touch $@
