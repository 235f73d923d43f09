"""The house keeps its shape: who may import whom, how long a file is, what an import costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import prosopon
from tests.imports import home, imported, module_name, read

SOURCE = Path(prosopon.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
MODULES = read(SOURCE)
ORDER = [
    "version", "errors", "ranks", "registry", "plugins", "files", "hub", "options", "progress",
    "intervals", "drawing", "data", "embedded", "models", "lm", "statistics", "gradients",
    "selection", "criteria", "subnetwork", "judges", "description", "extraction", "layerwise",
    "runtime", "export", "evaluation", "arms", "analysis", "experiments", "harness", "serving",
    "page", "doctor", "cli",
]  # fmt: skip


def room(path):
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def imports(path):
    """Yield what a file names in its imports, and where each name lives."""
    name = module_name(path, SOURCE)
    for module, part in imported(name, *MODULES[name]):
        yield module
        place = home(MODULES, module, part)
        if place and place != module:
            yield place


def test_a_package_imports_only_those_to_its_left():
    wrong = []
    for path in FILES:
        if room(path) in ("__init__", "__main__"):
            continue
        here = ORDER.index(room(path))
        wrong += [
            f"{path.relative_to(SOURCE)} imports {module}"
            for module in imports(path)
            if module.startswith("prosopon.") and ORDER.index(module.split(".")[1]) > here
        ]
    assert not wrong


def test_a_name_taken_from_the_front_door_leads_home():
    assert home(MODULES, "prosopon", "load_model") == "prosopon.models.loading"
    assert home(MODULES, "prosopon", "__version__") == "prosopon.version"
    assert home(MODULES, "torch", "nn") is None


def test_a_command_imports_no_other_command():
    shared = {
        "app",
        "console",
        "describing",
        "judging",
        "loading",
        "masks",
        "options",
        "experiments",
        "talk",
        "postponed",
        "serving",
    }
    commands = {path.stem for path in (SOURCE / "cli").glob("[a-z]*.py")} - shared
    wrong = [
        f"cli/{path.name} imports {module}"
        for path in (SOURCE / "cli").glob("*.py")
        for module in imports(path)
        if path.stem != "app"
        and module.startswith("prosopon.cli.")
        and module.removeprefix("prosopon.cli.") in commands
    ]
    assert len(commands) > 10
    assert not wrong


def test_files_are_short_and_begin_with_what_they_are():
    texts = {path: path.read_text("utf-8") for path in FILES}
    assert not [path for path, text in texts.items() if len(text.splitlines()) >= 450]
    assert not [path for path, text in texts.items() if not ast.get_docstring(ast.parse(text))]


def test_every_public_name_is_there():
    for name in prosopon.__all__:
        assert getattr(prosopon, name) is not None
    assert set(prosopon.__all__) <= set(dir(prosopon))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = prosopon.nothing


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("prosopon", ["torch", "transformers", "pydantic", "rich", "typer", "numpy"]),
        ("prosopon.data", ["torch", "transformers", "datasets"]),
        ("prosopon.models", ["transformers", "datasets"]),
        ("prosopon.cli.app", ["torch", "transformers"]),
    ],
)
def test_an_import_does_not_load_what_is_heavy(module, heavy):
    code = f"import sys, {module}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_file_needs_torch_to_be_imported():
    """Names are refused before torch is loaded: see prosopon.cli.postponed."""
    packages = ["analysis", "evaluation.tasks", "experiments.experiment", "export", "layerwise"]
    packages += ["experiments.paper_plan", "experiments.paper_tables"]
    code = f"""
import sys
from importlib import import_module
from prosopon.cli.postponed import postpone
postpone("torch")
for name in {packages!r}:
    import_module("prosopon." + name)
print("torch._C" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False", (
        "something uses torch while it is imported: take it as `import torch`, and types from it "
        "under TYPE_CHECKING\n" + done.stderr
    )
