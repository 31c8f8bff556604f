# Two commands do everything: `make reproduce-all` and `make test`. `make help` lists the rest.
PYTHON   ?= python3
SCALE    ?= laptop
LAUNCHER ?= local
ARGS     ?=
VENV     := .venv
RUN      := $(VENV)/bin/python
READY    := $(VENV)/.ready

empty :=
comma := ,
# Overnight is a scale of some experiments only: those with a file that says what it is.
SIZES    := $(if $(filter overnight,$(SCALE)),configs/overlay/overnight,configs/experiment)
names     = $(subst $(empty) $(empty),$(comma),$(patsubst $(1)/%.yaml,%,$(sort $(wildcard $(1)/*/*.yaml))))
EXPERIMENTS := $(call names,$(SIZES))

# Parallelism is over processes: two threads in two processes on two cores are several times slower.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1

TASKS := HalfCheetah-v5 Hopper-v5 Walker2d-v5 Ant-v5 Humanoid-v5

.PHONY: help setup reproduce-all reproduce figures test lint bench experts $(addprefix expert-,$(TASKS))

help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'
	@echo "  variables: SCALE=smoke|laptop|overnight|paper  EXPERIMENT=<source>/<name>  ARGS=\"key=value ...\"  of reproduce-all: LAUNCHER=local|slurm|submitit_local"

setup: $(READY) ## create .venv and install requirements.lock (the other commands do it when needed)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; (3, 11, 4) <= sys.version_info < (3, 14) or sys.exit("error: $(PYTHON) is %d.%d.%d; allowed is 3.11.4 to 3.13 (make PYTHON=python3.11 ...)" % sys.version_info[:3])'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

reproduce-all: $(READY) ## measure, draw, decide and report every experiment at SCALE
	$(RUN) -m experiments --multirun experiment=$(EXPERIMENTS) scale='$(SCALE)' hydra/launcher='$(LAUNCHER)' $(ARGS)

reproduce: $(READY) ## the same for one: EXPERIMENT=critique/gradient_sign SCALE=smoke ARGS="k=[0.5]"
	$(RUN) -m experiments experiment='$(EXPERIMENT)' scale='$(SCALE)' $(ARGS)

figures: $(READY) ## redraw all figures, the ledger, the scoreboard and the page from the CSVs alone
	$(RUN) -m experiments.harness.report

lint: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m basedpyright --level error

test: $(READY) lint ## lint, types, tests, every experiment at smoke scale, committed figures redrawn and compared
	$(RUN) -m pytest --numprocesses 2 --dist worksteal
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
		$(RUN) -m experiments --multirun experiment=$(call names,configs/experiment) scale=smoke results="$$folder"
	$(RUN) -m experiments.harness.report --check

experts: $(READY) ## train the MuJoCo experts (hours; goes on where it was cut off), one process per core
	$(MAKE) --jobs=$$(nproc) $(addprefix expert-,$(TASKS))

$(addprefix expert-,$(TASKS)): expert-%: $(READY)
	$(RUN) -m imitation.control.experts train $*
	$(RUN) -m imitation.control.experts keep $*

bench: $(READY) ## measure speed against peers, each in a virtual environment of its own
	$(RUN) benchmarks/langevin.py
	$(RUN) benchmarks/ibc_step.py
	$(RUN) benchmarks/sac.py
	$(RUN) benchmarks/csil.py
	$(RUN) benchmarks/maxent_irl.py
	$(RUN) benchmarks/moment_game.py
