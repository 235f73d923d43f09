"""The dose of an arm: the largest scale that general text bears."""

from contextlib import contextmanager

import pytest
import torch

from prosopon.arms.dose import LEAST, MOST, largest_scale
from prosopon.lm import text_losses
from prosopon.models import find_sites
from tests.arms.samples import same_weights, tiny_lab, weights_of


class Noise:
    """An arm that adds noise to every site, as many times as its scale says."""

    def __init__(self, lab, size=0.05):
        self.lab, self.scales = lab, []
        generator = torch.Generator().manual_seed(5)
        self.steps = [
            (site, size * torch.randn(site.shape, generator=generator))
            for site in lab.extractor.sites
        ]

    @contextmanager
    def wear(self, scale):
        self.scales.append(scale)
        before = [site.matrix().clone() for site, _ in self.steps]
        try:
            with torch.no_grad():
                for site, step in self.steps:
                    site.matrix().add_(scale * step)
            yield
        finally:
            with torch.no_grad():
                for (site, _), weight in zip(self.steps, before, strict=True):
                    site.matrix().copy_(weight)

    def rise(self, scale):
        texts = self.lab.extractor.held_out()
        base, tokens = text_losses(self.lab.model, texts, every=True)
        with self.wear(scale):
            worse, _ = text_losses(self.lab.model, texts, every=True)
        return (worse - base) / tokens


@pytest.fixture(scope="module")
def lab():
    return tiny_lab()


def test_it_is_what_a_fine_scan_finds(lab):
    arm = Noise(lab)
    scales = [LEAST * (MOST / LEAST) ** (i / 60) for i in range(61)]
    rises = [arm.rise(scale) for scale in scales]
    limit = max(rises) / 3
    first = next(i for i, rise in enumerate(rises) if rise > limit)
    scale, cost = largest_scale(lab, arm.wear, limit)
    assert cost <= limit
    assert scales[max(0, first - 2)] <= scale <= scales[first]
    assert arm.rise(scale) == pytest.approx(cost, abs=1e-6)


def test_limits_that_no_scale_or_every_scale_keeps_to(lab):
    arm = Noise(lab)
    assert largest_scale(lab, arm.wear, 1e9)[0] == MOST
    assert arm.scales == [MOST]
    scale, cost = largest_scale(lab, arm.wear, -1e9)
    assert scale == LEAST
    assert cost == pytest.approx(arm.rise(LEAST), abs=1e-6)


def test_the_model_is_as_before_also_after_an_exception(lab):
    arm, before = Noise(lab), weights_of(lab.model)
    largest_scale(lab, arm.wear, 0.01)
    assert same_weights(lab.model, before)

    def stop(scale):
        if len(arm.scales) > 3:
            raise KeyboardInterrupt
        return arm.wear(scale)

    with pytest.raises(KeyboardInterrupt):
        largest_scale(lab, stop, 0.01)
    assert same_weights(lab.model, before)
    assert [site.name for site in find_sites(lab.model)] == [s.name for s, _ in arm.steps]
