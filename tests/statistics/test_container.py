"""Sums of both kinds as a monoid, and who reads what: by obvious loops and small modules."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from prosopon.data import Encoded, collate
from prosopon.errors import StatisticsError
from prosopon.models import find_sites
from prosopon.statistics import (
    ChannelStatistics,
    Grams,
    GramStatistics,
    SiteSums,
    Statistics,
    collect_statistics,
)
from prosopon.statistics.collect import first_readers, group_by_input, watch_inputs
from tests.statistics.conftest import random_examples
from tests.tiny import tiny_model

KINDS = (ChannelStatistics, GramStatistics)
TITLES = {ChannelStatistics: "statistics", GramStatistics: "Gram matrices"}
kinds = st.sampled_from(KINDS)


@st.composite
def batches(draw, channels=3):
    """Values that are small whole numbers, so that sums of them are exact in any order."""
    rows, length = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    seed = draw(st.integers(0, 2**16))
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(-4, 5, (rows, length, channels), generator=generator).float()
    mask = torch.rand(rows, length, generator=generator) < 0.6
    mask[:, draw(st.integers(0, length - 1))] = True  # at least one token in every row
    return values, mask


def assert_equal(one, other):
    """Whole numbers to the bit; roots as far as the order of a sum decides."""
    assert one.tokens == other.tokens
    for ours, theirs in zip(one.tensors, other.tensors, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(kinds, batches(), batches(), batches())
def test_a_monoid(kind, first, second, third):
    a, b, c = (kind.of_batch(*batch) for batch in (first, second, third))
    assert_equal((a + b) + c, a + (b + c))
    assert_equal(a + b, b + a)
    assert_equal(a + kind.zero(3), a)
    assert_equal(kind.zero(3) + a, a)


@settings(max_examples=60, deadline=None)
@given(kinds, batches(), st.randoms(use_true_random=False))
def test_rows_in_any_order_and_cut_anywhere(kind, batch, random):
    values, mask = batch
    order = random.sample(range(len(values)), len(values))
    whole = kind.of_batch(values, mask)
    assert_equal(kind.of_batch(values[order], mask[order]), whole)
    total = kind.zero(3)
    for row in order:
        total = total.absorb(kind.of_batch(values[row : row + 1], mask[row : row + 1]))
    assert_equal(total, whole)


@settings(max_examples=60, deadline=None)
@given(kinds, batches(), st.sampled_from([float("nan"), float("inf"), 7.0]))
def test_what_is_out_of_scope_is_not_read(kind, batch, odd):
    values, mask = batch
    dirty = values.masked_fill(~mask.unsqueeze(-1), odd)
    assert_equal(kind.of_batch(dirty, mask), kind.of_batch(values, mask))
    padded = torch.nn.functional.pad(values, (0, 0, 3, 2), value=odd)
    beside = torch.nn.functional.pad(mask, (3, 2))
    assert_equal(kind.of_batch(padded, beside), kind.of_batch(values, mask))


@settings(max_examples=40, deadline=None)
@given(batches())
def test_both_kinds_against_loops_over_tokens(batch):
    values, mask = batch
    channel, gram = (kind.of_batch(values, mask) for kind in KINDS)
    total, square, outer = torch.zeros(3), torch.zeros(3), torch.zeros(3, 3)
    norms, tokens = [], 0
    for row, inside in zip(values, mask, strict=True):
        own = torch.zeros(3)
        for token, counts in zip(row, inside, strict=True):
            if counts:
                tokens += 1
                total, square = total + token, square + token**2
                outer, own = outer + torch.outer(token, token), own + token**2
        norms.append(own.double().sqrt())
    assert (channel.tokens, gram.tokens, channel.samples) == (tokens, tokens, len(values))
    assert torch.equal(channel.total, total.double())
    assert torch.equal(channel.total_square, square.double())
    assert torch.equal(gram.total, outer.double())
    assert torch.equal(gram.total.diagonal(), channel.total_square)
    torch.testing.assert_close(channel.norm_total, torch.stack(norms).sum(0))
    torch.testing.assert_close(gram.mean * tokens, gram.total)


@pytest.mark.parametrize("kind", KINDS)
def test_adding_makes_a_new_one_and_absorbing_does_not(kind):
    values, mask = torch.ones(1, 2, 3), torch.ones(1, 2, dtype=torch.bool)
    one, other = kind.of_batch(values, mask), kind.of_batch(2 * values, mask)
    before = [tensor.clone() for tensor in one.tensors]
    both = one + other
    assert all(map(torch.equal, one.tensors, before))
    held = one.absorb(other)
    assert all(map(torch.equal, held.tensors, both.tensors))
    assert all(a is b for a, b in zip(held.tensors, one.tensors, strict=True))
    assert type(held) is type(both) is kind


@pytest.mark.parametrize(("kind", "title"), list(TITLES.items()))
def test_other_widths_do_not_merge(kind, title):
    with pytest.raises(StatisticsError, match=f"cannot merge {title} of 2 and of 3 channels"):
        kind.zero(2) + kind.zero(3)
    with pytest.raises(StatisticsError, match=f"cannot merge {title} of 3 and of 2 channels"):
        kind.zero(3).absorb(kind.zero(2))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf")])
def test_one_odd_value_in_scope_shows(kind, odd):
    values, mask = torch.ones(2, 3, 4), torch.ones(2, 3, dtype=torch.bool)
    assert kind.of_batch(values, mask).is_finite
    values[1, 2, 3] = odd
    assert not kind.of_batch(values, mask).is_finite
    mask[1, 2] = False
    assert kind.of_batch(values, mask).is_finite


@pytest.mark.parametrize("cuts", [(1,), (6,), (12,), (3, 7), tuple(range(1, 13))])
def test_any_shards_add_up_to_the_whole(cuts, examples):
    model, _ = tiny_model("llama")
    sites = find_sites(model, targets=["layers.0.*"])
    whole = collect_statistics(model, sites, examples, source="all")
    edges = [0, *cuts, len(examples)]
    shards = [examples[start:end] for start, end in pairwise(edges)]
    total, *rest = (
        collect_statistics(model, sites, shard, source=str(number))
        for number, shard in enumerate(shards)
    )
    for shard in rest:
        total = total + shard
    assert (total.samples, total.tokens) == (whole.samples, whole.tokens)
    assert total.sources == tuple(sorted(map(str, range(len(shards)))))
    for name, sums in whole.sums.items():
        for ours, theirs in zip(sums.tensors, total.sums[name].tensors, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_containers_keep_their_kind_when_they_are_added():
    sums = {"a": ChannelStatistics.zero(2)}
    one = Statistics(sums, {"a": "a"}, "all", "f")
    assert type(one + one) is Statistics
    grams = Grams({"a": GramStatistics.zero(2)}, {"a": "a"}, "all", "f")
    assert type(grams + grams) is SiteSums


class Shared(nn.Module):
    """Two readers of one tensor, one of an equal tensor that is another, and one never run."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.idle = (nn.Linear(4, 4) for _ in range(4))

    def forward(self, x):
        return self.q(x) + self.k(x) + self.v(x.clone())


