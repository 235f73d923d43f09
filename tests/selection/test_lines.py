"""The few rows and columns that hold what is pruned: against every choice there is."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prosopon.errors import OptionError
from prosopon.selection import PATTERNS, choose_lines, find_pattern
from tests.selection.mapping import select


def most_covered(benefit, count):
    """Return what the best ``count`` rows and columns cover, by trying them all."""
    rows, columns = benefit.shape
    best = 0.0
    for lines in itertools.combinations(range(rows + columns), min(count, rows + columns)):
        inside = np.zeros(benefit.shape, dtype=bool)
        inside[[line for line in lines if line < rows]] = True
        inside[:, [line - rows for line in lines if line >= rows]] = True
        best = max(best, benefit[inside].sum())
    return best


def fewest_lines(entries):
    """Return the fewest rows and columns that hold all True entries, by trying sets of rows."""
    rows = range(entries.shape[0])
    return min(
        len(chosen) + int(np.delete(entries, chosen, axis=0).any(axis=0).sum())
        for size in range(len(rows) + 1)
        for chosen in itertools.combinations(rows, size)
    )


@pytest.mark.parametrize("shape", [(4, 5), (5, 3)])
def test_lines_cover_nearly_as_much_as_the_best(shape):
    rng = np.random.default_rng(0)
    shares = []
    for draw in range(30):
        benefit = rng.random(shape) ** (1 + draw % 6)
        for count in (1, 2, 3, 4):
            inside = choose_lines(benefit, count)
            assert fewest_lines(inside & (benefit > 0)) <= count
            shares.append(benefit[inside].sum() / most_covered(benefit, count))
            if count == 1:
                assert shares[-1] == pytest.approx(1)
    assert min(shares) > 1 - 1 / math.e  # what is promised
    assert np.mean(shares) > 0.99  # what it does


def test_a_line_that_greed_took_too_early_is_given_back():
    # The middle row is the heaviest line, and the two columns hold all but its middle.
    benefit = np.array([[3.0, 0, 3], [2.5, 1, 2.5], [3, 0, 3]])
    inside = choose_lines(benefit, 2)
    assert inside.tolist() == [[True, False, True]] * 3


def test_no_line_is_taken_for_nothing():
    benefit = np.zeros((3, 4))
    assert not choose_lines(benefit, 2).any()
    benefit[1, 2] = 1
    assert choose_lines(benefit, 2).sum() == 4  # one row, and no more
    assert choose_lines(benefit, 3).all()  # as many as there are rows
    assert not choose_lines(benefit, 0).any()


@settings(max_examples=40, deadline=None)
@given(data=st.data(), ties=st.booleans())
def test_the_lowest_scores_of_few_lines_go(data, ties):
    few = st.sampled_from([-math.inf, -1.0, 0.0, 0.25, 1.0, math.inf])
    shape = data.draw(st.integers(2, 5)), data.draw(st.integers(2, 5))

    def draw():
        flat = data.draw(st.lists(few, min_size=math.prod(shape), max_size=math.prod(shape)))
        return torch.tensor(flat).view(shape)

    score, second = draw(), draw() if ties else None
    lines, sparsity = data.draw(st.integers(1, 4)), data.draw(st.floats(0.05, 0.9))
    asked = score.numel() - math.floor((1 - sparsity) * score.numel() + 1e-9)
    named = None if second is None else {"a": second}
    mask = select({"a": score}, sparsity, pattern=f"lora:{lines}", ties=named)["a"]
    gone = ~mask
    assert fewest_lines(gone.numpy()) <= lines
    assert gone.sum() <= asked
    if lines >= min(shape):  # then it is the pattern that knows no lines
        assert gone.sum() == asked
        if torch.isfinite(score).all():
            assert torch.equal(
                mask, select({"a": score}, sparsity, pattern="site", ties=named)["a"]
            )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_of_few_lines_the_asked_number_goes_and_it_is_worth_it(dtype):
    generator = torch.Generator().manual_seed(0)
    score = torch.rand(24, 40, generator=generator).to(dtype)
    for lines, share in ((1, 0.01), (4, 0.05), (8, 0.1)):
        mask = select({"a": score}, share, pattern=f"lora:{lines}")["a"]
        gone, asked = score[~mask], round(share * score.numel() + 0.5)
        assert len(gone) == asked
        whole_rows = score.sort(dim=1).values[:, : -(-asked // lines)]  # the simplest such mask
        assert gone.sum() <= whole_rows.sum(1).sort().values[:lines].sum()
        assert gone.mean() < score.float().mean()
        assert gone.sum() >= score.flatten().sort().values[:asked].sum()


def test_rows_and_columns_are_treated_alike():
    score = torch.rand(12, 20, generator=torch.Generator().manual_seed(1))
    mask = select({"a": score}, 0.05, pattern="lora:3")["a"]
    assert torch.equal(select({"a": score.T}, 0.05, pattern="lora:3")["a"].T, mask)


def test_more_than_the_lines_hold_is_all_that_they_hold():
    mask = select({"a": torch.rand(10, 30)}, 0.9, pattern="lora:2")["a"]
    assert int((~mask).sum()) == 60  # two rows


def test_names():
    assert find_pattern("lora:32") is PATTERNS.get("lora:32")
    assert (find_pattern(" LoRA:7 ").name, find_pattern("lora:7").lines) == ("lora:7", 7)
    assert find_pattern("row").lines is None
    with pytest.raises(OptionError, match="'lora:0' must leave at least one row or column"):
        find_pattern("lora:0")
    with pytest.raises(OptionError, match="pattern 'lora:3' needs a sparsity"):
        select({"a": torch.rand(2, 2)}, pattern="lora:3")
