# Everything a developer types. Needs Python 3.11, make and gcc; the rest goes into .venv.
#
#   make demo PYTHON=/path/to/python3.11
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
#
# On Linux the torch of PyPI is the CUDA build and brings gigabytes that nothing here needs; TORCH_INDEX names
# a further package index to look at, such as PyTorch's own with the CPU build. Left empty, pip's own
# configuration decides.

PYTHON ?= python3.11
TORCH_INDEX ?=

PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check install --constraint constraints.txt \
       $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
READY := .venv/ready

.DEFAULT_GOAL := help
.PHONY: fuzz-events soak lava models test-upstream help demo test test-slow lint bench bench-digits bench-mapping fuzz-engines docs clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*  ## /  make \1\t/p' Makefile | expand -t 20

demo: $(READY)  ## compile, run, verify and estimate a small spiking transformer on handwritten digits
	$(PY) -m examples.digits.demo

test: $(READY)  ## run the tests; those on recorded data need SPIKELOOM_DATA=<folder> in the environment
	$(PY) -m pytest -m "not slow and not upstream and not lava" $(ARGS)

test-slow: $(READY)  ## run the tests that take minutes
	$(PY) -m pytest -m slow $(ARGS)

test-upstream: $(READY)  ## compile the authors' own models; needs clones in SPIKELOOM_UPSTREAM=<folder>
	$(PY) -m pytest -m upstream $(ARGS)

models: $(READY)  ## write docs/models.md anew; needs clones in SPIKELOOM_UPSTREAM=<folder>
	$(PY) -m tests.published.table > out/models.md && mv out/models.md docs/models.md

lint: $(READY)  ## check style, formatting and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m mypy --explicit-package-bases examples tests docs .ci/readme.py .ci/packages.py

bench: $(READY)  ## time the engines on generated networks against every peer, and write docs/benchmarks.md
	OMP_NUM_THREADS=1 $(PY) -m spikeloom bench --compile --large --lava \
	    --networks spikformer-2-128,spikformer-4-384,spikegpt-216m --output docs/benchmarks.json
	$(PY) docs/render_benchmarks.py docs/benchmarks.json

fuzz-engines: $(READY)  ## compare all engines on random networks: COUNT of them from SEED on; goes on where it stopped
	mkdir -p out
	OMP_NUM_THREADS=1 PYTHONPATH=src $(PY) -m tests.fuzz_engines --seed $(or $(SEED),0) --count $(or $(COUNT),10000) \
	    --jobs $$(nproc) --log out/fuzz.jsonl $(ARGS)

# mtkahypar is one of the peers; where it is not installed, its rows are left out. SPIKELOOM_DATA has Intel's tables.
bench-mapping: $(READY)  ## map the benchmark's networks, with peers, up to a billion neurons, and write docs/mapping.md
	OMP_NUM_THREADS=1 $(PY) -m examples.mapping.bench
	for neurons in 1e5 1.5e6 5e6 2e7 8e7 1e9; do \
	    OMP_NUM_THREADS=1 $(PY) -m examples.mapping.bench --scale $$neurons || exit 1; done
	test -z "$$SPIKELOOM_DATA" || $(PY) -m examples.mapping.bench \
	    --intel "$$SPIKELOOM_DATA/conformance/loihi2_measured/partition_tables.csv"
	$(PY) docs/render_mapping.py

bench-digits: $(READY)  ## time the engines on the digits against PyTorch, in turn in one process
	$(PY) -m examples.digits.demo --compile-only
	$(PY) -m spikeloom bench out/digits.loom --events out/digits/test \
	    --model examples/digits/model.py:build --weights examples/digits/digits.pt

lava: $(READY)  ## make the environment of Python 3.10 that Lava runs in, and run the tests against Lava
	$(PY) -m spikeloom doctor --setup-lava
	$(PY) -m pytest -m "lava and not slow" $(ARGS)

fuzz-events: $(READY)  ## damaged event files, 100,000 of each format; half an hour
	$(PY) -m tests.events.fuzz $(ARGS)

soak: $(READY)  ## a live source under kills and reconnects, every event accounted for; ten minutes
	$(PY) -m tests.events.soak $(ARGS)

docs: $(READY)  ## write the generated pages anew (errors, attention, quantization, full-size networks)
	$(PY) docs/render_errors.py
	$(PY) docs/render_attention.py
	$(PY) docs/render_quantization.py
	$(PY) -m docs.render_loihi

clean:  ## remove the environment and all that was built
	rm -rf .venv build dist out .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -prune -exec rm -rf {} +
	find . -name '*.egg-info' -prune -exec rm -rf {} +

# The stamp makes a second call instant; a change of what is installed renews the environment in place.
# setuptools comes first, pinned, so that the build of this package needs no environment of its own.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Spikeloom needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) setuptools
	$(PIP) --no-build-isolation --editable '.[torch,test,lint,examples]'
	$(PIP) --no-deps spikingjelly
	@touch $@
