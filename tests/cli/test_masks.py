"""A persona's mask as commands are given it."""

import json
import sys

import pytest

from prosopon.cli.masks import choose_model, find_mask, load_mask, load_masks
from prosopon.errors import OptionError, SubnetworkError, UnknownNameError
from prosopon.subnetwork import write_pack
from tests.subnetwork.samples import subnetwork


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Masks where extract and demo put them, and a pack."""
    monkeypatch.chdir(tmp_path)
    for seed, (place, criterion) in enumerate(
        [
            ("personas/introvert-contrastive-taylor", "contrastive-taylor"),
            ("demo-artifacts/introvert-wanda", "wanda"),
            ("mine", "wanda"),
        ]
    ):
        subnetwork(seed, criterion=criterion).save_pretrained(place)
    subnetwork(3, persona="bold", criterion="magnitude").save_pretrained("personas/a")
    subnetwork(4, persona="bold", criterion="wanda").save_pretrained("personas/b")
    write_pack("two.pack", {"quiet": subnetwork(5), "loud": subnetwork(6, persona="x")})
    return tmp_path


def test_ways_to_name_one(folders, monkeypatch):
    assert find_mask("mine").place == find_mask("./mine").place
    assert str(find_mask("introvert").place) == "personas/introvert-contrastive-taylor"
    assert str(find_mask("introvert-wanda").place) == "demo-artifacts/introvert-wanda"
    assert find_mask("two.pack#loud")[1:3] == (find_mask("two.pack").place, "loud")
    assert find_mask("hf:org/name").place == "org/name"
    assert find_mask("org/name").place == "org/name"
    monkeypatch.setenv("HOME", str(folders))
    assert find_mask("~/mine").place == folders / "mine"


def test_what_is_nowhere_is_refused_with_what_there_is(folders):
    with pytest.raises(SubnetworkError, match=r"Did you mean 'introvert'\? Choices: bold, intro"):
        find_mask("introver")
    with pytest.raises(OptionError, match="means several: give one of personas/a, personas/b"):
        find_mask("bold")
    (folders / "empty").mkdir()
    with pytest.raises(SubnetworkError, match=r"empty: no persona's folder"):
        find_mask("empty")
    with pytest.raises(SubnetworkError, match="no such folder or pack"):
        find_mask("x" * 5000)
    (folders / "empty/subnetwork_config.json").write_text("{")
    with pytest.raises(SubnetworkError):
        load_mask(find_mask("empty"))


def test_masks_by_name(folders):
    masks = load_masks(list(map(find_mask, ["mine", "introvert", "two.pack"])))
    assert list(masks) == ["introvert (wanda)", "introvert (contrastive-taylor)", "quiet", "loud"]
    assert masks["loud"] == subnetwork(6)
    # The same persona and criterion: told apart by the folder.
    masks = load_masks(list(map(find_mask, ["mine", "demo-artifacts/introvert-wanda"])))
    assert list(masks) == ["introvert (wanda)", "introvert (introvert-wanda)"]
    with pytest.raises(OptionError, match="another mask of introvert"):
        load_masks(list(map(find_mask, ["mine", "mine"])))


def test_one_mask(folders):
    assert load_mask(find_mask("two.pack#quiet")) == subnetwork(5)
    with pytest.raises(OptionError, match=r"a pack of several, write two\.pack#NAME: quiet, loud"):
        load_mask(find_mask("two.pack"))
    with pytest.raises(UnknownNameError, match="'nobody'"):
        load_mask(find_mask("two.pack#nobody"))


def test_the_masks_say_which_model(folders):
    sources = list(map(find_mask, ["mine"]))
    assert sources[0].base_model == "org/model"
    assert choose_model(None, sources) == "org/model"
    assert choose_model("other", sources) == "other"
    assert choose_model(None, []) == "embedded"
    config = folders / "mine/subnetwork_config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps(values | {"base_model": "/no/such/folder"}))
    with pytest.raises(OptionError, match="lay in /no/such/folder, which is not here"):
        choose_model(None, list(map(find_mask, ["mine"])))
    with pytest.raises(OptionError, match="different models: /no/such/folder, org/model"):
        choose_model(None, list(map(find_mask, ["mine", "personas/a"])))


def test_finding_imports_no_library(tmp_path):
    import subprocess

    code = (
        "import sys\nfrom prosopon.cli.masks import find_mask\n"
        "try: find_mask('nobody')\nexcept Exception as error: print(error)\n"
        "print([m for m in ('torch', 'numpy', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "nobody: no such folder" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
