"""Packing, unpacking and looking into packs, as a user does it."""

import json

import pytest
from typer.testing import CliRunner

from prosopon.cli.app import app
from prosopon.errors import ProsoponError
from prosopon.subnetwork import Subnetwork, write_pack
from tests.subnetwork.samples import subnetwork


@pytest.fixture
def command(folders, monkeypatch):
    """Return ``run(*arguments)``, in this process: what was printed, or the error."""
    monkeypatch.chdir(folders)
    monkeypatch.setenv("COLUMNS", "160")

    def run(*arguments):
        done = CliRunner().invoke(app, list(map(str, arguments)))
        if isinstance(done.exception, ProsoponError):
            return str(done.exception)
        assert done.exception is None, done.output
        return done.stdout

    return run


@pytest.fixture
def folders(tmp_path):
    subnetwork(0, ranked=True).save_pretrained(tmp_path / "one")
    subnetwork(1, persona="bold").save_pretrained(tmp_path / "two")
    return tmp_path


def test_pack_inspect_unpack(prosopon, command, folders):
    made = json.loads(prosopon("pack", "one", "brave=two", "-o", ".", "--json").stdout)
    path = folders / "personas.pack"
    expected = {"pack": "personas.pack", "bytes": path.stat().st_size}
    assert made == expected | {"personas": ["introvert", "brave"]}
    shown = json.loads(command("inspect", path, "--json"))
    assert list(shown["pack"]["personas"]) == ["introvert", "brave"]
    assert shown["summary"] == {"weights": 46, "sites": 2, "bytes": path.stat().st_size}
    text = command("inspect", path)
    assert "2 personas of org/model, 46 weights in 2 sites" in text
    assert "ranked" in text
    text = command("unpack", path, "-o", "all", "-p", "introvert", "-p", "brave")
    assert text.split() == ["wrote", "all/introvert", "wrote", "all/brave"]
    assert Subnetwork.from_pretrained(folders / "all/introvert") == subnetwork(0, ranked=True)
    assert Subnetwork.from_pretrained(folders / "all/brave") == subnetwork(1)
    assert "wrote x.pack: 2 personas" in command("pack", "one", "two", "-o", "x.pack")
    assert "introvert: is not empty; give --force" in command("unpack", path, "-o", "all")
    assert json.loads(command("unpack", path, "-o", "all", "--force", "--json")) == {
        "folders": ["all/introvert", "all/brave"]
    }
    assert "x.pack: is there already; give --force" in command("pack", "one", "-o", "x.pack")
    assert "1 personas" in command("pack", "one", "-o", "x.pack", "--force")


def test_inspect_shows_how_a_folder_is_encoded(command, folders):
    size = (folders / "one/subnetwork.safetensors").stat().st_size
    pruned = subnetwork(0).pruned
    text = command("inspect", "one")
    assert f"the ranking takes {pruned} bytes, the masks alone {size - pruned:,}, " in text
    assert f"a pruned weight; {size:,} bytes, " in text
    assert "ranking takes" not in command("inspect", "two")
    assert "any from 0 to 1" in command("inspect", "one")
    assert json.loads(command("inspect", "two", "--json"))["summary"]["masks_bytes"] > 0


def test_nothing_is_written_over_without_force(command, folders):
    command("pack", "one", "-o", "x.pack")
    before = (folders / "x.pack").read_bytes()
    assert "x.pack: is there already; give --force" in command("pack", "two", "-o", "x.pack")
    assert (folders / "x.pack").read_bytes() == before
    assert "wrote x.pack" in command("pack", "two", "-o", "x.pack", "--force")
    assert (folders / "x.pack").read_bytes() != before
    command("pack", "one", "two", "-o", "both.pack")
    (folders / "all/bold").mkdir(parents=True)
    (folders / "all/bold/mine.txt").write_text("mine")
    assert "all/bold: is not empty; give --force" in command("unpack", "both.pack", "-o", "all")
    assert not (folders / "all/introvert").exists()  # all of it or nothing


def test_personas_of_a_pack_are_given_like_others(command, folders):
    command("pack", "one", "two", "-o", "x.pack")
    assert "any from 0 to 1" in command("inspect", "x.pack#introvert")
    assert "wrote y.pack: 1 personas" in command("pack", "x.pack#bold", "-o", "y.pack")
    assert "wrote z.pack: 2 personas" in command("pack", "x.pack", "-o", "z.pack")
    assert "unknown persona 'nobody'" in command("inspect", "x.pack#nobody")


def test_what_goes_wrong_is_named(command, folders):
    assert "two personas are called 'introvert'; write one as NAME=one" in command(
        "pack", "one", "one", "-o", "x.pack"
    )
    assert "no/thing: no such folder, and from" in command("pack", "no/thing", "-o", "x")
    write_pack(folders / "evil.pack", {"../../evil": subnetwork()})
    said = command("unpack", "evil.pack", "-o", "all")
    assert "'../../evil' cannot be the name of a folder" in said
    assert not (folders / "all").exists()
    assert "not safetensors" in command("inspect", "one/subnetwork_config.json")
    assert "unknown persona 'nobody'" in command("unpack", "evil.pack", "-o", "a", "-p", "nobody")
