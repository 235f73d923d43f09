"""Contrastive-Sparse: the paper's assignment and the released script's order, row by row."""

import pytest
import torch

from prosopon.criteria import CRITERIA, SiteInputs
from prosopon.errors import OptionError
from prosopon.selection import Scored, select
from prosopon.statistics import ChannelStatistics

ROWS, COLUMNS = 5, 10


def side(seed):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.rand(COLUMNS, generator=generator) + 0.2
    values = torch.randn(6, 7, COLUMNS, generator=generator) * scale + scale
    return values.flatten(0, 1), ChannelStatistics.of_batch(values, torch.ones(6, 7, dtype=bool))


WEIGHT = torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(9))
OURS, THEIRS = side(1), side(2)


def mask(target, opposite, sparsity, weight=WEIGHT, **options):
    criterion = CRITERIA.get("contrastive-sparse")
    parsed = criterion.parse_options(options)
    criterion.check("row", sparsity, parsed)
    inputs = SiteInputs(weight, target=target[1], opposite=opposite[1], sparsity=sparsity)
    scored = Scored("x", criterion.score(inputs, parsed), criterion.ties(inputs, parsed))
    return select([scored], sparsity)["x"]


def shares(values):
    score = WEIGHT.abs() * values.abs().mean(0)
    return [[float(s) / float(row.sum()) for s in row] for row in score]


@pytest.mark.parametrize("sparsity", [0.2, 0.3, 0.5, 0.7, 0.9])
def test_the_paper_row_by_row(sparsity):
    """Own weights by falling contrast; then the other side's by rising contrast."""
    got = mask(OURS, THEIRS, sparsity)
    ours, theirs = shares(OURS[0]), shares(THEIRS[0])
    kept = round((1 - sparsity) * COLUMNS)
    for i in range(ROWS):
        contrast = [abs(a - b) for a, b in zip(ours[i], theirs[i], strict=True)]
        own = [j for j in range(COLUMNS) if ours[i][j] > theirs[i][j]]
        other = [j for j in range(COLUMNS) if ours[i][j] < theirs[i][j]]
        order = sorted(own, key=lambda j: -contrast[j]) + sorted(other, key=lambda j: contrast[j])
        assert set(got[i].nonzero().flatten().tolist()) == set(order[:kept])


@pytest.mark.parametrize("sparsity", [0.1, 0.3, 0.5, 0.6, 0.9])
def test_masks_are_disjoint_up_to_the_core(sparsity):
    first, second = mask(OURS, THEIRS, sparsity), mask(THEIRS, OURS, sparsity)
    kept = round((1 - sparsity) * COLUMNS)
    shared = (first & second).sum(1)
    assert (shared == max(2 * kept - COLUMNS, 0)).all()
    # The core is the middle of the ranking: nothing in it is more contrasted, on its own side,
    # than what that side keeps for itself.
    score = torch.tensor(shares(OURS[0])) - torch.tensor(shares(THEIRS[0]))
    for i in range(ROWS):
        core, own = (first & second)[i], (first & ~second)[i]
        if core.any() and own.any():
            assert score[i][own].min() >= score[i][core].max()


def test_equal_sides_share_everything():
    """A weight that matters equally to both belongs to neither, so both masks may hold it."""
    assert torch.equal(mask(OURS, OURS, 0.6), mask(OURS, OURS, 0.6))
    weight = WEIGHT.clone()
    weight[0] = 0
    assert torch.equal(
        mask(OURS, THEIRS, 0.6, weight=weight)[0], mask(THEIRS, OURS, 0.6, weight=weight)[0]
    )
    assert torch.isfinite(
        CRITERIA.get("contrastive-sparse").score(
            SiteInputs(weight, target=OURS[1], opposite=THEIRS[1]),
            CRITERIA.get("contrastive-sparse").parse_options({}),
        )
    ).all()


@pytest.mark.parametrize("sparsity", [0.2, 0.3, 0.5, 0.7])
def test_the_script_row_by_row(sparsity):
    first = mask(OURS, THEIRS, sparsity, variant="reference")
    second = mask(THEIRS, OURS, sparsity, variant="reference", first="opposite")
    a, b = OURS[0].double(), THEIRS[0].double()
    spread = (a.var(0, unbiased=False) + b.var(0, unbiased=False)).sqrt()
    channel = (a.mean(0) - b.mean(0)).abs() / spread
    kept = round((1 - sparsity) * COLUMNS)
    for i in range(ROWS):
        score = [abs(float(WEIGHT[i, j])) * float(channel[j]) for j in range(COLUMNS)]
        order = sorted(range(COLUMNS), key=lambda j: -score[j])
        taken, left = order[:kept], order[kept:]
        assert set(first[i].nonzero().flatten().tolist()) == set(taken)
        # The second's: the highest of what is left; where that is too little, some of the first's.
        got = set(second[i].nonzero().flatten().tolist())
        assert len(got) == kept
        assert set(left[:kept]) <= got


def test_what_exchange_means_under_the_script():
    """The pair of masks is exchanged with who is first; the score itself has no direction."""
    ordered = [
        mask(OURS, THEIRS, 0.6, variant="reference"),
        mask(THEIRS, OURS, 0.6, variant="reference", first="opposite"),
    ]
    exchanged = [
        mask(THEIRS, OURS, 0.6, variant="reference"),
        mask(OURS, THEIRS, 0.6, variant="reference", first="opposite"),
    ]
    assert torch.equal(ordered[0], exchanged[0])  # whoever is first gets the same weights
    assert torch.equal(ordered[1], exchanged[1])
    assert not (ordered[0] & ordered[1]).any()


def test_a_second_side_keeps_its_count_among_zeros():
    weight = WEIGHT.clone()
    weight[0] = 0
    got = mask(OURS, THEIRS, 0.6, weight=weight, variant="reference", first="opposite")
    assert (got.sum(1) == 4).all()
    taken = mask(OURS, THEIRS, 0.6, weight=weight, variant="reference")
    assert not (got & taken).any()


def test_what_has_no_meaning():
    criterion = CRITERIA.get("contrastive-sparse")
    with pytest.raises(OptionError, match="only variant=reference has an order"):
        criterion.parse_options({"first": "opposite"})
    with pytest.raises(OptionError, match="pattern 'row' only, not 'global'"):
        criterion.check("global", 0.3, criterion.parse_options({"variant": "reference"}))
    with pytest.raises(OptionError, match="eps"):
        criterion.parse_options({"eps": 0})
