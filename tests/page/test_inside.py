"""Where a mask lies and what it shares, against slow counts of the masks themselves."""

import shutil

import pytest
import torch

from prosopon.errors import UnknownNameError
from prosopon.page.inside import heat, shared
from prosopon.subnetwork import Subnetwork
from tests.runtime import samples as weights
from tests.serving import samples
from tests.tiny import LAYERS, tiny_model


@pytest.fixture(scope="module")
def saved():
    """Return a mask that leaves one matrix whole."""
    mask = weights.subnetwork(tiny_model("llama")[0], "bold", share=0.3)
    keep = dict(mask.keep)
    keep["model.layers.0.self_attn.q_proj"] = torch.ones_like(
        keep["model.layers.0.self_attn.q_proj"]
    )
    return Subnetwork(keep, mask.config.model_copy(update={"sites": {}}))


def test_heat_is_the_density_over_the_masks_own(saved):
    seen = heat(saved.config)
    pruned = {site: int((~keep).sum()) for site, keep in saved.keep.items()}
    sizes = {site: keep.numel() for site, keep in saved.keep.items()}
    overall = sum(pruned.values()) / sum(sizes.values())
    assert seen.layers == list(range(LAYERS))
    assert seen.parts == [
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    ]  # fmt: skip
    for site, count in pruned.items():
        _, _, layer, _, part = site.split(".")
        value = seen.values[seen.parts.index(part)][int(layer)]
        assert value == pytest.approx(count / sizes[site] / overall)
    assert seen.values[0][0] == 0.0


def test_what_lies_outside_the_layers_comes_last_and_gaps_are_none(saved):
    sites = dict(saved.config.sites)
    record = sites.pop("model.layers.0.mlp.up_proj")
    sites["model.extra_proj"] = record
    seen = heat(saved.config.model_copy(update={"sites": sites}))
    assert seen.layers == [*range(LAYERS), None]
    assert seen.parts[-1] == "extra_proj"
    assert seen.values[-1][:-1] == [None] * LAYERS
    assert seen.values[-1][-1] is not None
    assert seen.values[seen.parts.index("up_proj")][0] is None


def test_a_mask_of_nothing_is_cold(saved):
    sites = {name: one.model_copy(update={"pruned": 0}) for name, one in saved.config.sites.items()}
    seen = heat(saved.config.model_copy(update={"sites": sites}))
    assert {value for row in seen.values for value in row} == {0.0}


def test_shares_are_counted_and_sorted(service):
    rows = shared(service, "bold")
    own = service.mask("bold").keep
    slow, chance = {}, {}
    for other in ("calm", "late"):
        keep = service.mask(other).keep
        mine = sum(int((~one).sum()) for one in own.values())
        slow[other] = sum(int((~own[s] & ~keep[s]).sum()) for s in own) / mine
        chance[other] = (
            sum(float((~own[s]).sum() * (~keep[s]).sum()) / own[s].numel() for s in own) / mine
        )
    assert {row.name for row in rows} == {"calm", "late"}
    for row in rows:
        assert row.share == pytest.approx(slow[row.name])
        assert row.chance == pytest.approx(chance[row.name])
        assert row.problem == ""
    assert [row.share for row in rows] == sorted(slow.values(), reverse=True)


def test_both_ways_count_the_same_weights(service):
    pruned = {
        n: sum(int((~k).sum()) for k in service.mask(n).keep.values()) for n in ("bold", "calm")
    }
    one = next(row for row in shared(service, "bold") if row.name == "calm")
    other = next(row for row in shared(service, "calm") if row.name == "bold")
    assert one.share * pruned["bold"] == pytest.approx(other.share * pruned["calm"])


def test_a_mask_that_is_gone_is_told_in_its_row(service):
    folder = service.shelf.folder
    shutil.move(folder / "calm", folder / "away")
    try:
        rows = {row.name: row for row in shared(service, "bold")}
        assert "'calm'" in rows["calm"].problem
        assert rows["late"].share > 0
        with pytest.raises(UnknownNameError, match="'calm'"):
            shared(service, "calm")
    finally:
        shutil.move(folder / "away", folder / "calm")


def test_who_is_not_loaded_is_unknown(service):
    for ask in (service.mask, service.config):
        with pytest.raises(UnknownNameError, match="unknown persona 'gone'"):
            ask("gone")


def test_a_renamed_persona_is_read_from_where_it_came(service):
    assert service.load("some.pack", "other") == ["other"]
    try:
        assert service.sources["other"] == "some.pack#late"
        again, late = service.mask("other"), service.mask("late")
        assert all(torch.equal(again.keep[site], late.keep[site]) for site in late.keep)
    finally:
        service.unload("other")


def test_what_came_from_no_folder_is_said():
    attached = samples.wearer()
    from prosopon.errors import PersonaError
    from prosopon.serving.service import Service

    own = Service(attached, "tiny")
    with pytest.raises(PersonaError, match="persona 'bold' came from no folder"):
        own.mask("bold")
    attached.close()
