"""No circle, one name for one thing, and as many tests as code: read from the sources alone."""

import ast
from collections import defaultdict
from pathlib import Path

import prosopon
from tests.imports import graph, imported, in_circles, module_name, read

SOURCE = Path(prosopon.__file__).parent
TESTS = Path(__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
MODULES = read(SOURCE)
TREES = dict(MODULES.values())
# Words that stand for a thing without naming it.
NO_NAMES = {"found", "told", "each", "asked", "made", "kept", "given", "known", "held"}


def imports(path):
    """Return the modules that a file names in its imports."""
    name = module_name(path, SOURCE)
    return {
        f"{module}.{part}" if f"{module}.{part}" in MODULES else module
        for module, part in imported(name, *MODULES[name])
    }


def test_no_circle_of_files():
    assert not in_circles(graph(MODULES))


def test_circles_are_seen_whatever_the_import_looks_like(tmp_path):
    root = tmp_path / "prosopon"
    (root / "room").mkdir(parents=True)
    files = {
        "__init__.py": "from prosopon.room.c import C\n",
        "a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import prosopon.b\n",
        "b.py": "def late():\n    from . import a\n",
        "room/__init__.py": "",
        "room/c.py": "from prosopon.room import d\nclass C: ...\n",
        "room/d.py": "from prosopon import C\n",
        "room/e.py": "from ..a import thing\nfrom .c import C\n",
    }
    for name, text in files.items():
        (root / name).write_text(text)
    edges = graph(read(root))
    assert edges["prosopon.room.d"] == {"prosopon.room.c"}
    assert edges["prosopon.room.e"] == {"prosopon.a", "prosopon.room.c"}
    circles = {"prosopon.a", "prosopon.b", "prosopon.room.c", "prosopon.room.d"}
    assert in_circles(edges) == circles


def test_from_prosopon_import_leads_to_a_file():
    """A package of the house never takes a name from the house's own face."""
    faces = {"prosopon"}
    wrong = [
        str(path.relative_to(SOURCE))
        for path in FILES
        if path.parent != SOURCE and path.name != "__main__.py" and faces & imports(path)
    ]
    assert not wrong


def test_a_file_imports_no_face_of_its_own_package():
    wrong = []
    for path in FILES:
        package = (
            module_name(path.parent / "__init__.py", SOURCE) if path.parent != SOURCE else None
        )
        if path.name not in ("__init__.py", "__main__.py") and package in imports(path):
            wrong.append(str(path.relative_to(SOURCE)))
    assert not wrong


def test_a_public_class_has_a_name_of_its_own():
    places = defaultdict(list)
    for path in FILES:
        for node in TREES[path].body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(SOURCE)))
    assert not {name: files for name, files in places.items() if len(files) > 1}


def lines(folder):
    return sum(len(path.read_text("utf-8").splitlines()) for path in folder.rglob("*.py"))


def test_every_package_has_four_test_lines_to_five_of_its_own():
    thin = {}
    for folder in sorted(path for path in SOURCE.iterdir() if (path / "__init__.py").exists()):
        share = lines(TESTS / folder.name) / lines(folder)
        if share < 0.8:
            thin[folder.name] = round(share, 2)
    assert not thin


def names(tree):
    """Yield the names that a file gives: variables, parameters, attributes of self, functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def test_names_say_what_a_thing_is():
    wrong = {
        str(path.relative_to(SOURCE)): sorted({n for n in names(tree) if n.strip("_") in NO_NAMES})
        for path, tree in TREES.items()
    }
    assert not {path: bad for path, bad in wrong.items() if bad}
