# The targets that users, the README and .ci/run call. Each target sets up what it needs and can be run first.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done)
POINTS ?= 40
# Minutes of the whole daemon in virtual time.
VIRTUAL ?= 10
# Most tests wait for others most of the time; a file stays together, since its tests may share a daemon.
PARALLEL ?= 6
# A worker that dies fails the run; one that took its place would wait for ever.
SPREAD = -n $(PARALLEL) --dist loadfile --max-worker-restart=0
DEVELOPING := .[test,lint,man]
# Busy loops beside the tests of test-loaded.
LOOPS ?= 3
# How programs are held up by test-slow, which runs WORDS in place of SLOW; SEED repeats a run.
MODES ?= random io
SLOW := tests/system tests/gflowd/daemon tests/gflowd/effects tests/gflowd/storage tests/gflowd/workers tests/gflowctl
# Tests that start no daemon and hardly any program.
QUICK := tests/gflowd/core tests/gflowd/config tests/gflowd/workers/scheduler/test_planner.py tests/gflowd/test_paths.py \
	tests/gflowd/test_log.py tests/gflowd/storage/test_history.py tests/gflowd/daemon/test_supervisor.py \
	tests/gflowctl/view/test_views.py tests/test_layers.py
FUZZ := .fuzz
OLDEST := .oldest
SLURM := .slurm
SSHD := .sshd
PROMETHEUS := .prometheus
TOOLS := .tools
WEB := .web
PICTURES ?= $(CURDIR)/$(WEB)/pictures/web
# Of fuzzing in all: ten for each parser.
SECONDS ?= 310
# Random calls of gflowctl.
CALLS ?= 6800
TRACES ?= $(wildcard ../shared/traces)

.PHONY: help demo test test-quick test-full test-loaded test-slow test-oldest lint man bench bench-peers bench-sizes bench-gateway bench-cluster simulate soak fuzz slurm-parity tools metrics-test nvidia-check packages packages-test systemd-test systemd-test-qemu systemd-test-shared shared-test test-cluster web-test pyz clean

help:
	@echo 'make demo          run seven jobs on a separate daemon, then clean up (a few seconds)'
	@echo 'make test          run the tests'
	@echo 'make test-quick    run the tests that start no daemon and no program, e.g. every few minutes'
	@echo 'make test-full     run the tests with all seeds, sizes and made-up cases, of which `make test` tries some'
	@echo 'make test-loaded   run the tests beside three busy loops'
	@echo 'make test-slow     run the tests that start processes while every program is held up: MODES=$(MODES), or exec, fork'
	@echo 'make test-oldest   run the tests with the oldest releases of the packages that gflow accepts'
	@echo 'make lint          run ruff and mypy, and check that man pages and completions are up to date'
	@echo 'make man           generate the man pages and the completions'
	@echo 'make bench         measure how fast gflow is, as ratios'
	@echo 'make bench-peers   run the same work under gflow and its peers; writes docs/performance.md (ARGS=--help: options)'
	@echo 'make bench-sizes   measure jobs per second, a chain, and the cost of a long queue and a long history'
	@echo 'make bench-gateway let 64 users ask at once: through the gateway, and by appending under the lock (as root)'
	@echo 'make bench-cluster measure what handing over to a real Slurm and following jobs there costs (as root)'
	@echo 'make simulate      compare gflow with simpler schedulers on a made-up trace and those in TRACES=DIRECTORY'
	@echo 'make soak          inject faults at POINTS=$(POINTS) moments and more; writes docs/reliability.md'
	@echo 'make slurm-parity  run the same scripts under gflow and under the real Slurm, where Debian has it'
	@echo 'make tools         run submitit, Snakemake, dask-jobqueue, parsl and others, unmodified, as if gflow were Slurm'
	@echo 'make metrics-test  let a real Prometheus, where Debian has it, scrape gflow and read its alerts and its dashboard'
	@echo 'make nvidia-check  compare what gflow says about real NVIDIA GPUs with nvidia-smi and a process that uses one'
	@echo 'make fuzz          run the parsers under a coverage-guided fuzzer for SECONDS=$(SECONDS) in all, then CALLS=$(CALLS) calls of gflowctl'
	@echo 'make packages      build what this machine can of the sdist, the wheel and the packages for distributions, into dist/'
	@echo 'make packages-test try the packages in clean roots of Debian: jobs, upgrade, removal, purge (as root, in minutes)'
	@echo 'make systemd-test  let the systemd of a booted root of Debian run gflowd: restarts, hangs, logouts (as root, in minutes)'
	@echo 'make systemd-test-qemu  let the kernel enforce limits of memory in a virtual machine under its systemd (as root, in minutes)'
	@echo 'make systemd-test-shared  install the packages there; several users share the service, and jobs live through all (as root, in minutes)'
	@echo 'make shared-test   let several users share a root daemon, and attack it and each other (as root)'
	@echo 'make test-cluster  hand jobs to a real Slurm of three nodes, which run on this machine (as root)'
	@echo 'make web-test      look at the page of gflowctl web in Chromium, in light and dark, wide and narrow'
	@echo 'make pyz           both programs as single files, with all that they need, for machines without network'
	@echo 'make clean         remove what make created'

