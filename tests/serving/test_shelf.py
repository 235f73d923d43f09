"""The folder of personas: what is on it, what is read, and that no name leads out."""

from __future__ import annotations

import pytest

from prosopon.errors import SubnetworkError, UnknownNameError
from prosopon.serving.shelf import Shelf
from prosopon.subnetwork.pack import write_pack
from tests.runtime.samples import one_layer, subnetwork


@pytest.fixture(scope="module")
def masks():
    model = one_layer("llama")
    return {
        name: subnetwork(model, name, seed=seed)
        for seed, name in enumerate(["bold", "calm", "shy"])
    }


@pytest.fixture
def shelf(tmp_path, masks):
    folder = tmp_path / "personas"
    masks["bold"].save_pretrained(folder / "mine")
    write_pack(folder / "two.pack", {name: masks[name] for name in ("calm", "shy")})
    masks["shy"].save_pretrained(tmp_path / "outside")
    (folder / "notes.txt").write_text("no persona")
    (folder / "empty").mkdir()
    return Shelf(folder)


def test_folders_and_packs_are_on_it(shelf):
    assert shelf.sources == ["mine", "two.pack"]


def test_a_folder_is_called_as_it_is_named(shelf, masks):
    assert dict(shelf.read("mine")) == {"mine": masks["bold"]}


def test_a_pack_gives_all_or_one(shelf, masks):
    assert dict(shelf.read("two.pack")) == {name: masks[name] for name in ("calm", "shy")}
    assert dict(shelf.read("two.pack#shy")) == {"shy": masks["shy"]}
    with pytest.raises(UnknownNameError, match=r"'bold'.*Choices: calm, shy"):
        dict(shelf.read("two.pack#bold"))


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "../outside", "/etc", "mine/../../outside", "mine/", "./mine", "nobody",
        "empty", "notes.txt", "..\\outside", "mine\0", "%2e%2e/outside", "#", "../outside#x",
    ],
)  # fmt: skip
def test_other_names_are_unknown(shelf, name):
    with pytest.raises(UnknownNameError, match=r"Choices: mine, two\.pack"):
        list(shelf.read(name))


def test_an_absolute_path_to_what_is_on_it_is_no_name(shelf):
    with pytest.raises(UnknownNameError):
        list(shelf.read(str(shelf.folder / "mine")))


def test_a_link_that_leads_out_is_refused(shelf):
    (shelf.folder / "sly").symlink_to(shelf.folder.parent / "outside")
    with pytest.raises(SubnetworkError, match="leads out of the folder"):
        list(shelf.read("sly"))


def test_a_part_of_a_folder_is_refused(shelf):
    with pytest.raises(SubnetworkError, match="mine is a folder, which holds one persona"):
        list(shelf.read("mine#bold"))


@pytest.mark.parametrize("id", ["hf:", "hf:../x", "hf:one", "hf:/etc/x", "hf:a/b/c"])
def test_only_an_id_goes_to_the_hub(shelf, id):
    with pytest.raises(SubnetworkError, match="no id on the Hub"):
        list(shelf.read(id))


def test_a_folder_here_is_not_taken_for_the_hub(shelf, monkeypatch):
    monkeypatch.chdir(shelf.folder.parent)
    with pytest.raises(SubnetworkError, match="no id on the Hub"):
        list(shelf.read("hf:personas/mine"))


def test_an_id_is_read_from_the_hub(shelf, masks, tmp_path, monkeypatch):
    """From its cache, which the library looks into when there is no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    repository, commit = tmp_path / "cache" / "models--org--name", 40 * "0"
    masks["calm"].save_pretrained(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    assert dict(shelf.read("hf:org/name")) == {"calm": masks["calm"]}


def test_an_unreachable_hub_is_an_error_of_one_line(shelf):
    with pytest.raises(SubnetworkError, match="org/name: no such folder, and from the") as error:
        list(shelf.read("hf:org/name"))
    assert "\n" not in str(error.value)


def test_a_damaged_folder_is_named(shelf):
    (shelf.folder / "mine" / "subnetwork_config.json").write_text("{")
    with pytest.raises(SubnetworkError, match="mine"):
        list(shelf.read("mine"))


def test_there_must_be_a_folder(tmp_path):
    with pytest.raises(SubnetworkError, match="no such folder of personas"):
        Shelf(tmp_path / "none")
