"""A Python file of one's own registers things of several kinds, or leaves nothing behind."""

import pytest

from prosopon.errors import OptionError
from prosopon.plugins import load_plugin, unload_plugin
from prosopon.registry import Registry, check_parts

CRITERION = """\
from prosopon.criteria import CRITERIA, Criterion
OWN = Criterion(name="own-one", summary="s", source="s", score=lambda i, o: i.weight)
CRITERIA.add("Own_One", OWN)
"""
READER = """
from prosopon.data.readers import READERS, Reader
READERS.add("own-rows", Reader("own-rows", "d", (".own",), lambda row: False, lambda row, at: []))
"""


@pytest.fixture
def write(tmp_path):
    """Write a plugin; what it registered is forgotten after the test."""
    start = len(Registry.history)

    def write(text, name="own.py"):
        (tmp_path / name).write_text(text, "utf-8")
        return tmp_path / name

    yield write
    for registry, name, module in Registry.history[start:]:
        if module.startswith("prosopon_plugin_") and name in registry:
            registry.remove(name)


def test_one_file_registers_things_of_several_kinds_once(write):
    from prosopon.criteria import CRITERIA
    from prosopon.data.readers import READERS

    file = write(CRITERION + READER)
    assert load_plugin(file) == {"criterion": ["own-one"], "format": ["own-rows"]}
    assert "own-one" in CRITERIA
    assert READERS.get("own-rows").suffixes == (".own",)
    names = load_plugin(str(file))  # not run again: a name would be taken
    names["criterion"].clear()
    assert load_plugin(file)["criterion"] == ["own-one"]
    unload_plugin(file)
    assert "own-one" not in CRITERIA
    assert load_plugin(file)["criterion"] == ["own-one"]
    unload_plugin(file)
    unload_plugin(file)  # nothing to forget


def test_what_a_plugin_imports_is_not_its_own(write, tmp_path, monkeypatch):
    (tmp_path / "helper_of_own.py").write_text(READER, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    names = load_plugin(write("import helper_of_own\n" + CRITERION))
    assert names == {"criterion": ["own-one"]}
    from prosopon.data.readers import READERS

    READERS.remove("own-rows")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", r"own.py registers nothing"),
        (CRITERION + "x = 1\nclass :\n", r"own.py, line 5: invalid syntax"),
        (CRITERION + "x = 1 / 0\n", r"own.py, line 4: ZeroDivisionError"),
        (CRITERION.replace("Own_One", "wanda"), r"line 3: ValueError.*is registered twice"),
        (CRITERION + "from prosopon.arms import ARMS\nARMS.add('x', 1)", r"arm 'x' lacks name"),
    ],
)  # fmt: skip
def test_a_file_that_fails_leaves_nothing_behind(write, text, message):
    from prosopon.criteria import CRITERIA

    before = CRITERIA.names()
    with pytest.raises(OptionError, match=message):
        load_plugin(write(text))
    assert CRITERIA.names() == before
    assert load_plugin(write(CRITERION)) == {"criterion": ["own-one"]}  # a mended file is run


def test_paths_that_are_no_plugin(write, tmp_path):
    with pytest.raises(OptionError, match=r"plugin .*nowhere.py: there is no such file"):
        load_plugin(tmp_path / "nowhere.py")
    with pytest.raises(OptionError, match=r"plugin .*own.txt: not a Python file"):
        load_plugin(write("", "own.txt"))


def test_a_registry_refuses_what_lacks_a_part():
    registry = Registry("thing", check_parts("thing", "real", "size"))
    with pytest.raises(OptionError, match=r"thing 'a' lacks size"):
        registry.add("A", 1)
    with pytest.raises(OptionError, match=r"thing 'a' is a class; add an instance"):
        registry.add("A", int)
    assert len(registry) == 0
