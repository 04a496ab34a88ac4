# Every target sets up what it needs on a machine with Python 3.11 or newer, pip and make.
.PHONY: help demo test check soak mutations bench storm endurance pictures lock servers clean
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
# What the image of deploy/Dockerfile is able to do.
IMAGE_EXTRAS := s3 postgres api flower metrics tracing logs encryption msgpack

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: .venv/installed ## Run 336,776 real flights through eight stages, kill a worker, check the result.
	FLIGHTS_OUT=flights-out $(BIN)/milepost demo -A examples.flights flights '{"name": "2013"}'
	@echo "Chart and report: flights-out/2013/flights.png, flights-out/2013/report.html"

servers: # What the tests need and no Python package brings: servers, Chromium, systemd and tini, from Debian.
	@missing=; for name in redis-server rabbitmq-server chromium tini; do \
	  PATH="$$PATH:/usr/sbin" command -v $$name >/dev/null || missing="$$missing $$name"; \
	done; command -v systemd-analyze >/dev/null || missing="$$missing systemd"; \
	ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$$missing postgresql"; \
	[ -z "$$missing" ] || \
	  { [ "$$(id -u)" = 0 ] && apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; } || \
	  echo "Not there and not to be installed:$$missing. Tests that need them are skipped (CI: fail)."

# Tests wait more than they compute: one process more than there are processors.
test: .venv/installed servers ## Run all tests, on real servers and real worker processes.
	$(BIN)/python -m pytest -n $$(($$(nproc) + 1)) --dist loadfile --no-loadscope-reorder --durations 40

check: .venv/installed ## Check style, types and the direction of imports.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

soak: .venv/installed ## Simulate faults for SOAK_SECONDS (60) or SOAK_SCHEDULES, from SEED if it is given.
	cd tests && PYTHONPATH=. ../$(BIN)/python -m simulation.soak

mutations: .venv/installed ## Switch protections off in a copy, one at a time: the simulation has to notice.
	cd tests && PYTHONPATH=. ../$(BIN)/python -m simulation.mutations $(ONLY)

bench: .venv/installed ## Measure against plain Celery, as ratios.
	$(BIN)/python -m benchmarks

storm: .venv/installed servers ## Strike real workers and servers at random: FAULTS=2000 SEED=7.
	cd tests && PYTHONPATH=. ../$(BIN)/python -m storm $(if $(FAULTS),--faults $(FAULTS)) $(if $(SEED),--seed $(SEED))

endurance: .venv/installed servers ## Run STAGES (1000000) stages, and see that nothing has grown.
	cd tests && PYTHONPATH=. ../$(BIN)/python -m endurance $(if $(STAGES),--stages $(STAGES))

pictures: .venv/installed ## Take the documentation's pictures again (needs chromium and redis-server).
	cd tests && PYTHONPATH=. ../$(BIN)/python -m pictures.flower
	cd tests && PYTHONPATH=. ../$(BIN)/python -m support.dashboard_pictures
	WALK_PICTURES=docs/images $(BIN)/python -m pytest tests/acceptance/test_walk.py

lock: ## Renew requirements.lock, and deploy/*.lock from it (needs uv).
	uv pip compile pyproject.toml --all-extras --group test --group check --group build --universal \
	  --python-version 3.11 --generate-hashes --no-header --quiet -o requirements.lock
	uv pip compile pyproject.toml $(addprefix --extra ,$(IMAGE_EXTRAS)) -c requirements.lock --universal \
	  --python-version 3.11 --generate-hashes --no-header --quiet -o deploy/requirements.lock
	uv pip compile --group build -c requirements.lock --universal \
	  --python-version 3.11 --generate-hashes --no-header --quiet -o deploy/build.lock

clean: ## Remove what the targets made.
	rm -rf .venv .milepost flights-out dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
