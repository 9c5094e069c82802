# make run    the default show       make run SHOW=my_show.toml ARGS="--windowed"
# make test   every check and test   make test-fast: without the slow ones
#
# From a fresh clone each does all set-up first, once: system libraries, virtual environment, package. Stamp files in
# the environment say what is done; a second `make run` starts at once. POSIX sh; GNU make 3.81 (macOS) and later.

SHELL := /bin/sh
VENV  := .venv
# Extras to install for a show, for example EXTRAS=midi,record. Only the tests install `dev`.
EXTRAS :=
SHOW  :=
ARGS  :=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq --no-input
# One stamp per set of extras: asking for another set installs it.
comma := ,
INSTALLED := $(VENV)/.installed$(subst $(comma),-,$(addprefix -,$(EXTRAS)))

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: help setup run test test-fast test-setup lint clean

help:
	@echo 'make run        set up if needed, then run the default show (SHOW=name or file, ARGS="options", EXTRAS=midi,record)'
	@echo 'make test       set up if needed, then lint and run every test'
	@echo 'make test-fast  likewise without lint and slow tests'
	@echo 'make setup      set up only'
	@echo 'make lint       ruff and pyright'
	@echo 'make clean      remove the virtual environment, builds and caches'

setup: $(VENV)/.system $(INSTALLED)

run: setup
	@exec $(BIN)/installation run $(SHOW) $(ARGS)

test-setup: $(VENV)/.system-dev $(VENV)/.installed-dev

# Most tests wait for a process, a clock or a disk. The everyday ones run three at a time, and a worker that dies ends the run. In the whole
# run what only computes goes on beside the rest, in what time walls and films leave over.
APART := tests/training tests/models tests/e2e/test_atelier.py tests/cli/test_training.py tests/cli/test_judging.py

test: lint
	@log=$$(mktemp); nice -n 19 $(BIN)/python -m pytest $(APART) >"$$log" 2>&1 & apart=$$!; \
	trap 'kill $$apart; rm -f "$$log"; exit 130' INT TERM; \
	$(BIN)/python -m pytest $(addprefix --ignore=,$(APART)); rest=$$?; \
	wait $$apart; apart=$$?; cat "$$log"; rm -f "$$log"; [ $$rest = 0 ] && [ $$apart = 0 ]

test-fast: test-setup
	@$(BIN)/python -m pytest -n 3 --dist loadfile --max-worker-restart=0 -m 'not slow and not network'

lint: test-setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find installation tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# System libraries -----------------------------------------------------------------------------------------------------
# NEED holds "what-to-look-for:Debian-package" pairs: a file by its path, a shared library by its soname, a program by its name.
# apt's lists are renewed only where they do not know a package. From Debian 13 and Ubuntu 24.04 on, libasound2 is libasound2t64.

WINDOW := libEGL.so.1:libegl1 libGL.so.1:libgl1 libX11.so.6:libx11-6 libXrandr.so.2:libxrandr2 \
	libXcursor.so.1:libxcursor1 libXi.so.6:libxi6 libXinerama.so.1:libxinerama1
TESTS := Xvfb:xvfb xrandr:x11-xserver-utils libXtst.so.6:libxtst6 libasound.so.2:libasound2 \
	Xorg:xserver-xorg-core /usr/lib/xorg/modules/drivers/dummy_drv.so:xserver-xorg-video-dummy

$(VENV)/.system: NEED = $(WINDOW)
$(VENV)/.system-dev: NEED = $(WINDOW) $(TESTS)

$(VENV)/.system $(VENV)/.system-dev: Makefile | $(BIN)/python
	@case "$$(uname -s)" in Linux) ;; *) touch $@; exit 0;; esac; \
	PATH="$$PATH:/usr/sbin:/sbin"; libraries=$$(ldconfig -p 2>/dev/null); packages=; \
	for pair in $(NEED); do \
	  what=$${pair%%:*}; \
	  case "$$what" in \
	    /*) [ -e "$$what" ] && continue;; \
	    *.so.*) case "$$libraries" in *"$$what "*) continue;; esac;; \
	    *) command -v "$$what" >/dev/null 2>&1 && continue;; \
	  esac; \
	  packages="$$packages $${pair##*:}"; \
	done; \
	if [ -n "$$packages" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	  echo "Installing system libraries:$$packages"; \
	  install() { DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$packages; }; \
	  log=$$(mktemp); \
	  install </dev/null >"$$log" 2>&1 \
	    || { apt-get update -qq && install; } </dev/null >"$$log" 2>&1 \
	    || { packages=$$(echo "$$packages" | sed 's/ libasound2/ libasound2t64/'); install; } </dev/null >>"$$log" 2>&1 \
	    || { cat "$$log" >&2; rm -f "$$log"; echo "apt-get could not install:$$packages" >&2; exit 1; }; \
	  rm -f "$$log"; \
	elif [ -n "$$packages" ] && command -v apt-get >/dev/null 2>&1; then \
	  echo "System libraries are missing. Run: sudo apt-get install --no-install-recommends$$packages" >&2; exit 1; \
	elif [ -n "$$packages" ]; then \
	  echo "System libraries may be missing (names of the Debian packages):$$packages" >&2; \
	fi; \
	touch $@

# Virtual environment --------------------------------------------------------------------------------------------------
# The first Python that is new enough and has ensurepip, which Debian keeps in a package of its own. 3.14 comes last:
# wheels for the newest Python are the last to be built.

$(BIN)/python:
	@pick() { \
	  for name in python3 python3.11 python3.12 python3.13 python3.14 python; do \
	    "$$name" -c "import sys$$1; sys.exit(sys.version_info < (3, 11))" >/dev/null 2>&1 && { echo "$$name"; return; }; \
	  done; \
	}; \
	python=$$(pick ', ensurepip, venv'); \
	if [ -z "$$python" ]; then \
	  python=$$(pick ''); \
	  if [ -z "$$python" ]; then \
	    echo "Python 3.11 or newer is needed, and none was found in PATH. On Debian or Ubuntu: sudo apt-get install python3" >&2; exit 1; \
	  fi; \
	  package=$$("$$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
	  if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then \
	    echo "$$python has no ensurepip. Run: sudo apt-get install $$package" >&2; exit 1; \
	  fi; \
	  echo "Installing $$package"; \
	  install() { DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$$package"; }; \
	  install </dev/null >/dev/null 2>&1 || { apt-get update -qq && install; } </dev/null >/dev/null \
	    || { echo "apt-get could not install $$package" >&2; exit 1; }; \
	fi; \
	"$$python" -m venv --clear $(VENV)

# Package --------------------------------------------------------------------------------------------------------------
# Without an NVIDIA GPU torch is held to the release of constraints-cpu.txt, which says why. macOS has no CUDA builds.
# -qq: pip's remarks are no help to a technician; its errors are shown.

define install
@if [ "$$(uname -s)" = Darwin ] || nvidia-smi -L >/dev/null 2>&1; then hold=; else hold='-c constraints-cpu.txt'; fi; \
echo "Installing Python packages into $(VENV) (torch is large: this takes minutes, once)"; \
$(PIP) $$hold -e '.$(1)'
@touch $@
endef

$(INSTALLED): pyproject.toml constraints-cpu.txt | $(BIN)/python
	$(call install,$(if $(EXTRAS),[$(EXTRAS)]))

# `dev` holds everything that a show needs, so a plain `make run` after the tests has nothing to install.
$(VENV)/.installed-dev: pyproject.toml constraints-cpu.txt | $(BIN)/python
	$(call install,[dev])
	@touch $(VENV)/.installed
