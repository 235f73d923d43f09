"""No circle, one name for one thing, and as many tests as code: read from the sources alone."""

import ast
from collections import defaultdict
from pathlib import Path

import prosopon

SOURCE = Path(prosopon.__file__).parent
TESTS = Path(__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
MODULES = {
    ".".join(("prosopon", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in FILES
}
TREES = {path: ast.parse(path.read_text("utf-8")) for path in FILES}
# Packages whose tests are still thinner than four lines to five of source; it only shrinks.
THIN = {
    "analysis": 0.42,
    "arms": 0.56,
    "cli": 0.74,
    "criteria": 0.71,
    "data": 0.79,
    "evaluation": 0.65,
    "experiments": 0.43,
    "export": 0.72,
    "extraction": 0.64,
    "gradients": 0.48,
    "intervals": 0.64,
    "judges": 0.72,
    "layerwise": 0.62,
    "lm": 0.66,
    "selection": 0.76,
    "statistics": 0.53,
    "subnetwork": 0.73,
}
# Words that stand for a thing without naming it.
NO_NAMES = {"found", "told", "each", "asked", "made", "kept", "given", "known", "held"}


def module_of(path):
    return next(name for name, file in MODULES.items() if file == path)


def imports(path):
    """Yield every module of the house that a file imports, wherever in the file it does.

    ``from prosopon import x`` and ``from prosopon.room import x`` lead to the file that ``x``
    is, where it is one; a package's own ``__init__`` is its table of contents and no room.
    """
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "prosopon":
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name in MODULES)


def graph():
    """Return which files import which; a face stands for the files that it takes names from."""
    edges = {}
    for path in FILES:
        if path.name == "__init__.py":
            continue
        targets = {MODULES[name] for name in imports(path) if name in MODULES}
        edges[path] = {target for target in targets if target.name != "__init__.py"} - {path}
    return edges


def circle(edges):
    """Return the files of one circle, or nothing."""
    state = dict.fromkeys(edges, 0)

    def visit(path, trail):
        state[path] = 1
        for target in sorted(edges.get(path, ())):
            if state.get(target) == 1:
                return [*trail[trail.index(target) :], target] if target in trail else [target]
            if state.get(target) == 0:
                ring = visit(target, [*trail, target])
                if ring:
                    return ring
        state[path] = 2
        return []

    for path in edges:
        if state[path] == 0:
            ring = visit(path, [path])
            if ring:
                return [str(member.relative_to(SOURCE)) for member in ring]
    return []


def test_no_circle_of_files():
    assert not circle(graph())


def test_a_planted_circle_is_seen():
    first, second = FILES[5], FILES[6]
    assert circle({first: {second}, second: {first}})


def test_from_prosopon_import_leads_to_a_file():
    """A package of the house never takes a name from the house's own face."""
    faces = {"prosopon"}
    wrong = [
        str(path.relative_to(SOURCE))
        for path in FILES
        if path.parent != SOURCE and path.name != "__main__.py" and faces & set(imports(path))
    ]
    assert not wrong


def test_a_file_imports_no_face_of_its_own_package():
    wrong = []
    for path in FILES:
        package = module_of(path.parent / "__init__.py") if path.parent != SOURCE else None
        if path.name not in ("__init__.py", "__main__.py") and package in set(imports(path)):
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
        if share < THIN.get(folder.name, 0.8):
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
