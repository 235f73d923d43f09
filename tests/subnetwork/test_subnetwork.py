from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prosopon.errors import SubnetworkError
from prosopon.subnetwork import CONFIG_NAME, MASKS_NAME, Subnetwork
from tests.processes import forked, listen
from tests.subnetwork.samples import bool_matrices, config, levels, masks, subnetwork

names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12
).filter(lambda name: name != "__metadata__")


@settings(max_examples=60, deadline=None)
@given(
    keep=st.dictionaries(names, bool_matrices(), min_size=1, max_size=3),
    persona=names,
    encoding=st.sampled_from([None, "packed", "gaps"]),
    ranked=st.booleans(),
)
def test_loading_undoes_saving(tmp_path_factory, keep, persona, encoding, ranked):
    folder = tmp_path_factory.mktemp("round") / "trip"
    saved = Subnetwork(keep, config(persona=persona), levels(keep) if ranked else None)
    saved.save_pretrained(folder, encoding=encoding)
    loaded = Subnetwork.from_pretrained(folder)
    assert loaded == saved
    assert encoding in (None, loaded.config.encoding)
    assert (loaded.levels is not None) == loaded.config.ranked == ranked
    assert loaded.content_hash() == saved.content_hash()
    assert loaded.sites == tuple(keep)
    assert loaded.config == saved.config
    assert loaded.config.checksum


def test_counts():
    keep = {"a": torch.tensor([[True, False, True]]), "b": torch.zeros(2, 2, dtype=torch.bool)}
    found = Subnetwork(keep, config())
    assert (found.pruned, found.total, found.pruned_share) == (5, 7, 5 / 7)
    assert found.sites == ("a", "b")
    assert found.config.sites["b"].pruned == 4
    assert repr(found) == "Subnetwork('introvert', 2 sites, 5 of 7 weights pruned)"


def test_equality_looks_at_masks_only():
    assert subnetwork() == subnetwork(persona="another", opposite=None)
    assert subnetwork(0) != subnetwork(1)
    assert Subnetwork({"a": torch.ones(1, 1).bool()}, config()) != Subnetwork(
        {"b": torch.ones(1, 1).bool()}, config()
    )
    assert subnetwork() != "a string"
    assert subnetwork(ranked=True) == subnetwork(ranked=True)
    assert subnetwork(ranked=True) != subnetwork()
    other = {name: 255 - found for name, found in levels(masks()).items()}
    assert subnetwork(ranked=True) != Subnetwork(masks(), config(), other)
    with pytest.raises(TypeError, match="unhashable"):
        hash(subnetwork())


def test_saving_is_deterministic_and_overwrites(tmp_path):
    subnetwork(1).save_pretrained(tmp_path)
    subnetwork(0).save_pretrained(tmp_path)
    first = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    subnetwork(0).save_pretrained(tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == first
    assert set(first) == {CONFIG_NAME, MASKS_NAME}


def test_saving_half_is_noticed(tmp_path, monkeypatch):
    subnetwork(0).save_pretrained(tmp_path)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("prosopon.subnetwork.storage.write_json", interrupt)
    with pytest.raises(KeyboardInterrupt):
        subnetwork(1).save_pretrained(tmp_path)
    with pytest.raises(SubnetworkError, match="checksum"):
        Subnetwork.from_pretrained(tmp_path)


def test_saving_into_a_file_is_an_error(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(SubnetworkError, match="taken: cannot be written"):
        subnetwork().save_pretrained(tmp_path / "taken")


@pytest.mark.parametrize(
    "mask", [torch.ones(2, 2), torch.ones(3, dtype=torch.bool), torch.ones(0, 2, dtype=torch.bool)]
)
def test_refuses_masks_that_are_none(mask):
    with pytest.raises(SubnetworkError, match="site 'a' must be a bool matrix"):
        Subnetwork({"a": mask}, config())


def test_refuses_no_site_and_a_config_of_other_masks():
    with pytest.raises(SubnetworkError, match="'introvert' has no site"):
        Subnetwork({}, config())
    other = subnetwork(1).config
    with pytest.raises(SubnetworkError, match="another mask of"):
        Subnetwork(masks(0), other)
    extra = masks(1) | {"more": torch.ones(1, 1, dtype=torch.bool)}
    with pytest.raises(SubnetworkError, match="another mask of 'more'"):
        Subnetwork(extra, other)


def test_the_package_needs_no_torch_modules():
    """The package's own files; torch itself imports torch.nn whatever one asks of it."""
    for file in (Path(__file__).parents[2] / "src/prosopon/subnetwork").glob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert "torch.nn" not in text
        assert "import nn" not in text


def import_again(channel):
    """Forget the package and transformers, import the package, and say what came along."""
    for name in list(sys.modules):
        if name.partition(".")[0] in ("prosopon", "transformers"):
            del sys.modules[name]
    importlib.import_module("prosopon.subnetwork")
    channel.send(["prosopon.subnetwork" in sys.modules, "transformers" in sys.modules])


def test_importing_the_package_does_not_import_transformers():
    with forked(import_again) as (_, channel):
        assert listen(channel) == [True, False]