def test_who_reads_the_same_tensor_is_seen_and_not_who_reads_the_same_numbers():
    module, x = Shared(), torch.randn(2, 3, 4)
    sites = [site for site in find_sites(module) if site.name != "idle"]
    groups = group_by_input(sites, lambda: module(x))
    assert groups == {"q": "q", "k": "q", "v": "v"}
    assert [site.name for site in first_readers(sites, groups)] == ["q", "v"]
    assert group_by_input(sites[::-1], lambda: module(x)) == {"v": "v", "k": "k", "q": "k"}


def test_a_second_run_is_made_only_where_the_first_does_not_reach_every_site():
    module, runs = Shared(), []
    sites = find_sites(module)

    def short():
        runs.append("short")
        module(torch.randn(1, 2, 4))

    def long():
        runs.append("long")
        x = torch.randn(1, 2, 4)
        module.idle(x)
        module(x)

    reached = [site for site in sites if site.name != "idle"]
    group_by_input(reached, short, long)
    assert runs == ["short"]
    assert group_by_input(sites, short, long)["idle"] == "q"
    assert runs == ["short", "short", "long"]
    with pytest.raises(StatisticsError, match=r"site 'idle' gets no input .*\(1 such sites\)"):
        group_by_input(sites, short)


def test_hooks_go_also_when_the_forward_pass_fails():
    module = Shared()
    sites = find_sites(module)

    def fail(site, x):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), watch_inputs(sites, fail):
        module(torch.randn(1, 2, 4))
    assert not any(site.module._forward_pre_hooks for site in sites)


def test_columns_of_a_batch_are_columns_of_all_its_tensors():
    long, short = Encoded([5, 6, 7], [False, True, True], [True] * 3), Encoded([8], [True], [True])
    batch = collate([long, short]).columns(slice(1, 3))
    assert batch.input_ids.tolist() == [[6, 7], [0, 0]]
    assert batch.attention_mask.tolist() == [[1, 1], [0, 0]]
    assert batch.scope.tolist() == [[True, True], [False, False]]
    assert batch.position_ids.tolist() == [[1, 2], [0, 0]]
    assert batch.index == [0, 1]


@pytest.mark.parametrize("side", ["left", "right"])
def test_one_example_alone_is_its_own_statistics(side):
    model, _ = tiny_model("gpt2")
    sites = find_sites(model)[:2]
    examples = random_examples(3)
    alone = [
        collect_statistics(model, sites, [one], padding_side=side, max_tokens=1) for one in examples
    ]
    together = collect_statistics(model, sites, examples, padding_side=side)
    for name, sums in together.sums.items():
        total = sum(one.sums[name].total_abs for one in alone)
        torch.testing.assert_close(sums.total_abs, total, rtol=1e-5, atol=1e-5)
