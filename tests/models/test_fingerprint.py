from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from prosopon.models import Fingerprint, find_sites, fingerprint
from prosopon.models.fingerprint import SAMPLES
from tests.tiny import FAMILIES, tiny_model


def of(model: nn.Module) -> Fingerprint:
    return fingerprint(find_sites(model))


class Wide(nn.Module):
    """One site with more weights than are sampled."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(128, 2 * SAMPLES // 128)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_survives_casts_and_back(family: str, dtype: torch.dtype) -> None:
    model, _ = tiny_model(family)
    before = of(model)
    assert of(model.to(dtype)) == before
    assert of(model.to(torch.float32)) == before


def test_survives_underflow_and_negative_zero() -> None:
    model, _ = tiny_model("llama")
    for site in find_sites(model):
        site.weight.mul_(1e-12)  # float16 rounds all of these to 0.0 or -0.0
    before = of(model)
    half = model.to(torch.float16)
    assert not find_sites(half)[0].weight.any()
    assert of(half) == before


@pytest.mark.parametrize("family", FAMILIES)
def test_tells_other_weights_of_the_same_shape_apart(family: str) -> None:
    first, second = of(tiny_model(family, seed=0)[0]), of(tiny_model(family, seed=1)[0])
    assert first.architecture == second.architecture
    assert first.weights != second.weights


def test_is_the_same_for_the_same_weights() -> None:
    assert of(tiny_model("llama")[0]) == of(tiny_model("llama")[0])


def test_one_changed_sign_of_a_small_site_is_seen() -> None:
    model, _ = tiny_model("gpt2")
    before = of(model)
    site = find_sites(model)[0]
    assert site.weight.numel() <= SAMPLES
    site.matrix()[2, 3] *= -1
    after = of(model)
    assert after.weights != before.weights
    assert after.architecture == before.architecture


def test_large_sites_are_sampled_evenly() -> None:
    model = Wide().requires_grad_(False)
    before = of(model)
    matrix = find_sites(model)[0].matrix()
    matrix.view(-1)[1::2] *= -1  # every second weight is read, from the first on
    assert of(model) == before
    matrix.view(-1)[-2] *= -1
    assert of(model) != before


def test_layout_does_not_matter() -> None:
    conv, _ = tiny_model("gpt2")
    site = find_sites(conv, targets=["h.0.attn.c_attn"])[0]

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(site.in_features, site.out_features)
            self.linear.weight = nn.Parameter(site.matrix().clone())

    plain = find_sites(Plain())[0]
    assert not plain.transposed
    renamed = dataclasses.replace(plain, name=site.name)
    assert fingerprint([renamed]) == fingerprint([site])


def test_order_does_not_matter_but_names_and_shapes_do() -> None:
    sites = find_sites(tiny_model("llama")[0])
    whole = fingerprint(sites)
    assert fingerprint(reversed(sites)) == whole
    assert fingerprint(sites[1:]).architecture != whole.architecture
    renamed = [dataclasses.replace(sites[0], name="other"), *sites[1:]]
    assert fingerprint(renamed).architecture != whole.architecture
    assert fingerprint(renamed).weights != whole.weights


def test_is_two_hexadecimal_digests() -> None:
    print_ = of(tiny_model("llama")[0])
    assert set(dataclasses.asdict(print_)) == {"architecture", "weights"}
    for digest in dataclasses.astuple(print_):
        assert len(digest) == 64
        int(digest, 16)


def test_golden_value() -> None:
    """Files on disk hold fingerprints: the recipe may not change without a format version."""
    model = Wide().requires_grad_(False)
    ramp = torch.arange(model.fc.weight.numel()).reshape(model.fc.weight.shape)
    model.fc.weight.copy_(torch.where(ramp % 3 == 0, -1.0, 1.0))
    assert of(model) == Fingerprint(
        architecture="2d412c7215ab4c47f0f909a2b0a936f1c86b78b9121d0f955ec8f61ed2d20ec0",
        weights="11dc73d9ab11b823b2318e439e8a3e1d717166e3116df3fc8475d8755e87fae0",
    )
