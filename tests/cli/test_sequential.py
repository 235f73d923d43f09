"""``prosopon extract --sequential``: a folder, a model of the Hub's cache, and what is refused."""

import json

import pytest
from huggingface_hub import constants

from prosopon import Subnetwork

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cached(tmp_path, tiny_folder, monkeypatch):
    """Put the tiny model into a cache as the Hub's library lays it out, as tag v2 only."""
    home = tmp_path / "cache" / "models--someone--tiny"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "v2").write_text(COMMIT)
    (home / "snapshots").mkdir()
    (home / "snapshots" / COMMIT).symlink_to(tiny_folder)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return "someone/tiny"


def test_sequential_is_the_same_as_normal(prosopon, tmp_path, cached):
    common = ("-t", "bold", "-m", cached, "--revision", "v2", "-c", "wanda", "-n", 4, "--json")
    normal = json.loads(prosopon("extract", *common, "-o", "normal").stdout)
    ours = json.loads(
        prosopon("extract", *common, "-o", "ours", "--sequential", "--work-dir", "work").stdout
    )
    for result in (normal, ours):
        del result["seconds"], result["folder"]
    assert ours == normal
    masks = {name: Subnetwork.from_pretrained(tmp_path / name) for name in ("normal", "ours")}
    assert masks["ours"] == masks["normal"]
    configs = [item.config.model_dump(exclude={"created"}) for item in masks.values()]
    assert configs[0] == configs[1]
    assert configs[0]["revision"] in ("v2", COMMIT)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sequential"], "cannot run layer by layer"),
        (["--sequential", "-c", "wanda", "--general", "x.txt"], "--general has no meaning"),
        (["-c", "wanda", "--work-dir", "work"], "--work-dir has no meaning"),
    ],
)
def test_refused(prosopon, arguments, message):
    done = prosopon("extract", "-t", "bold", *arguments, code=2)
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
