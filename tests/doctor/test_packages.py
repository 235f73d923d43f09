"""What is installed, by metadata that lies where Python looks for it."""

import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from prosopon.cli.app import app
from prosopon.doctor.packages import (
    APART,
    NEEDS,
    Package,
    faults,
    installed_as,
    python_fits,
    read_requirements,
)

ROOT = Path(__file__).parents[2]
METADATA = """Metadata-Version: 2.4
Name: own-thing
Version: 1.5
Requires-Python: >=3.11
Requires-Dist: near>=2,<3
Requires-Dist: far>=1; python_version < "3.0"
Requires-Dist: gone>=4
Provides-Extra: small
Requires-Dist: near>=2.5; extra == "small"
Provides-Extra: large
Requires-Dist: own-thing[small]; extra == "large"
Requires-Dist: extra-thing; extra == "large" and sys_platform != "never"
Requires-Dist: ???; extra == "large"
Provides-Extra: round
Requires-Dist: own-thing[round,small]; extra == "round"
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder with three installed packages, one of them needing others."""
    for name, version, text in (
        ("own_thing", "1.5", METADATA),
        ("near", "2.1", "Metadata-Version: 2.1\nName: near\nVersion: 2.1\n"),
        ("extra_thing", "7.0rc1", "Metadata-Version: 2.1\nName: extra-thing\nVersion: 7.0rc1\n"),
    ):
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_requirements_are_read_by_extra(site):
    extras = read_requirements("own-thing")
    assert extras[""] == [Package("near", "<3,>=2", "2.1"), Package("gone", ">=4", None)]
    assert extras["small"] == [Package("near", ">=2.5", "2.1")]
    assert extras["large"] == [
        Package("near", ">=2.5", "2.1"),
        Package("extra-thing", "", "7.0rc1"),
    ]
    assert extras["round"] == extras["small"]


def test_what_is_wrong_is_said_in_words(site):
    extras = read_requirements("own-thing")
    assert [package.is_right for package in extras[""]] == [True, False]
    assert faults([*extras[""], *extras["small"], *extras["small"]]) == [
        "gone is missing",
        "near 2.1 is not >=2.5",
    ]
    assert faults(extras["large"][1:]) == []


def test_where_it_is_not_installed_nothing_is_known(site):
    assert read_requirements("nobody-has-this") == {}
    assert installed_as("nobody-has-this") is None
    assert installed_as("own-thing") == ("1.5", ">=3.11")
    assert installed_as("near") == ("2.1", "")


def test_pythons():
    assert python_fits(">=3.11")
    assert python_fits("")
    assert not python_fits("<3")


def test_commands_and_extras_are_those_of_the_package():
    commands = get_command(app).commands
    assert set(NEEDS) <= set(commands)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {need.extra for needs in NEEDS.values() for need in needs}
    assert named <= set(extras["optional-dependencies"])
    assert not named & set(APART)
    assert any(line.startswith("packaging") for line in extras["dependencies"])


def test_every_package_that_a_requirement_names_is_read():
    """On this installation, whatever it is."""
    own = read_requirements()
    assert {"torch", "transformers", "typer"} <= {package.name for package in own[""]}
    assert all(package.is_right for package in own[""])
