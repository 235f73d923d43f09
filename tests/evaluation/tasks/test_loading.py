"""Tasks of the user's own, and the example of the documentation."""

import re
from pathlib import Path

import pytest

from prosopon.errors import OptionError
from prosopon.evaluation.tasks import TASKS
from prosopon.evaluation.tasks.loading import load_task

PAGE = Path(__file__).parents[3] / "docs" / "tasks.md"


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(TASKS, "_items", dict(TASKS._items))


def test_the_example_of_the_page_runs(registry, tmp_path, speaker, setting):
    code = re.search(r"<!-- task -->\n```python\n(.*?)```", PAGE.read_text("utf-8"), re.S)[1]
    file = tmp_path / "exclaims.py"
    file.write_text(code)
    assert load_task(file) == ["exclaims"]
    assert load_task(file) == ["exclaims"]
    found = TASKS.get("exclaims").run(speaker, setting)
    assert len(found.outcomes) == 12
    assert {o.values["exclaims"] for o in found.outcomes} <= {0.0, 1.0}


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("x = 1", "registers no task"),
        ("import nothing_like_this", "ModuleNotFoundError"),
        ("def", "SyntaxError"),
        ("from prosopon.evaluation.tasks import TASKS\nTASKS.add('choice', 1)", "registered twice"),
    ],
)
def test_files_that_are_no_task(registry, tmp_path, code, told):
    file = tmp_path / "task.py"
    file.write_text(code)
    with pytest.raises(OptionError, match=told):
        load_task(file)


def test_no_such_file(tmp_path):
    with pytest.raises(OptionError, match="no such task file"):
        load_task(tmp_path / "nothing.py")