demo: $(VENV)/installed
	@$(BIN)/python examples/demo.py

test: $(VENV)/developer
	@$(call want,tmux,tmux,the tests of the tmux executor are skipped)
	@$(call want,strace,strace,the tests that count system calls are skipped)
	@$(call want,zsh,zsh,its completions are not tried)
	@$(call want,fish,fish,its completions are not tried)
	@$(call want,shellcheck,shellcheck,the script of a job is checked less closely)
	@$(call want,mandoc,mandoc,the man pages are checked less closely)
	@$(call want,cc,gcc libc6-dev,the tests of the fake NVML are skipped)
	@[ -e /usr/share/bash-completion/bash_completion ] || { $(call apt_install,bash-completion); } || \
		echo 'bash-completion is missing: the completions are tried in a bash without it' >&2
	@$(BIN)/python -m pytest -q $(SPREAD) --no-loadscope-reorder --cov --cov-report=term

test-quick: $(VENV)/developer
	@$(BIN)/python -m pytest -q $(SPREAD) $(QUICK)

# What makes it deeper, tests/support/depth.py says.
test-full: $(VENV)/developer
	@GFLOW_TEST_DEPTH=full $(MAKE) --no-print-directory test

# A test that fails here and not in `make test` races a clock.
test-loaded: $(VENV)/developer
	@$(BIN)/python tests/busy.py $(LOOPS) $(MAKE) --no-print-directory test

# One that fails here and not in `make test` relies on another process being quick, or gflow does. Most of the time all
# of them sleep. A failed mode says its seed: make test-slow MODES=io SEED=1234 WORDS=tests/system/test_run.py
test-slow: PARALLEL = 8
test-slow: $(VENV)/developer
	@$(call want,tmux,tmux,the tests of the tmux executor are skipped)
	@$(call want,cc,gcc libc6-dev,nothing can be held up)
	@status=0; for mode in $(MODES); do \
		$(BIN)/python tests/slow/hold_up.py $(SEED:%=--seed %) $$mode \
			$(BIN)/python -m pytest -q $(SPREAD) --no-loadscope-reorder $(or $(WORDS),$(SLOW)) || status=1; \
	done; exit $$status

# The lower bounds in setup.cfg, in an environment of their own; that libtmux has a plugin that this pytest refuses. But
# for mcp, which needs newer ones of what others need: make test has it, by the packages for lint.
test-oldest: $(OLDEST)/developer
	@$(OLDEST)/bin/python -m pytest -q -p no:libtmux $(SPREAD)

$(OLDEST)/developer: setup.cfg
	@$(call want_venv)
	@$(PYTHON) -m venv --clear $(OLDEST)
	@sed -n '/^install_requires/,/^$$/s/^    \(.*\)>=/\1==/p; /^cron =/,/^test =/s/^    \(.*\)>=/\1==/p' \
		setup.cfg | grep -v '^mcp==' >$(OLDEST)/oldest.txt
	@$(OLDEST)/bin/python -m pip install -qq --disable-pip-version-check --editable '.[test,man]' -r $(OLDEST)/oldest.txt
	@touch $@

