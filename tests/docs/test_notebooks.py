"""The notebooks hold what they printed, and their code still fits the library.

Running them takes too long for here: ``python tools/run_notebooks.py --check`` does it.
"""

import ast
import importlib.util
import json
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATHS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
pages = pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])

spec = importlib.util.spec_from_file_location("notebooks", ROOT / "tools" / "run_notebooks.py")
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


def read(path):
    return json.loads(path.read_text("utf-8"))


@pages
def test_the_code_compiles_and_takes_names_that_exist(path):
    names = 0
    for cell in tool.code_cells(read(path)):
        for node in ast.walk(ast.parse("".join(cell["source"]))):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("prosopon"):
                for alias in node.names:
                    assert hasattr(import_module(node.module), alias.name), alias.name
                    names += 1
    assert names >= 3


@pages
def test_a_notebook_holds_its_outputs(path):
    notebook = read(path)
    assert list(tool.faults(notebook)) == []
    cells = tool.code_cells(notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    kinds = [key for cell in cells for o in cell["outputs"] for key in o.get("data", ())]
    assert "image/png" in kinds
    assert tool.as_text(notebook) == path.read_text("utf-8")
    assert not any(o.get("name") == "stderr" for cell in cells for o in cell["outputs"])


@pages
def test_a_notebook_can_take_a_real_model_and_the_index_leads_to_it(path):
    cells = tool.code_cells(read(path))
    assert cells[0]["metadata"]["tags"] == ["parameters"]
    for notebook, model in ((read(path), "embedded"), (tool.switched(read(path)), "smollm2")):
        (cell,) = (c for c in tool.code_cells(notebook) if "if REAL" in "".join(c["source"]))
        names = {"MODEL": "embedded"}
        exec("".join(cell["source"]), names)
        assert names["MODEL"] == model
    assert f"(notebooks/{path.name})" in (ROOT / "docs" / "index.md").read_text("utf-8")


def test_there_are_notebooks():
    assert PATHS


def cell(*outputs):
    return {"cell_type": "code", "metadata": {}, "source": "", "outputs": list(outputs)}


def stream(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": [text]}


@pytest.mark.parametrize(
    ("outputs", "fault"),
    [
        ([], "no cell has an output"),
        ([{"output_type": "error", "ename": "KeyError", "evalue": "'x'"}], "KeyError: 'x'"),
        ([stream("in /home/me/x")], "holds /home/"),
        ([stream(sys.prefix)], "path of this machine"),
        ([stream("x" * 260_000)], "the notebook has 260,"),
        (
            [{"output_type": "display_data", "data": {"image/png": "A" * 100_000}}],
            "a picture has 75,000 bytes",
        ),
    ],
)
def test_what_no_reader_should_get_is_a_fault(outputs, fault):
    assert any(fault in line for line in tool.faults({"cells": [cell(*outputs)], "metadata": {}}))


def test_progress_and_times_do_not_stay():
    notebook = {"cells": [cell(stream("50%", "stderr"))], "metadata": {"widgets": {}}}
    notebook["cells"][0]["metadata"] = {"execution": {"iopub.status.busy": "now"}, "tags": ["a"]}
    (kept,) = tool.clean(notebook)["cells"]
    assert kept["outputs"] == []
    assert kept["metadata"] == {"tags": ["a"]}
    assert "widgets" not in notebook["metadata"]
