"""Which file imports which, read from sources alone.

Every import of a file counts, those inside functions and under TYPE_CHECKING included. A name
taken from a package's face leads to the file that the face takes it from.
"""

import ast


def module_name(path, root):
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join((root.name, *parts)).removesuffix(".__init__")


def read(root):
    return {module_name(p, root): (p, ast.parse(p.read_text("utf-8"))) for p in root.rglob("*.py")}


def imported(name, path, tree):
    """Yield (module, name in it or None) of every import, relative ones made absolute."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *filter(None, [node.module])])
            yield from ((base, alias.name) for alias in node.names)


def home(modules, module, name, depth=0):
    """Return the module that holds ``name``, through any faces between; None outside."""
    if name and f"{module}.{name}" in modules:
        return f"{module}.{name}"
    if module not in modules:
        return None
    path, tree = modules[module]
    if name and path.name == "__init__.py" and depth < 9:
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and not node.level:
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        return home(modules, node.module, alias.name, depth + 1)
    return module


def graph(modules):
    edges = {}
    for name, (path, tree) in modules.items():
        if path.name == "__init__.py":  # a face is a table of contents
            continue
        homes = {home(modules, *target) for target in imported(name, path, tree)}
        edges[name] = {h for h in homes if h and h != name}
    return edges


def reachable(edges, start):
    seen, stack = set(), [start]
    while stack:
        for target in edges.get(stack.pop(), ()):
            if target not in seen:
                seen.add(target)
                stack.append(target)
    return seen


def in_circles(edges):
    return {name for name in edges if name in reachable(edges, name)}