lint: $(VENV)/developer
	@$(call want,mandoc,mandoc,the man pages are checked less closely)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/python man/generate.py --check
	@if command -v mandoc >/dev/null; then mandoc -T lint -W style man/*.[1-9]; fi
	@echo 'lint: clean'

man: $(VENV)/developer
	@$(BIN)/python man/generate.py

bench: $(VENV)/installed
	@$(BIN)/python benchmarks/bench.py

bench-sizes: $(VENV)/installed
	@$(BIN)/python benchmarks/throughput.py
	@$(BIN)/python benchmarks/sizes.py

# As root.
bench-gateway: $(VENV)/developer
	@$(BIN)/python benchmarks/gateway.py

# As root.
bench-cluster: $(VENV)/developer
	@command -v sbatch >/dev/null || $(MAKE) --no-print-directory $(SLURM)/unpacked || true
	@$(BIN)/python benchmarks/cluster.py $(ARGS)

# A quarter of an hour. What the peers need is installed where that is possible, else they are left out.
bench-peers: $(VENV)/installed
	@$(call want,tmux,tmux,the tmux executors are left out)
	@$(BIN)/python benchmarks/bench_peers.py $(or $(ARGS),--write docs)

# On a made-up trace, then on all of a directory, where there is one. ARGS='--write docs/scheduling.md' keeps the tables.
simulate: $(VENV)/installed
	@$(BIN)/python benchmarks/simulate.py --no-limit 0 --no-limit 0.5
	@$(if $(TRACES),$(BIN)/python benchmarks/simulate.py --trace $(TRACES) --no-limit 0 --no-limit 0.5 $(ARGS))

# The fuzzer has an environment of its own: there is none for every Python and machine.
fuzz: $(FUZZ)/bin/python $(VENV)/installed
	@if $(FUZZ)/bin/python -m pip install -qq --disable-pip-version-check --editable . atheris; then \
		$(FUZZ)/bin/python benchmarks/fuzz.py $(SECONDS); \
	else echo 'atheris cannot be installed here, so the parsers are not fuzzed' >&2; fi
	@$(BIN)/python tests/reliability/random_calls.py --calls $(CALLS)

$(FUZZ)/bin/python:
	@$(call want_venv)
	@$(PYTHON) -m venv --clear $(FUZZ)

# Faults at every turn, then the page that says what came of them; ten minutes of it are processes killed at random.
# POINTS=0 tries every crash point: a night's work.
soak: $(VENV)/developer
	@$(call want,tmux,tmux,the tests of the tmux executor are skipped)
	@$(BIN)/python tests/simulation/run.py --minutes $(VIRTUAL)
	@GFLOW_TEST_DEPTH=full $(BIN)/python tests/reliability/soak.py --points $(POINTS) --write docs/reliability.md

slurm-parity: $(VENV)/installed
	@command -v sbatch >/dev/null || $(MAKE) --no-print-directory $(SLURM)/unpacked || true
	@$(BIN)/python tests/parity/slurm_parity.py

# What speaks Slurm, in an environment of its own; WORDS are for pytest.
tools: $(TOOLS)/installed
	@$(call want,ompi_info,openmpi-bin,mpirun is not tried)
	@$(TOOLS)/bin/python -m pytest -q -p no:cacheprovider tests/tools $(WORDS)

$(TOOLS)/installed: setup.cfg $(wildcard tests/tools/*.txt)
	@$(call want_venv)
	@[ -x $(TOOLS)/bin/python ] || $(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/python -m pip install -qq --disable-pip-version-check --editable '.[test]' -r tests/tools/requirements.txt
	@$(TOOLS)/bin/python -m pip install -qq --disable-pip-version-check --no-deps -r tests/tools/without_dependencies.txt
	@touch $@

# Debian's Slurm, unpacked but not installed: on the PATH it would answer whatever else runs on this machine.
$(SLURM)/unpacked:
	@command -v apt-get >/dev/null || { echo 'no apt-get, so no Slurm can be had' >&2; exit 1; }
	@rm -rf $(SLURM) && mkdir -p $(SLURM)/packages && cd $(SLURM)/packages && \
		names=$$(apt-get install --simulate --no-install-recommends slurm-wlm 2>/dev/null | sed -n 's/^Inst \([^ ]*\) .*/\1/p') && \
		[ -n "$$names" ] && apt-get download $$names >/dev/null 2>&1 && \
		for package in *.deb; do dpkg -x $$package ../root; done
	@touch $@

