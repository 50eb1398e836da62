# Everything a developer or a lab technician runs. Each target sets up what it needs; what is expensive is kept in build/.
SHELL := /bin/bash
VENV := build/venv
PY := $(VENV)/bin/python
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: appliance appliance-repro deb help demo lab screens test test-all test-appliance check lint bench agent disks clean venv preflight
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

preflight: ## say what this machine lacks before anything starts
	@image-build/preflight.sh

build/.packages: image-build/packages.txt image-build/install-packages.sh | preflight
	@image-build/install-packages.sh && touch $@

$(VENV)/.ready: pyproject.toml constraints.txt build/.packages
	@image-build/make-venv.sh $(VENV) && touch $@
venv: $(VENV)/.ready ## the Python environment in build/venv

agent: $(VENV)/.ready ## loaders, kernel and initrd for the PCs, in build/boot
	@image-build/agent/build.sh build/boot

deb: agent ## the Debian package for a server of one's own, in build/deb
	@image-build/deb/build.sh build/deb

appliance: agent ## the box's own disk image, in build/appliance
	@deb=$$(image-build/deb/build.sh build/deb) && image-build/appliance/build.sh build/appliance --deb "$$(tail -n1 <<<"$$deb")"

appliance-repro: appliance ## make that image a second time, from nothing, and compare byte for byte
	@image-build/appliance/build.sh build/appliance --deb "$$(ls -t build/deb/diecast_*_amd64.deb | head -n1)" --repro

disks: $(VENV)/.ready ## the master disks of the virtual lab, in build/disks
	@$(PY) -m tests.lab.disks build/disks

demo: agent disks $(if $(APPLIANCE),appliance) ## capture a master and deploy it to two PCs in the virtual lab; WINDOWS=1 takes a Windows-shaped disk, APPLIANCE=1 the box's own image
	@$(if $(APPLIANCE),$(PY) -m tests.appliance,$(PY) -m tests.lab.demo $(if $(WINDOWS),--windows --report build/demo/report-windows.json,--report build/demo/report.json))

lab: agent disks ## the console on the virtual lab, with a menu of its PCs and a shell (F10 goes round them)
	@$(PY) -m tests.lab.shell

screens: $(VENV)/.ready ## draw the console's pictures in docs/screens again
	@$(PY) -m tests.tui.screenshots

lint: $(VENV)/.ready ## ruff, mypy, import-linter
	@ruff check . && ruff format --check . && mypy && lint-imports

check: $(VENV)/.ready lint ## everything without guests, the whole console and single long tests, in three minutes
	@pytest -n 6 -m "not guest and not appliance and not slow and not screen and not lengthy" --junitxml=build/check.xml

test: agent disks appliance lint ## everything, guests included
	@image-build/run-tests.sh "not slow"

test-all: agent disks appliance lint ## as test, and the slow ones
	@image-build/run-tests.sh ""

test-appliance: appliance disks ## the box's own image in the virtual lab: set up by keys, a cast while all is killed, ports, SSH, Secure Boot
	@pytest -m appliance -s --junitxml=build/appliance.xml tests/appliance

bench: appliance disks ## measure, beside the peers; ONLY=name,... replaces only those entries
	@$(PY) -m tests.bench --output build/bench.json $(if $(ONLY),--only $(ONLY))

clean: ## remove everything that was built
	rm -rf build
