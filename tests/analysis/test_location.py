import itertools
import json
from collections import Counter
from statistics import fmean

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prosopon.analysis.location import LISTED, TOP, locate
from prosopon.errors import OptionError
from prosopon.subnetwork import Subnetwork
from tests.subnetwork.samples import config, masks


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


SHAPES = {"m.0.attn.q": (7, 12), "m.0.mlp.up": (11, 5), "m.3.mlp.up": (11, 5), "head": (6, 12)}


def drawn(seed, share=0.7):
    return Subnetwork(masks(seed, share=share, shapes=SHAPES), config())


def slow_top_share(one, dim):
    """Share of all pruned weights in the top tenth of the rows (0) or columns (1) of each site."""
    total = top = 0
    for mask in one.keep.values():
        gone = (~mask).tolist() if dim == 0 else (~mask).T.tolist()
        counts = sorted(map(sum, gone), reverse=True)
        total += sum(counts)
        top += sum(counts[: max(1, round(TOP * len(counts)))])
    return top / total


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.floats(0.2, 0.95))
def test_concentration_and_cells_against_slow_loops(seed, share):
    one = drawn(seed, share)
    if not one.pruned:
        return
    place = locate(one, draws=2)
    assert place.outputs.top == pytest.approx(slow_top_share(one, 0))
    assert place.inputs.top == pytest.approx(slow_top_share(one, 1))
    counts = Counter()
    for site, mask in one.keep.items():
        layer = site.split(".")[1] if site != "head" else None
        kind = {"q": "attention", "up": "mlp"}.get(site.rpartition(".")[2], "other")
        counts[layer and int(layer), kind] += int((~mask).sum())
    assert {(c.layer, c.kind): c.pruned for c in place.cells} == dict(counts)


def test_turned_matrices_exchange_rows_and_columns():
    one = drawn(5)
    turned = Subnetwork({site: mask.T for site, mask in one.keep.items()}, config())
    ours, theirs = locate(one, draws=2), locate(turned, draws=2)
    assert (ours.inputs.top, ours.outputs.top) == (theirs.outputs.top, theirs.inputs.top)
    other = {"input": "output", "output": "input"}
    mine = {(c.site, other[c.axis], c.index, c.pruned) for c in ours.channels}
    assert mine == {(c.site, c.axis, c.index, c.pruned) for c in theirs.channels}


def test_chance_is_the_mean_over_all_placements():
    mask = torch.ones(3, 2, dtype=torch.bool)
    mask[0] = False
    place = locate(Subnetwork({"a": mask}, config()), draws=4000)
    # Of two weights anywhere in three rows of two: how many the fullest row has.
    tops = [
        max(Counter(i // 2 for i in two).values()) for two in itertools.combinations(range(6), 2)
    ]
    assert place.outputs.top == 1
    assert place.outputs.chance == pytest.approx(fmean(tops) / 2, abs=0.02)
    assert place.outputs.chance_high == 1


def test_draws_are_seeded():
    one = drawn(1)
    assert locate(one, seed=3) == locate(one, seed=3)
    assert locate(one, seed=3).inputs != locate(one, seed=4).inputs


def test_channels_are_the_worst_and_come_in_order():
    place = locate(drawn(2, 0.5), draws=1)
    shares = [channel.pruned / channel.total for channel in place.channels]
    assert shares == sorted(shares, reverse=True)
    assert len(place.channels) == LISTED
    every = []
    for mask in drawn(2, 0.5).keep.values():
        every += (~mask).double().mean(dim=0).tolist() + (~mask).double().mean(dim=1).tolist()
    assert shares == pytest.approx(sorted(every, reverse=True)[:LISTED])


def test_json_holds_every_cell():
    place = locate(drawn(3), draws=1)
    shown = json.loads(json.dumps(place.to_json()))
    assert set(shown) == {"cells", "inputs", "outputs", "channels", "top_share_of_channels"}
    assert [cell["enrichment"] for cell in shown["cells"]] == [c.enrichment for c in place.cells]
    assert shown["inputs"]["top"] == place.inputs.top
    assert shown["cells"][-1]["layer"] is None
