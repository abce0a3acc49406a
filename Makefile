# Hypernetes. `make up` starts a cluster, `make test` runs every test; `make help` lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

DATA ?= data
PORT ?= 6443
STORE ?= sqlite
REGISTRY_PORT ?= 5000
REGISTRY := 127.0.0.1:$(REGISTRY_PORT)
IMAGES := build/images

VENV := .venv
PYTHON := $(VENV)/bin/python
HN := $(VENV)/bin/hn
STAMP := $(VENV)/.installed
GUEST := build/guest
PYTEST := $(VENV)/bin/pytest -q --durations=5
API_PARTS := api cli client storage# about half of the time of all integration tests without machines
export PATH := $(CURDIR)/build/bin:$(PATH):/usr/sbin:/sbin

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: deps
deps: packages $(STAMP) kubectl ## install what is missing: Debian packages, the virtual environment, kubectl

.PHONY: packages
packages:
	@deploy/install-packages

$(STAMP): requirements.lock pyproject.toml | packages
	@echo "deps: Python packages into $(VENV)"
	@test -x $(PYTHON) || python3 -m venv $(VENV)
	@$(PYTHON) -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(PYTHON) -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: kubectl
kubectl: | packages
	@deploy/install-clients build/bin kubectl

.PHONY: helm
helm: | packages
	@deploy/install-clients build/bin helm

.PHONY: guest
guest: $(STAMP) ## build the guest: kernel, initramfs with hn-init, toolbox
	@$(PYTHON) -m hypernetes.guest.build $(GUEST)

.PHONY: images
images: $(STAMP) ## build the demo images and serve them on $(REGISTRY)
	@$(PYTHON) deploy/images/build.py $(IMAGES)
	@$(PYTHON) deploy/images/serve.py $(IMAGES) --port $(REGISTRY_PORT) --detach

.PHONY: up
up: ## start a cluster with the demo tenants acme and globex; again: says so, changes nothing
	@DATA='$(DATA)' PORT='$(PORT)' STORE='$(STORE)' REGISTRY_PORT='$(REGISTRY_PORT)' deploy/up

.PHONY: down
down: ## stop everything; $(DATA) stays, and `make up` continues from it
	@if [ -x $(HN) ]; then $(HN) down --dir '$(DATA)'; fi
	@if [ -d $(IMAGES) ]; then $(PYTHON) deploy/images/serve.py $(IMAGES) --port $(REGISTRY_PORT) --stop; fi

# Each part prints how long it took. Cheap ones first: the first failure ends it.
.PHONY: test
test: deps ## every test: lint, unit, api, vm, openstack, e2e
	@deploy/timed lint $(MAKE) --no-print-directory test-lint
	@deploy/timed unit $(MAKE) --no-print-directory test-unit
	@deploy/timed api $(MAKE) --no-print-directory test-api
	@deploy/timed guest $(MAKE) --no-print-directory guest
	@deploy/timed images $(MAKE) --no-print-directory images
	@deploy/timed vm $(MAKE) --no-print-directory test-vm
	@deploy/timed openstack $(MAKE) --no-print-directory test-openstack
	@deploy/timed e2e $(MAKE) --no-print-directory test-e2e
	@deploy/timed --summary

.PHONY: test-lint
test-lint: $(STAMP) ## ruff, mypy, import contracts
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-logo

.PHONY: test-unit
test-unit: $(STAMP) ## tests that need neither network nor clock
	@$(PYTEST) tests/unit

.PHONY: test-api
test-api: $(STAMP) helm ## integration tests without virtual machines: stores, API server, controllers
	@deploy/side-by-side "$(PYTEST) $(addprefix tests/integration/,$(API_PARTS)) -m 'not vm and not soak'" \
	  "$(PYTEST) tests/integration $(addprefix --ignore=tests/integration/,$(API_PARTS)) -m 'not vm and not soak'"

.PHONY: test-vm
test-vm: $(STAMP) ## integration tests with virtual machines
	@$(PYTEST) tests/integration -m vm
	@$(PYTEST) tests/integration/pods --drop-field sample

.PHONY: test-openstack
test-openstack: $(STAMP) ## a control plane with real OpenStack services, installed into build/openstack
	@$(PYTHON) -m tests.openstack.environments
	@$(PYTEST) tests/openstack

.PHONY: test-e2e
test-e2e: $(STAMP) ## a whole cluster, used with kubectl
	@$(PYTEST) tests/e2e -m 'not soak'

.PHONY: soak
soak: $(STAMP) ## the long versions of the tests that kill things, and those of the controllers while they are killed
	@$(PYTEST) tests/e2e tests/integration/controllers -m soak
	@$(PYTEST) tests/integration/pods --drop-field all

.PHONY: pod-support
pod-support: $(STAMP) ## docs/pod-support.md, once the tests on real machines have passed
	@$(PYTEST) tests/integration/pods
	@$(PYTHON) -m tests.podsupport.document

.PHONY: bench
bench: $(STAMP) ## all benchmarks; the tables of docs/performance.md
	@for module in benchmarks/*.py; do \
	  name=$$(basename "$$module" .py); \
	  case $$name in __*) continue;; esac; \
	  $(PYTHON) -m "benchmarks.$$name"; \
	done

.PHONY: generate
generate: $(STAMP) ## models from hypernetes/api/facts
	@$(PYTHON) -m hypernetes.api.generate

.PHONY: lock
lock: ## requirements.lock from pyproject.toml; needs pip-tools
	@pip-compile -q --generate-hashes --extra dev --strip-extras --allow-unsafe --no-header \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links -o requirements.lock pyproject.toml

.PHONY: clean
clean: ## remove what was built; the data directory stays
	@rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
