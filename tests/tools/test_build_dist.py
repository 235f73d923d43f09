"""What a distribution is made of, without building one: ``make dist`` does."""

import io
import re
import tarfile
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml
from tools.build_dist import (
    ROOT,
    check_sdist,
    check_wheel,
    contents,
    readme_for_pypi,
    repository,
    stage,
    tracked,
)

from prosopon.version import __version__

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
README = (ROOT / "README.md").read_text("utf-8")
RELATIVE = r"\]\((?!https?:|#)"


@pytest.fixture(scope="module")
def files():
    return tracked()


def test_the_metadata_agree():
    project = PROJECT["project"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert project["version"] == cited["version"] == __version__
    assert (project["name"], project["license"]) == (cited["title"], cited["license"])
    assert (project["description"], project["keywords"]) == (cited["abstract"], cited["keywords"])
    assert cited["cff-version"] == "1.2.0"
    assert cited["authors"] == [{"name": "The prosopon developers"}]
    (paper,) = cited["references"]
    assert paper["identifiers"][0]["value"] == "arXiv:2602.07164"
    assert paper["url"] == project["urls"]["Paper"]


def test_every_extra_of_the_development_one_is_there():
    extras = PROJECT["project"]["optional-dependencies"]
    named = re.findall(r"prosopon\[([\w,-]+)\]", " ".join(" ".join(e) for e in extras.values()))
    assert {name for group in named for name in group.split(",")} <= set(extras)


def test_every_extra_that_a_message_names_is_there(files):
    """A message says the whole line; what a docstring says of an extra need not."""
    extras = PROJECT["project"]["optional-dependencies"]
    for name in files:
        if name.endswith(".py"):
            text = (ROOT / name).read_text("utf-8")
            assert set(re.findall(r"prosopon\[([a-z-]+)\]", text)) <= set(extras), name
            assert not re.search(r"(?<!pip )install '?prosopon\[", text), name


def test_the_patterns_of_data_files_miss_none(files):
    package = ROOT / "src" / "prosopon"
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["prosopon"]
    matched = {path for pattern in patterns for path in package.glob(pattern)}
    data = {ROOT / name for name in files if name.startswith("src/") and not name.endswith(".py")}
    assert {path.suffix for path in data} >= {".safetensors", ".jinja", ".css", ".toml", ".typed"}
    assert data <= matched


def test_what_is_tracked_and_nothing_else(files, tmp_path):
    assert {"pyproject.toml", "README.md", "LICENSE", "src/prosopon/embedded/config.json"} <= {
        *files
    }
    assert not [name for name in files if re.match(r"tests/|tools/|docs/|\.", name)]
    stage(["README.md", "src/prosopon/py.typed"], tmp_path)
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()} == {
        "README.md", "src/prosopon/py.typed",
    }  # fmt: skip
    assert (tmp_path / "README.md").read_text("utf-8") == readme_for_pypi(README, repository())


def test_no_link_on_pypi_leads_nowhere():
    assert re.search(RELATIVE, README)
    words = readme_for_pypi(README, None)
    assert not re.search(RELATIVE, words)
    assert re.findall(r"\(https?:[^)]+\)", words) == re.findall(r"\(https?:[^)]+\)", README)
    linked = readme_for_pypi(README, "https://example.org/ours/")
    assert not re.search(RELATIVE, linked)
    count = len(re.findall(RELATIVE, README))
    goals = re.findall(r"\]\(https://example\.org/ours/(raw|blob)/HEAD/([^)#]+)", linked)
    assert len(goals) == count
    assert all((ROOT / goal).exists() for _, goal in goals)
    text = "![a figure](docs/a.svg)\n\n[one](b.md#c), [two](https://x.org) and [three](#d)\n"
    assert readme_for_pypi(text, None) == "one, [two](https://x.org) and [three](#d)\n"
    assert readme_for_pypi(text, "https://x.org/y") == (
        "![a figure](https://x.org/y/raw/HEAD/docs/a.svg)\n\n"
        "[one](https://x.org/y/blob/HEAD/b.md#c), [two](https://x.org) and [three](#d)\n"
    )


def make_wheel(path, names):
    with ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, name)
    return path


def test_a_wheel_holds_the_package_and_nothing_else(tmp_path):
    files = ["pyproject.toml", "src/prosopon/a.py", "src/prosopon/data/b.toml"]
    whole = ["prosopon/a.py", "prosopon/data/b.toml", "x.dist-info/METADATA", "x.dist-info/RECORD"]
    good = make_wheel(tmp_path / "good.whl", whole)
    assert check_wheel(good, files) == []
    assert set(contents(good)) == set(whole[:3])
    bad = make_wheel(tmp_path / "bad.whl", ["prosopon/a.py", "tests/c.py", "x.dist-info/METADATA"])
    assert check_wheel(bad, files) == [
        "bad.whl: prosopon/data/b.toml is missing", "bad.whl: tests/c.py does not belong there",
    ]  # fmt: skip


def test_an_sdist_holds_what_is_tracked_and_what_setuptools_writes(tmp_path):
    def pack(name, held):
        with tarfile.open(tmp_path / name, "w:gz") as file:
            for path in held:
                info = tarfile.TarInfo(f"prosopon-1/{path}")
                file.addfile(info, io.BytesIO())
        return tmp_path / name

    files = ["README.md", "src/prosopon/a.py"]
    made = ["PKG-INFO", "setup.cfg", "src/prosopon.egg-info/SOURCES.txt"]
    assert check_sdist(pack("good.tar.gz", files + made), files) == []
    assert check_sdist(pack("bad.tar.gz", ["README.md", "tests/b.py", *made]), files) == [
        "bad.tar.gz: src/prosopon/a.py is missing", "bad.tar.gz: tests/b.py does not belong there",
    ]  # fmt: skip


FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


@pytest.mark.parametrize("form", [f for f in FORMS if f.stem != "config"], ids=lambda f: f.stem)
def test_an_issue_form_has_what_the_site_asks_for(form):
    content = yaml.safe_load(form.read_text("utf-8"))
    assert set(content) == {"name", "description", "labels", "body"}
    labels = [field["attributes"]["label"] for field in content["body"]]
    assert len(set(labels)) == len(labels)
    assert any(field.get("validations", {}).get("required") for field in content["body"])
    assert {field["type"] for field in content["body"]} <= {"textarea", "input", "checkboxes"}


@pytest.mark.parametrize("page", ["SECURITY.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md"])
def test_the_links_of_the_pages_beside_the_readme_lead_somewhere(page):
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / page).read_text("utf-8")):
        assert Path(ROOT / link).exists(), link
