"""A postponed library: importing it costs nothing, using it loads it whole and once."""

import importlib
import subprocess
import sys

import pytest

from prosopon.cli.postponed import postpone


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A library of two files that counts how often it runs; forgotten afterwards."""
    folder = tmp_path / "lately"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "import sys\nsys.lately = getattr(sys, 'lately', 0) + 1\nvalue = 7\n"
    )
    (folder / "part.py").write_text("from lately import value\ntwice = 2 * value\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "lately", 0, raising=False)
    yield "lately"
    for name in ("lately", "lately.part"):
        sys.modules.pop(name, None)


def test_it_is_loaded_when_it_is_used(library):
    postpone(library)
    module = importlib.import_module(library)
    assert importlib.import_module(library) is module
    assert sys.lately == 0
    assert module.value == 7
    assert sys.lately == 1
    assert sys.modules[library] is module
    assert type(module) is type(sys)
    with pytest.raises(AttributeError, match="nothing"):
        _ = module.nothing
    assert sys.lately == 1


def test_a_part_of_it_loads_the_whole(library):
    postpone(library)
    assert importlib.import_module("lately.part").twice == 14
    assert sys.lately == 1


def test_what_is_loaded_or_nowhere_is_left_alone(library):
    module = importlib.import_module(library)
    postpone(library)
    postpone("no_such_library_at_all")
    assert sys.modules[library] is module
    assert "no_such_library_at_all" not in sys.modules
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("no_such_library_at_all")


def test_a_library_that_fails_says_so(library, tmp_path):
    (tmp_path / "lately/__init__.py").write_text("raise ImportError('broken inside')\n")
    postpone(library)
    with pytest.raises(ImportError, match="broken inside"):
        _ = importlib.import_module(library).value


def test_the_real_one_is_whole():
    code = (
        "import sys\nfrom prosopon.cli.postponed import postpone\npostpone('torch')\n"
        "import torch\nassert 'torch._C' not in sys.modules\n"
        "from torch.nn.functional import softplus\n"
        "print(float(softplus(torch.zeros(1))), torch.nn.functional.softplus is softplus)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0.6931471824645996 True\n"