metrics-test: $(VENV)/developer $(PROMETHEUS)/unpacked
	@$(BIN)/python tests/metrics/try_prometheus.py $(PROMETHEUS)/root/usr/bin

# What its accounting needs too: slurmdbd and a MariaDB, unpacked but not installed.
$(SLURM)/accounting/unpacked: $(SLURM)/unpacked
	@rm -rf $(SLURM)/accounting && mkdir -p $(SLURM)/accounting/packages && cd $(SLURM)/accounting/packages && \
		apt-get download slurmdbd slurm-wlm-mysql-plugin mariadb-server mariadb-server-core mariadb-client-core libmariadb3 \
		libaio1 liburing2 >/dev/null 2>&1 && \
		for package in *.deb; do dpkg -x $$package ../root; done
	@touch $@

# Debian's Prometheus, unpacked but not installed, so that no service of it runs.
$(PROMETHEUS)/unpacked:
	@command -v apt-get >/dev/null || { echo 'no apt-get, so no Prometheus can be had' >&2; exit 1; }
	@rm -rf $(PROMETHEUS) && mkdir -p $(PROMETHEUS)/packages && cd $(PROMETHEUS)/packages && \
		{ apt-get download prometheus >/dev/null 2>&1 || { apt-get update -qq && apt-get download prometheus >/dev/null; }; } && \
		for package in *.deb; do dpkg -x $$package ../root; done
	@touch $@

nvidia-check: $(VENV)/installed
	@$(BIN)/python tests/hardware/nvidia_check.py

# ARGS=--no-check leaves out the tests within the builds, and deb, rpm or arch names the only ones to build.
packages: $(VENV)/packager
	@$(call want,mmdebstrap,mmdebstrap,packages are built with what is installed here)
	@$(BIN)/python packaging/make_packages.py $(ARGS)

packages-test: packages
	@$(BIN)/python packaging/try_packages.py

# Where it cannot be tried, it says why and is no failure. ARGS='--write docs/reliability.md' keeps the table.
systemd-test: $(VENV)/installed
	@$(call want,systemd-nspawn,systemd-container,nothing can be tried)
	@$(call want,mmdebstrap,mmdebstrap,nothing can be tried)
	@$(BIN)/python packaging/test-systemd $(ARGS) || [ $$? -eq 77 ]

systemd-test-qemu: $(VENV)/installed
	@command -v qemu-system-x86_64 >/dev/null || { $(call apt_install,--no-install-recommends qemu-system-x86); } || \
		echo 'qemu-system-x86 is missing: nothing can be tried' >&2
	@$(call want,mmdebstrap,mmdebstrap,nothing can be tried)
	@$(BIN)/python packaging/test-systemd --qemu $(ARGS) || [ $$? -eq 77 ]

# Accounts and control groups of their own, in private namespaces: the machine stays as it is.
shared-test: $(VENV)/developer
	@$(call want,tmux,tmux,the tests of the tmux executor are skipped)
	@$(call want,strace,strace,the tests that look at what root does are skipped)
	@$(BIN)/python -m pytest -q $(SPREAD) tests/shared

# The packages for Debian are built without their tests. ARGS='--write docs/shared-mode.md' keeps the table.
systemd-test-shared: $(VENV)/packager
	@$(call want,systemd-nspawn,systemd-container,nothing can be tried)
	@$(call want,mmdebstrap,mmdebstrap,nothing can be tried)
	@$(BIN)/python packaging/make_packages.py --no-check deb
	@$(BIN)/python packaging/test-systemd --shared $(ARGS) || [ $$? -eq 77 ]

