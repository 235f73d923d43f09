"""A user's own task file: the documented example runs, and everything wrong is said."""

import re
from pathlib import Path

import pytest

from prosopon.errors import OptionError
from prosopon.evaluation.tasks import TASKS, load_task

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "own-task.md").read_text("utf-8")
EXAMPLE = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]


@pytest.fixture
def write(tmp_path):
    """Write a task file; what it registered is forgotten after the test."""
    before = set(TASKS.names())

    def write(text, name="mine.py"):
        file = tmp_path / name
        file.write_text(text, "utf-8")
        return file

    yield write
    for name in set(TASKS.names()) - before:
        TASKS.remove(name)


def test_the_example_of_the_page(write, speaker, setting):
    assert len([line for line in EXAMPLE.splitlines() if line.strip()]) <= 20
    file = write(EXAMPLE)
    assert load_task(file) == ["greeting"]
    assert load_task(str(file)) == ["greeting"]  # not run again
    task = TASKS.get("greeting")
    assert task.refuses(setting, writes=False) == "it needs free text"
    assert task.refuses(setting, writes=True) is None
    outcomes = task.run(speaker, setting).outcomes
    assert [each.question for each in outcomes] == ["Hello", "Good evening", "Nice to meet you"]
    assert all(set(outcome.values) == set(task.measures) for outcome in outcomes)
    assert all(outcome.answer for outcome in outcomes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", r"mine.py registers nothing"),
        ("x = 1\nclass :\n", r"mine.py, line 2: invalid syntax"),
        ("x = 1\n\ny = x / 0\n", r"mine.py, line 3: ZeroDivisionError"),
        ("import no_such_package\n", r"mine.py, line 1: ModuleNotFoundError.*no_such_package"),
        (EXAMPLE.replace('"greeting", G', '"choice", G'), r"'choice' is registered twice"),
        (EXAMPLE.replace("Greeting()", "Greeting"), r"task 'greeting' is a class"),
        (EXAMPLE.replace("def run", "def go"), r"task 'greeting' lacks run"),
        (re.sub(r"measures = .*", "measures = {}", EXAMPLE), r"task 'greeting' has no measures"),
        (EXAMPLE + "\nraise RuntimeError('late')\n", r"RuntimeError: late"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_leaves_nothing_behind(write, text, message):
    before = TASKS.names()
    with pytest.raises(OptionError, match=message):
        load_task(write(text))
    assert TASKS.names() == before


def test_a_mended_file_can_be_loaded(write):
    with pytest.raises(OptionError, match="registers nothing"):
        load_task(write("pass\n"))
    assert load_task(write(EXAMPLE)) == ["greeting"]


def test_no_such_file_and_no_python(write, tmp_path):
    with pytest.raises(OptionError, match=r"nowhere.py: there is no such file"):
        load_task(tmp_path / "nowhere.py")
    with pytest.raises(OptionError, match=r"mine.txt: not a Python file"):
        load_task(write(EXAMPLE, "mine.txt"))
