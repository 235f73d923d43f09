"""Rates and times."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from prosopon.data import Encoded
from prosopon.doctor import speed
from prosopon.doctor.blueprint import Matrix, read_blueprint
from prosopon.doctor.job import Operations, resolve_job
from prosopon.doctor.speed import (
    START,
    Rate,
    estimate_seconds,
    extraction_work,
    measure_rate,
)
from prosopon.errors import OptionError
from prosopon.models import find_sites
from prosopon.statistics import collect_statistics

RATE = Rate("cpu", "float32", 1e10, 1e9, 1e10)


@pytest.fixture
def tiny(folder_of):
    folder, model = folder_of("llama")
    return read_blueprint(str(folder)), model


def test_rates_are_measured_in_moments(tiny, monkeypatch):
    monkeypatch.setattr(speed, "SECONDS", 0.002)
    rate = measure_rate(tiny[0], "bfloat16", "cpu")
    assert min(rate.wide, rate.narrow, rate.exact) > 1e6
    assert (rate.device, rate.dtype) == ("cpu", "bfloat16")
    with pytest.raises(OptionError, match="unknown device 'tpu'"):
        measure_rate(tiny[0], "float32", "tpu")


def test_operations_of_a_pass_are_those_that_torch_counts(tiny):
    blueprint, model = tiny
    texts = [Encoded([6] * 65, [True] * 65, [True] * 65)] * 8
    sites = find_sites(model)
    with FlopCounterMode(display=False) as counter:
        collect_statistics(model, sites, texts)
    job = replace(resolve_job(blueprint, criterion="wanda", examples=8), tokens=(40, 25))
    assert extraction_work(blueprint, job).wide == pytest.approx(
        counter.get_total_flops(), rel=0.35
    )


def test_time_grows_with_what_there_is_to_do(tiny):
    blueprint, _ = tiny
    assert estimate_seconds(blueprint, Operations(), RATE) == (
        START / speed.SPREAD,
        START * speed.SPREAD,
    )
    works = [
        Operations(wide=1e12),
        Operations(steps=[(16, 1000)]),
        Operations(read=10**10),
        Operations(exact=1e12),
        Operations(elements=1e9),
    ]
    for work in works:
        least, most = estimate_seconds(blueprint, work, RATE)
        assert least > START / speed.SPREAD
        assert most == pytest.approx(least * speed.SPREAD**2)


def test_more_examples_and_rounds_take_longer(big):
    def wide(**job):
        return extraction_work(big, resolve_job(big, **job)).wide

    assert wide(criterion="wanda", examples=64) == 2 * wide(criterion="wanda", examples=32)
    assert wide(criterion="contrastive-wanda") == 2 * wide(criterion="wanda")
    few, many = (
        wide(criterion="contrastive-kl", options={"rounds": n, "batch_size": "16"})
        for n in ("2", "8")
    )
    assert many > 1.5 * few
    assert wide(criterion="set-difference") > wide(criterion="contrastive-wanda")


def test_each_kind_of_criterion_does_its_own_work(big):
    works = {
        name: extraction_work(big, resolve_job(big, criterion=name))
        for name in ("magnitude", "sparsegpt", "contrastive-kl", "contrastive-taylor")
    }
    assert works["magnitude"].wide == 0
    assert works["sparsegpt"].exact > 0
    assert not works["magnitude"].steps
    assert sum(times for _, times in works["contrastive-kl"].steps) == 3 * 96  # 64 and 32 texts
    assert sum(times for _, times in works["contrastive-taylor"].steps) == 2 * 96


def test_layer_by_layer_the_files_are_read_twice(big):
    once = extraction_work(big, resolve_job(big, criterion="wanda"))
    twice = extraction_work(big, resolve_job(big, criterion="wanda", sequential=True))
    assert twice.read == 2 * once.read
    assert torch.float32  # the rates are torch's


def test_the_best_of_some_products_counts(monkeypatch):
    """Two products at 2 and 1 seconds of an own clock, on two threads."""
    moments = iter([0.0, 0.0, 2.0, 2.0, 2.0, 3.0, 9.0])
    monkeypatch.setattr(speed.time, "process_time", lambda: next(moments))
    monkeypatch.setattr(speed.torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(speed, "SECONDS", 2.0)
    rate = speed._product_rate(2, 3, 5, torch.float32, torch.device("cpu"))
    assert rate == 2 * 2 * 3 * 5 / (1.0 / 2)


def test_experts_that_are_not_asked_cost_no_time(big):
    experts = tuple(Matrix(f"layers.{i}.mlp.experts.up", 100, 50, count=8) for i in range(4))
    config = {"num_experts": 8, "num_experts_per_tok": 2, "hidden_size": 50, "vocab_size": 10}
    dense = tuple(replace(site, name=site.name.replace("experts", "all")) for site in experts)
    sparse = replace(big, sites=experts, config=config)
    works = [
        extraction_work(one, resolve_job(one, criterion="wanda"))
        for one in (sparse, replace(sparse, sites=dense))
    ]
    assert works[1].wide == 4 * works[0].wide
    assert works[1].elements == works[0].elements == 2 * 8 * 4 * 5000


def test_fewer_general_texts_are_written_in_fewer_steps(big):
    def steps(**job):
        return extraction_work(big, resolve_job(big, criterion="contrastive-kl", **job)).steps

    assert steps() == [(32, 2 * 96), (32, 96)]
    assert steps(texts=32) == [(32, 96), (16, 96)]
    assert steps(texts=8) == [(8, 96), (8, 96)]
    plain = replace(resolve_job(big, criterion="contrastive-kl"), chat=False)
    assert extraction_work(big, plain).steps == [(64, 2 * 96), (64, 96)]


@pytest.mark.parametrize(
    "more",
    [{"general_weight": "3"}, {"log_odds": "shift", "likelihood_power": "0"},
     {"candidate_pairs": "0"}],
)  # fmt: skip
def test_options_that_read_more_take_longer(big, more):
    plain, more = (
        extraction_work(big, resolve_job(big, criterion="contrastive-kl", options=options)).wide
        for options in ({}, more)
    )
    assert more > plain
