import pytest
import torch

from prosopon.analysis.location import locate
from prosopon.errors import OptionError
from prosopon.subnetwork import Subnetwork
from tests.subnetwork.samples import config


def subnetwork(**pruned):
    """Return a 20 x 30 mask for each site that prunes the given [rows, columns] places."""
    keep = {}
    for name, places in pruned.items():
        mask = torch.ones(20, 30, dtype=torch.bool)
        mask[places] = False
        keep[name.replace("__", ".")] = mask
    return Subnetwork(keep, config())


def test_cells_count_by_layer_and_kind():
    one = subnetwork(
        l__10__mlp__up_proj=(slice(None), slice(0, 3)),
        l__2__mlp__up_proj=(slice(0, 1), slice(0, 10)),
        l__2__mlp__down_proj=(slice(0, 1), slice(0, 10)),
        l__2__attn__q_proj=(slice(0, 0), slice(0, 0)),
        outside=(slice(0, 1), slice(0, 5)),
    )
    cells = {(cell.layer, cell.kind): cell for cell in locate(one).cells}
    assert list(cells) == [(2, "attention"), (2, "mlp"), (10, "mlp"), (None, "other")]
    assert [cell.pruned for cell in cells.values()] == [0, 20, 60, 5]
    assert [cell.total for cell in cells.values()] == [600, 1200, 600, 600]
    assert cells[10, "mlp"].expected == pytest.approx(85 / 5)
    assert cells[10, "mlp"].enrichment == pytest.approx(60 / 17)
    assert sum(cell.expected for cell in cells.values()) == pytest.approx(one.pruned)


def test_a_few_columns_that_lose_everything_are_seen():
    one = subnetwork(l__0__mlp__up_proj=(slice(None), [4, 7]))
    found = locate(one)
    assert found.inputs.top == 1
    assert found.inputs.chance < 0.3
    assert found.inputs.top > found.inputs.chance_high
    # Every row loses the same two weights: less concentrated than chance.
    assert found.outputs.top == pytest.approx(0.1)
    assert found.outputs.top < found.outputs.chance
    first, second = found.channels[:2]
    assert (first.axis, first.index, first.pruned, first.total) == ("input", 4, 20, 20)
    assert second.index == 7


def test_a_random_mask_is_as_concentrated_as_chance():
    generator = torch.Generator().manual_seed(0)
    keep = {f"l.{i}.mlp.up_proj": torch.rand(60, 80, generator=generator) > 0.1 for i in range(4)}
    found = locate(Subnetwork(keep, config()))
    for each in (found.inputs, found.outputs):
        assert each.top == pytest.approx(each.chance, abs=0.02)


def test_nothing_pruned_has_no_concentration():
    found = locate(subnetwork(l__0__mlp__up_proj=(slice(0, 0), slice(0, 0))))
    assert found.inputs is None
    assert found.channels == ()
    assert found.cells[0].enrichment is None
    assert found.to_json()["outputs"] is None


def test_no_draws_are_refused():
    with pytest.raises(OptionError, match="at least one random mask"):
        locate(subnetwork(a=(slice(0, 1), slice(0, 1))), draws=0)
