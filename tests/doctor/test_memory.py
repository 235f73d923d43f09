"""Sums of bytes, against what the code allocates."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from prosopon.criteria import CRITERIA
from prosopon.data import Encoded
from prosopon.doctor.blueprint import Matrix, read_blueprint
from prosopon.doctor.job import resolve_job
from prosopon.doctor.memory import (
    LIBRARIES,
    activations,
    extraction_memory,
    gap_bits,
    general_texts,
    mask_bytes,
    prediction_bytes,
    statistics_bytes,
)
from prosopon.gradients import Anchor
from prosopon.models import find_sites
from prosopon.statistics import collect_grams, collect_statistics
from prosopon.subnetwork.encodings import Masks, choose_encoding, encode_masks

TEXTS = [Encoded(list(range(6, 15)), [True] * 9, [False] * 4 + [True] * 5)] * 3


@pytest.fixture
def tiny(folder_of):
    folder, model = folder_of("llama")
    return read_blueprint(str(folder)), model


def peak(blueprint, free=None, **job):
    parts = extraction_memory(blueprint, resolve_job(blueprint, **job), free)
    return sum(part.nbytes for part in parts)


def test_statistics_take_no_more_than_planned(tiny):
    blueprint, model = tiny
    sums = collect_statistics(model, find_sites(model), TEXTS).sums
    held = sum(tensor.nbytes for channels in sums.values() for tensor in channels.tensors)
    planned = statistics_bytes(blueprint.sites, 1)
    assert held <= planned <= 2.5 * held  # shared inputs are planned once for each site
    assert statistics_bytes(blueprint.sites, 3) == 3 * planned


def test_gram_matrices_take_no_more_than_planned(tiny):
    blueprint, model = tiny
    grams = collect_grams(model, find_sites(model), TEXTS).sums
    held = sum(gram.total.nbytes for gram in grams.values())
    job = resolve_job(blueprint, criterion="sparsegpt")
    planned = {p.what: p.nbytes for p in extraction_memory(blueprint, job, None)}["Gram matrices"]
    assert held <= planned <= 2.5 * held


def test_predictions_are_those_of_an_anchor(tiny):
    blueprint, model = tiny
    anchor = Anchor(model, TEXTS)
    held = sum(tensor.nbytes for tensor in anchor._base)
    assert held == prediction_bytes(3 * 8, blueprint.vocabulary)
    assert prediction_bytes(1 << 20, 1000) == 2 * 1000 << 20  # too much for float32


@pytest.mark.parametrize("share", [0.0005, 0.003, 0.02, 0.3, 0.5])
def test_the_mask_file_is_as_large_as_planned(big, share):
    shape = (600, 1001)
    blueprint = replace(big, sites=(Matrix("layers.0.q_proj", *shape),))
    generator = torch.Generator().manual_seed(0)
    keep = torch.rand(shape, generator=generator) >= share
    masks = {"layers.0.q_proj": keep}
    real = len(encode_masks(Masks(masks, None), choose_encoding(masks)))
    job = resolve_job(blueprint, criterion="wanda", sparsity=share)
    assert mask_bytes(blueprint, job) == pytest.approx(real, rel=0.06, abs=150)


@pytest.mark.parametrize("share", [0.001, 0.01, 0.2, 0.5])
def test_bits_of_a_gap_are_the_slow_sum(share):
    gaps = np.arange(int(40 / share))
    chances = (1 - share) ** gaps * share
    best = min(float((chances * (k + 1 + (gaps >> k))).sum()) for k in range(12))
    assert gap_bits(share) == pytest.approx(best, rel=1e-6)
    entropy = -(share * math.log2(share) + (1 - share) * math.log2(1 - share)) / share
    assert best > entropy - 1e-9


def test_what_a_backward_pass_keeps_is_near_what_it_keeps(tiny):
    """Counted by the hooks of autograd; the head and the embedding left out."""
    blueprint, model = tiny
    held = {}

    def pack(tensor):
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    tokens = 256
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model.model(torch.ones(1, tokens, dtype=torch.long))
    finally:
        model.requires_grad_(False)
    kept = sum(size for place, size in held.items() if place not in weights)
    assert 0.5 < activations(blueprint, tokens, 4) / kept < 1.5
    doubled = activations(blueprint, 2 * tokens, 4)
    assert doubled == pytest.approx(2 * activations(blueprint, tokens, 4), rel=1e-5)


@pytest.mark.parametrize("name", CRITERIA.names())
def test_every_criterion_has_a_plan(big, name):
    total = peak(big, criterion=name)
    assert total > LIBRARIES + big.weights_bytes("bfloat16")
    assert peak(big, criterion=name, dtype="float32") > total


def test_what_a_criterion_needs_shows(big):
    assert peak(big, criterion="magnitude") < peak(big, criterion="wanda")
    assert peak(big, criterion="wanda") < peak(big, criterion="wanda", pattern="global")
    assert peak(big, criterion="contrastive-kl") > peak(big, criterion="contrastive-wanda")
    plain, new = (
        peak(big, criterion="sparsegpt", options={"compensate": value}) for value in ("no", "yes")
    )
    assert new - plain == 2 * big.site_weights
    assert general_texts(resolve_job(big, criterion="set-difference")) == 64
    assert general_texts(resolve_job(big, criterion="wanda")) == 0
    assert general_texts(resolve_job(big, criterion="contrastive-effect")) == 0  # unless asked


def test_fewer_examples_and_less_free_memory_take_less(big):
    few = peak(big, criterion="contrastive-kl", examples=4)
    many = peak(big, criterion="contrastive-kl", examples=64)
    assert few <= many == peak(big, criterion="contrastive-kl", examples=128)
    roomy = peak(big, criterion="contrastive-kl", free=10**12)
    assert roomy - peak(big, criterion="contrastive-kl", free=10**9) > big.site_weights


def test_layer_by_layer_the_model_is_never_there(big):
    total = peak(big, sequential=True)
    assert total < big.weights_bytes("bfloat16") / 4
    assert resolve_job(big, sequential=True).criterion.name == "contrastive-wanda"


def test_a_layer_is_as_large_as_the_one_that_is_read(tiny, big):
    blueprint, model = tiny
    job = resolve_job(blueprint, sequential=True)
    parts = {p.what: p.nbytes for p in extraction_memory(blueprint, job, None)}
    layer = sum(p.nbytes for p in model.model.layers[0].parameters())
    assert parts["a layer, twice"] == 2 * layer
    assert parts["masks, a bit a weight"] == blueprint.site_weights // 8


def test_what_lies_on_a_card_is_marked(big):
    parts = extraction_memory(big, resolve_job(big), None)
    on_card = {part.what for part in parts if part.on_device}
    assert on_card == {"weights", "gradients, candidates, a batch with its logits"}
    parts = extraction_memory(big, resolve_job(big, criterion="wanda"), None)
    beside = {part.what for part in parts if not part.on_device}
    assert beside == {
        "Python and its libraries", "masks, a byte a weight", "statistics of the channels",
    }  # fmt: skip


def test_a_model_from_its_start_writes_more_texts(big):
    job = resolve_job(big)
    assert general_texts(job) == 64
    assert general_texts(replace(job, chat=False)) == 128
    assert general_texts(replace(job, texts=5)) == 5
