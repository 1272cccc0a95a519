# Every target makes and keeps up its own environment in $(VENV): nothing has to be set up first.
#
#   make demo     cluster a photograph's pixels, write the images and the model, compare
#   make test     everything that CI runs
#   make help     the other targets

PYTHON ?= $(if $(filter Windows_NT,$(OS)),python,python3)
VENV ?= .venv

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
IN := $(BIN)/python

# What an environment was made from: when any of it changes, it is brought up to date.
# The folder is part of it because the scripts in an environment hold absolute paths.
STATE = $$(cat pyproject.toml | cksum) $$(pwd) $$($(IN) -V 2>&1)

# $(environment): the package with the extras $(EXTRAS) is installed in $(VENV).
define environment
@if ! $(IN) -c 'import pip' 2>/dev/null; then \
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("fastgmm needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + ": name another one, as in  make PYTHON=python3.13 $@")' || exit 1; \
	rmdir $(VENV) 2>/dev/null; \
	if [ -e $(VENV) ] && [ ! -e $(VENV)/pyvenv.cfg ]; then \
		echo "$(VENV) is not a Python environment: move it away, or name another, as in  make VENV=.venv-fastgmm $@" >&2; \
		exit 1; \
	fi; \
	echo "making $(VENV)"; \
	$(PYTHON) -m venv --clear $(VENV) || exit 1; \
fi; \
state="$(STATE)"; \
for installed in "$(EXTRAS)" all; do \
	[ "$$(cat $(VENV)/fastgmm-$$installed 2>/dev/null)" != "$$state" ] || exit 0; \
done; \
echo "installing fastgmm[$(EXTRAS)] into $(VENV)"; \
$(IN) -m pip install -qq --editable ".[$(EXTRAS)]" || exit 1; \
echo "$$state" > "$(VENV)/fastgmm-$(EXTRAS)"
endef

# Neighbors in a file go to the same process: they share fixtures, and compile the same functions.
PYTEST = $(IN) -m pytest -n auto --dist worksteal

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1\t\2/p' Makefile | expand -t 12

.PHONY: venv
venv: EXTRAS = all
venv: ## the environment with every extra, for development
	$(environment)

.PHONY: venv-demo
venv-demo: EXTRAS = cli,plot
venv-demo:
	$(environment)

# Where OPENBLAS_CORETYPE names an old processor, NumPy's products take twice the time, and the
# comparison would flatter.
.PHONY: demo
demo: venv-demo ## cluster a photograph's pixels into demo_output/, and compare with scikit-learn
	@env -u OPENBLAS_CORETYPE MPLBACKEND=agg $(IN) examples/plot_photograph.py --thin 1 --output demo_output

# All steps share one numba cache, empty at the start: the tests never see stale machine code. The
# tests of the kernels come first, which are to see code being compiled, and are not run again. The
# documentation and the benchmarks leave a core free each, so that they are made side by side.
.PHONY: test
test: venv ## everything that CI runs
	@cache=$$(mktemp -d) && trap 'rm -rf "$$cache"' EXIT && export NUMBA_CACHE_DIR="$$cache" && \
	$(MAKE) check && $(MAKE) kernel-coverage EMPTY_CACHE="$$cache" && \
	$(MAKE) unit TESTS="--ignore=tests/kernels" && $(MAKE) -j2 docs asv-quick

# Compiled code is kept between runs: the cache knows by a digest what was compiled from other sources.
.PHONY: quick
quick: venv ## lint, and the quick tests of the lower layers: an answer in two minutes
	@$(IN) -m ruff check . && $(IN) -m ruff format --check .
	@NUMBA_CACHE_DIR=$(abspath .numba-cache) $(PYTEST) -q -m "not slow" \
		tests/kernels tests/mixture tests/em tests/analysis tests/io

.PHONY: check
check: venv ## lint, formatting and types
	@$(IN) -m ruff check .
	@$(IN) -m ruff format --check .
	@$(IN) -m mypy

.PHONY: format
format: venv ## put the code into the one form that make check accepts
	@$(IN) -m ruff check --fix .
	@$(IN) -m ruff format .

.PHONY: unit
unit: venv ## the test suite
	@$(PYTEST) $(TESTS)

# Once compiled anew, which runs the Python code that writes machine code, and once as plain Python,
# because coverage cannot look into machine code.
.PHONY: kernel-coverage
kernel-coverage: venv ## line coverage of the kernels, which must be 95 % or more
	@cache=$${EMPTY_CACHE:-$$(mktemp -d)} && trap '[ -n "$(EMPTY_CACHE)" ] || rm -rf "$$cache"' EXIT && \
	NUMBA_CACHE_DIR="$$cache" $(PYTEST) tests/kernels -q --cov=fastgmm.kernels --cov-report= && \
	NUMBA_DISABLE_JIT=1 $(PYTEST) tests/kernels -q \
		--cov=fastgmm.kernels --cov-append --cov-report=term --cov-fail-under=95

.PHONY: docs
docs: venv ## the documentation, in docs/_build/html
	@rm -rf docs/api/generated docs/_build/html/plot_directive  # of what is no longer listed, or measured
	@$(IN) -m sphinx -W --keep-going --quiet -b html docs docs/_build/html
	@echo "documentation: docs/_build/html/index.html"

.PHONY: docs-accessibility
docs-accessibility: ## axe-core on five pages, with screenshots in docs/_build/screenshots; after make docs
	@$(IN) docs/accessibility.py

# Links within the documentation are checked whenever it is made, without a network.
.PHONY: linkcheck
linkcheck: venv ## the links of the documentation to other sites, over the internet
	@$(IN) -c 'from urllib.request import urlopen; urlopen("https://docs.python.org/3/", timeout=10)' 2>/dev/null || { \
		echo "make linkcheck needs the internet, and docs.python.org does not answer from here; make docs checks the links within the documentation" >&2; exit 1; }
	@$(IN) -m sphinx --quiet -b linkcheck -D plot_gallery=False docs docs/_build/linkcheck

.PHONY: bench
bench: venv ## this machine's peaks, and passes beside them
	@$(IN) -m fastgmm bench

.PHONY: compare
compare: venv ## every comparison with peers and targets, one after another; status 1 if a target is missed
	@status=0; for program in asv_benchmarks/comparisons/*.py; do \
		echo "== $$program"; env -u OPENBLAS_CORETYPE $(IN) $$program || status=1; \
	done; exit $$status

# In parts, so that whoever is interrupted has not lost everything.
.PHONY: benchmark-results
benchmark-results: venv ## measure fastgmm and its peers, and write what the pages on benchmarks show
	@status=0; for rows in pass/full/float64 pass/full/float32 pass/diag,scoring,k-means,fit; do \
		env -u OPENBLAS_CORETYPE $(IN) asv_benchmarks/comparisons/peers.py --rows $$rows \
			--output docs/benchmark_results/$$(echo $$rows | tr /, __).json || status=1; \
	done; exit $$status

# asv wants to know the machine's name and size before it runs anything.
ASV = cd asv_benchmarks && $(abspath $(IN)) -m asv machine --yes >/dev/null && \
	$(abspath $(IN)) -m asv run --environment existing:$(abspath $(IN))

.PHONY: asv
asv: venv ## the benchmarks that are followed over time, on what is installed here
	@$(ASV)

BASE ?= main~1

.PHONY: asv-compare
asv-compare: venv ## BASE=<commit>: asv runs it and HEAD by turns, and prints what changed beyond the noise
	@cd asv_benchmarks && $(abspath $(IN)) -m asv machine --yes >/dev/null && \
	$(abspath $(IN)) -m asv continuous --interleave-rounds --only-changed --factor 1.05 $(BASE) HEAD \
		$(if $(BENCH),--bench $(BENCH))

.PHONY: asv-history
asv-history: venv ## measure the present commit, and make a page of all that were, in .asv/html
	@cd asv_benchmarks && $(abspath $(IN)) -m asv machine --yes >/dev/null && \
	$(abspath $(IN)) -m asv run --skip-existing 'HEAD^!' && $(abspath $(IN)) -m asv publish

.PHONY: asv-quick
asv-quick: venv
	@export FASTGMM_ASV_SIZES=small; $(ASV) --quick --dry-run --show-stderr

.PHONY: fuzz
fuzz: venv ## alter model files, checkpoints and data files for MINUTES (10), and see what reading them does
	@NUMBA_CACHE_DIR=$(abspath .numba-cache) $(IN) -m tests.trust.fuzz --minutes $(or $(MINUTES),10)

# The engines are large: a Spark, a Ray and an MPI library, in an environment of their own.
.PHONY: test-recipes
test-recipes: ## the programs of docs/recipes, in Spark, Ray and MPI
	@$(MAKE) VENV=.venv-recipes EXTRAS=test,recipes venv unit TESTS=tests/test_recipes.py

.PHONY: golden
golden: venv ## write the results of now into the file that guards against silent changes
	@NUMBA_CACHE_DIR=$(abspath .numba-cache) $(IN) -m tests.trust.golden

.PHONY: distributions
distributions: venv ## the wheel and the sdist, in dist/
	@rm -rf dist && $(IN) -m build --outdir dist .

# In what the sdist holds besides the package: the wheel is what is imported, and both are tested.
.PHONY: test-installed
test-installed: ## the tests on what is in dist/, in an environment of their own outside the checkout
	@outside=$$(mktemp -d) && trap 'rm -rf "$$outside"' EXIT && \
	tar -xzf dist/*.tar.gz --strip-components 1 -C "$$outside" && rm -r "$$outside/fastgmm" && \
	$(PYTHON) -m venv "$$outside/.venv" && python="$$outside/$(subst $(VENV),.venv,$(IN))" && \
	"$$python" -m pip install -qq "$$(echo dist/*.whl)[all]" && cd "$$outside" && \
	"$$python" -m pytest -n auto --dist worksteal $(TESTS)

# The least versions that pyproject.toml allows, of all that it names.
# Packages of their own dependencies, that old versions were made for, are named here.
.PHONY: test-oldest
test-oldest: ## the tests with the oldest dependencies, in an environment of their own
	@python="$(subst $(VENV),.venv-oldest,$(IN))" && $(PYTHON) -m venv --clear .venv-oldest && \
	"$$python" -m pip install -qq uv && "$$python" -m uv pip install -q --python "$$python" \
		--resolution lowest-direct --editable ".[test,hdf5,zarr,dask,images,bench]" \
		"onnx==1.17.*" "pyparsing==3.1.*" && \
	"$$python" -m pytest -n auto --dist worksteal $(TESTS)

.PHONY: clean
clean: ## remove what was built, and keep the environment
	@rm -rf build dist demo_output docs/_build docs/gallery docs/api/generated .asv \
		.mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
	@find fastgmm tests examples asv_benchmarks -name __pycache__ -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean ## remove the environment too
	@rm -rf $(VENV)