# Slurm's daemons run as ordinary processes on loopback, with ports and files of their own.
test-cluster: $(VENV)/developer
	@command -v sbatch >/dev/null || $(MAKE) --no-print-directory $(SLURM)/unpacked || true
	@command -v slurmdbd >/dev/null || $(MAKE) --no-print-directory $(SLURM)/accounting/unpacked || true
	@command -v sshd >/dev/null || $(MAKE) --no-print-directory $(SSHD)/unpacked || true
	@$(BIN)/python -m pytest -q $(SPREAD) tests/cluster

# Debian's sshd, unpacked but not installed, so that no service of it runs.
$(SSHD)/unpacked:
	@command -v apt-get >/dev/null || { echo 'no apt-get, so no sshd can be had' >&2; exit 1; }
	@rm -rf $(SSHD) && mkdir -p $(SSHD)/packages && cd $(SSHD)/packages && \
		apt-get download openssh-server libwrap0 >/dev/null 2>&1 && \
		for package in *.deb; do dpkg -x $$package ../root; done
	@touch $@

# Debian's Chromium, driven by playwright-core, whose own browsers are not needed. PICTURES: where they go.
web-test: $(VENV)/developer $(WEB)/installed
	@$(call want,chromium,chromium,the page cannot be tried)
	@mkdir -p $(dir $(PICTURES))
	@$(BIN)/python tests/web/browse.py $(CURDIR)/$(WEB)/node_modules/playwright-core "$$(command -v chromium)" $(PICTURES)

$(WEB)/installed:
	@$(call want,npm,npm,playwright-core cannot be installed)
	@npm install --silent --no-audit --no-fund --prefix $(WEB) playwright-core@1
	@touch $@

# Each unpacks itself into ~/.shiv when it is first called. For this version of Python, and this kind of machine.
pyz: $(VENV)/packager
	@mkdir -p dist/pyz
	@$(BIN)/shiv --quiet --reproducible -p '/usr/bin/env -S python3 -I' -e gflowctl.__main__:program -o dist/pyz/gflowctl .
	@$(BIN)/shiv --quiet --reproducible -p '/usr/bin/env -S python3 -I' -e gflowd.main:main -o dist/pyz/gflowd .
	@ls -l dist/pyz

clean:
	@rm -rf $(VENV) $(FUZZ) $(OLDEST) $(SLURM) $(SSHD) $(PROMETHEUS) $(TOOLS) $(WEB) .packages .peers build dist *.egg-info .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# gflow itself, in a virtual environment; then also what developing it takes.
$(VENV)/installed: setup.cfg pyproject.toml gflowd/__init__.py
	@$(call want_environment)
	@$(call pip_install,--editable .)
	@touch $@

# One call of pip for all, since each would build gflow; most of what it installs is never imported.
$(VENV)/developer: setup.cfg pyproject.toml gflowd/__init__.py
	@$(call want_environment)
	@$(call pip_install,--no-compile --editable '$(DEVELOPING)')
	@touch $(VENV)/installed $@

$(VENV)/packager: $(VENV)/installed
	@$(BIN)/python -m pip install -qq --disable-pip-version-check build shiv
	@touch $@

define want_environment
if [ -z '$(PYTHON)' ]; then echo 'gflow needs Python 3.11 or later; none found on PATH' >&2; exit 1; fi
$(call want_venv)
if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	echo 'making $(VENV) with $(PYTHON)' && $(PYTHON) -m venv --clear $(VENV); fi
endef

define pip_install
$(BIN)/python -m pip install -qq --disable-pip-version-check $(1)
endef

# $(call want,COMMAND,PACKAGE,CONSEQUENCE): installs a missing Debian package where we may, else says what follows.
define want
command -v $(1) >/dev/null || { $(call apt_install,$(2)); } || echo '$(1) is missing: $(3)' >&2
endef

# Debian keeps venv's own pip in a package of its own.
define want_venv
$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(call apt_install,python3-venv); } || \
	{ echo 'python3-venv is missing; install it: sudo apt-get install python3-venv' >&2; exit 1; }
endef

define apt_install
[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo 'installing $(1)' && \
	{ apt-get install -qq -y $(1) >/dev/null 2>&1 || \
	{ apt-get update -qq && apt-get install -qq -y $(1) >/dev/null; }; }
endef
