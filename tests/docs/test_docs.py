"""What the pages say of commands, options, names, files and formats is so."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
from typer.main import get_command

import prosopon
from prosopon.arms import ARMS
from prosopon.cli.app import app
from prosopon.criteria import CRITERIA
from prosopon.data import read_examples
from prosopon.data.readers import READERS
from prosopon.evaluation.tasks import TASKS
from tools import write_docs

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    + [page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "comparison"]
)
COMMANDS = get_command(app).commands
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
OWN = {n for file in EXAMPLES for n in re.findall(r'\.add\(\s*"([^"]+)"', file.read_text("utf-8"))}
PLACEHOLDER = re.compile(r"[A-Z]+|\.\.\.|mine|character:.*")


def names(paths):
    return [str(path.relative_to(ROOT)) for path in paths]


pages = pytest.mark.parametrize("page", PAGES, ids=names(PAGES))


def command_lines(page):
    """Return the words of every ``prosopon ...`` on a page, and whether it is a whole command."""
    if page.name == "commands.md":  # written from the commands themselves
        return
    text = page.read_text("utf-8").replace("\\\n", " ")
    text = re.sub(r"```text\n.*?```", "", text, flags=re.DOTALL)
    for line in text.splitlines():
        for part in re.split(r"; (?:do )?", line.strip().removeprefix("$ ")):
            if part.startswith("prosopon ") and not re.search(r"pruned|: ", part):
                yield part, True
    for part in re.findall(r"`(prosopon [^`]+)`", text):
        yield part, False


def arguments(part):
    """Return the words after ``prosopon``, without the brackets of what may be left out."""
    return shlex.split(re.sub(r"[\[\]$]", "", part), comments=True)[1:]


def parse(words):
    """Return the options that a command line sets, as the real command reads them."""
    command = COMMANDS[words[0]]
    context = command.context_class(command, info_name=words[0])
    values, _, _ = command.make_parser(context).parse_args(list(words[1:]))
    return command, values


def listed(values, *keys):
    for key in keys:
        value = values.get(key) or []
        for part in [value] if isinstance(value, str) else value:
            names = [n for n in part.split(",") if n and not PLACEHOLDER.fullmatch(n)]
            yield from (name for name in names if name not in OWN)


@pages
def test_every_command_is_read_by_the_real_one(page):
    for part, whole in command_lines(page):
        words = arguments(part)
        if words[0] in ("COMMAND", "...") or words[0] == "lm-eval":
            continue
        assert words[0] in COMMANDS, part
        command, values = parse([word for word in words if word != "--help"])
        needed = {p.name for p in command.params if p.required and p.param_type_name == "option"}
        assert not whole or needed <= set(values), part


@pages
def test_every_criterion_arm_task_and_option_is_there(page):
    arms = {name for name, _ in ARMS.items()}
    tasks = {name for name, _ in TASKS.items()}
    criteria = {name for name, _ in CRITERIA.items()}
    for part, _ in command_lines(page):
        words = arguments(part)
        if words[0] not in COMMANDS or words[0] == "lm-eval":
            continue
        _, values = parse([word for word in words if word != "--help"])
        assert set(listed(values, "criterion", "criteria")) <= criteria | {"all"}, part
        assert set(listed(values, "arms", "arm")) <= arms | criteria | {"all"}, part
        assert set(listed(values, "tasks", "task")) <= tasks | {"list"}, part
        for option in values.get("option") or []:
            owner, _, name = option.split("=")[0].rpartition(".")
            if words[0] in ("extract", "compare", "sweep") and owner in ("", *criteria):
                if (values.get("criterion") or "") in OWN:
                    continue
                criterion = CRITERIA.get(owner or values.get("criterion") or "contrastive-taylor")
                fields = criterion.options.__dataclass_fields__
                assert name in fields or name in ("key", "name", "sparsity", "pattern"), part


@pages
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert (page.parent / link).exists(), link


@pages
def test_files_and_names_in_code_exist(page):
    for name in re.findall(r"`([^`\n]+)`", page.read_text("utf-8")):
        if re.fullmatch(r"(src|tests|tools|benchmarks|docs)/[\w./*-]+", name):
            assert list(ROOT.glob(name.rstrip("/"))), name
        if re.fullmatch(r"prosopon(\.\w+)+", name) and name != "prosopon.json":
            resolve(name)


def resolve(name):
    """Import the longest module of a dotted name and look the rest up in it."""
    words = name.split(".")
    for end in range(len(words), 0, -1):
        try:
            value = import_module(".".join(words[:end]))
        except ModuleNotFoundError:
            continue
        for word in words[end:]:
            value = getattr(value, word)
        return value
    raise AssertionError(name)


@pages
def test_python_compiles_and_its_imports_exist(page):
    for block in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        compile(block, str(page), "exec")
        for module, wanted in re.findall(r"^from (prosopon[\w.]*) import (.+)$", block, re.M):
            for name in wanted.split(","):
                assert hasattr(import_module(module), name.strip()), f"{module}: {name}"


@pages
def test_no_sentence_is_long(page):
    text = re.sub(r"```.*?```|<!--.*?-->", "", page.read_text("utf-8"), flags=re.DOTALL)
    lines = [line for line in text.splitlines() if not line.startswith(("|", "    "))]
    for sentence in re.split(r"(?<=[.:;!?])\s+|\n\s*(?:[-#]|\d\.)|\n\n", "\n".join(lines)):
        assert len(sentence.split()) < 50, sentence


def test_every_page_stands_in_the_navigation():
    places = re.findall(
        r"^ +- (?:[^:\n]+: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.M
    )
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert set(places) == pages | {"changelog.md", "contributing.md"}
    assert len(places) == len(set(places))


def test_the_python_page_has_every_public_name():
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    names = re.findall(r"^::: prosopon\.(\w+)$", page, re.MULTILINE)
    assert sorted([*names, "__version__"]) == sorted(prosopon.__all__)


FORMATS = re.findall(
    r"<!-- example (\S+) (\.\w+) -->\n```\w+\n(.*?)```",
    (ROOT / "docs" / "data-formats.md").read_text("utf-8"),
    re.DOTALL,
)


@pytest.mark.parametrize(("name", "suffix", "text"), FORMATS, ids=[f[0] for f in FORMATS])
def test_the_example_of_a_format_is_recognised(tmp_path, name, suffix, text):
    file = tmp_path / f"rows{suffix}"
    file.write_text(text, "utf-8")
    examples = read_examples(file)
    assert examples
    assert examples == read_examples(file, name)


def test_every_format_has_an_example():
    assert {name for name, _ in READERS.items()} == {name for name, _, _ in FORMATS}


def test_the_house_has_a_row_for_every_package():
    source = ROOT / "src" / "prosopon"
    page = (ROOT / "docs" / "design" / "structure.md").read_text("utf-8")
    rows = re.findall(r"^\| (`.+?`) \|", page, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    packages = {path.parent.name for path in source.glob("*/__init__.py")}
    files = {path.stem for path in source.glob("*.py")} - {"__init__", "__main__"}
    assert set(named) == packages | files


def test_the_readme_is_short():
    words = (ROOT / "README.md").read_text("utf-8").split()
    assert len([word for word in words if re.search(r"\w", word)]) <= 700


@pytest.mark.parametrize(
    "page", [write_docs.COMMANDS, *write_docs.INCLUDING], ids=lambda page: page.name
)
def test_what_comes_from_the_code_is_up_to_date(page):
    of_commands = page == write_docs.COMMANDS
    made = write_docs.describe_commands() if of_commands else write_docs.include_files(page)
    assert page.read_text("utf-8") == made, "run python tools/write_docs.py"


def test_the_pages_of_criteria_are_up_to_date_and_say_when_to_use_them():
    made = write_docs.describe_criteria()
    assert set(made) == set(write_docs.CRITERIA_PAGES.glob("*.md"))
    for page, text in made.items():
        assert page.read_text("utf-8") == text, "run python tools/write_docs.py"
        assert len(write_docs.HAND.search(text)[1].split()) >= 15, page.name


def test_every_example_stands_in_a_page():
    pages = "".join(page.read_text("utf-8") for page in write_docs.INCLUDING)
    marks = set(re.findall(r"<!-- file examples/(\S+) -->", pages))
    assert marks == {file.name for file in EXAMPLES}
