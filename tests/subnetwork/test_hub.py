"""The Hub: a real exchange over HTTP with a small server that plays its part."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from prosopon.errors import SubnetworkError
from prosopon.subnetwork import CONFIG_NAME, EVALUATION_NAME, MASKS_NAME, Subnetwork, model_card
from prosopon.subnetwork.hub import copy
from tests.hub import run, serve
from tests.subnetwork.samples import config, subnetwork


@pytest.fixture
def hub():
    with serve() as server:
        yield server


CODE = """
import torch
from prosopon.errors import SubnetworkError
from prosopon.subnetwork import Compensation, Subnetwork
from tests.subnetwork.samples import subnetwork

made = subnetwork(ranked=True)
print(made.push_to_hub("someone/quiet", private=True, token="hf_secret", message="First"))
assert Subnetwork.from_pretrained("someone/quiet") == made
assert Subnetwork.from_pretrained("someone/quiet", revision="main").config.checksum
ones = {name: torch.ones(mask.shape) for name, mask in made.keep.items()}
made.compensation = Compensation.of(made.keep, ones)
made.config = made.config.model_copy(update={"base_model": "/home/somebody/models/big"})
made.push_to_hub("someone/quiet", token="hf_secret")
assert made.base_model == "/home/somebody/models/big"
assert Subnetwork.from_pretrained("someone/quiet").base_model == "big"
assert Subnetwork.from_pretrained("someone/quiet").compensation.values.keys() == made.keep.keys()
try:
    Subnetwork.from_pretrained("someone/loud")
except SubnetworkError as error:
    print(error)
"""


def test_what_is_pushed_comes_back(hub, tmp_path):
    printed = run(hub.url, tmp_path, CODE).splitlines()
    assert len(printed) == 2, printed
    url, error = printed
    assert re.fullmatch(rf"{hub.url}/someone/quiet/commit/[0-9a-f]{{40}}", url)
    assert error.startswith("someone/loud: no such folder, and from the Hugging Face Hub it cannot")
    assert set(hub.files) == {CONFIG_NAME, MASKS_NAME, "README.md", "compensation.safetensors"}
    assert [made["private"] for made in hub.made] == [True, None]
    assert [made["name"] for made in hub.made] == ["someone/quiet"] * 2
    assert hub.tokens == {"Bearer hf_secret"}
    assert hub.summaries == ["First", "Upload the persona introvert"]
    for name in (CONFIG_NAME, MASKS_NAME):
        (tmp_path / name).write_bytes(hub.files[name])
    made = subnetwork(ranked=True, base_model="big")  # no path of this machine
    assert Subnetwork.from_pretrained(tmp_path) == made
    made.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / CONFIG_NAME).read_bytes() == hub.files[CONFIG_NAME]
    assert hub.files["README.md"].decode() == model_card(made.config, "someone/quiet")


def test_a_hub_that_is_not_there(tmp_path):
    """In this process the library is offline."""
    with pytest.raises(SubnetworkError, match="org/name: cannot be uploaded to the Hugging Face"):
        subnetwork().push_to_hub("org/name", token="hf_secret")
    with pytest.raises(SubnetworkError, match="org/name: no such folder, and from the Hugging"):
        Subnetwork.from_pretrained("org/name")
    for path in (Path("org/name"), "org", "./org/name", "a/b/c", str(tmp_path / "org/name")):
        with pytest.raises(SubnetworkError, match=r"no such folder$"):
            Subnetwork.from_pretrained(path)


def test_a_folder_comes_before_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    subnetwork().save_pretrained("org/name")
    assert Subnetwork.from_pretrained("org/name") == subnetwork()


def test_the_card():
    made = subnetwork(ranked=True)
    card = model_card(made.config, "someone/quiet")
    _, header, text = card.split("---\n", 2)
    assert yaml.safe_load(header) == {
        "library_name": "prosopon",
        "tags": [
            "prosopon",
            "persona",
            "subnetwork",
            "pruning",
            "contrastive-wanda",
            "introvert",
        ],
        "base_model": "org/model",
        "base_model_relation": "adapter",
        "license": "apache-2.0",
    }
    for said in (
        "# introvert", "Opposite: extravert.", "variant=paper, tau=2.0",
        f"{made.pruned} of 46 in 2 sites",
        "any from 0 to 1", "12 examples of the persona, 11 of the opposite", "c" * 64, "d" * 64,
        "load_model('org/model', revision='0123abc')", "load_persona('someone/quiet')",
        "prosopon pull someone/quiet", "prosopon chat --persona quiet",
        "## Limits", "2026-01-02T03:04:05+00:00",
    ):  # fmt: skip
        assert said in text


@pytest.mark.parametrize("licence", ["as the base model's weights", "", "MIT"])
def test_the_header_of_the_card_holds_whatever_the_provenance_says(licence):
    odd = config(
        persona="a: |\n# <b>", base_model="/a folder/:x", criterion="!\n- é", license=licence
    )
    header = yaml.safe_load(model_card(odd, "x").split("---\n", 2)[1])
    assert header["tags"][-2:] == ["unnamed", "a-b"]
    assert "base_model" not in header
    named = {"as the base model's weights": "other", "": None, "MIT": "mit"}[licence]
    assert header.get("license") == named
    assert "# a: \\| # &lt;b>\n" in model_card(odd, "x")


def test_the_hubs_own_library_reads_the_card():
    from huggingface_hub import ModelCard, ModelCardData

    card = ModelCard(model_card(subnetwork().config, "someone/quiet"))
    data = card.data.to_dict()
    assert ModelCardData(**data).to_dict() == data
    assert (card.data.library_name, card.data.base_model) == ("prosopon", "org/model")
    assert data["base_model_relation"] == "adapter"
    assert "## Measured" not in card.text


def test_a_fetched_folder_replaces_an_earlier_persona_and_nothing_else(tmp_path):
    new, old = tmp_path / "new", tmp_path / "old"
    subnetwork(1).save_pretrained(new)
    subnetwork(2).save_pretrained(old)
    (old / EVALUATION_NAME).write_text("of the earlier one")
    (old / "notes.txt").write_text("mine")
    copy(new, old)
    assert Subnetwork.from_pretrained(old) == subnetwork(1)
    assert {path.name for path in old.iterdir()} == {CONFIG_NAME, MASKS_NAME, "notes.txt"}
    (tmp_path / "file").write_text("")
    with pytest.raises(SubnetworkError, match="file: cannot be written"):
        copy(new, tmp_path / "file")
