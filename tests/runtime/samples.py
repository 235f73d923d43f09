"""Personas for tiny models, and what the weights must be while one is worn."""

from __future__ import annotations

from dataclasses import asdict

import torch

from prosopon.models import find_sites, fingerprint
from prosopon.subnetwork import Subnetwork
from tests.subnetwork.samples import config
from tests.tiny import tiny_model


def one_layer(family, dtype=torch.float32, *, tied=False):
    """Build a tiny model of one layer, which is enough for what happens to its weights."""
    model, _ = tiny_model(family, dtype=dtype)
    body = model.transformer if family == "gpt2" else model.model
    layers = "h" if family == "gpt2" else "layers"
    setattr(body, layers, getattr(body, layers)[:1])
    if tied:
        model.config.tie_word_embeddings = True
        model.tie_weights()
        assert model.lm_head.weight is body.embed_tokens.weight
    return model


def subnetwork(model, name="introvert", *, seed=0, share=0.3, targets=None, ranked=False):
    """Prune a random ``share`` of the weights of every site that ``targets`` names.

    ``ranked`` adds random levels.
    """
    sites = find_sites(model, targets=targets)
    generator = torch.Generator().manual_seed(seed)
    keep = {site.name: torch.rand(site.shape, generator=generator) >= share for site in sites}
    levels = None
    if ranked:
        levels = {
            site: torch.randint(256, (int((~mask).sum()),), generator=generator, dtype=torch.uint8)
            for site, mask in keep.items()
        }
    found = asdict(fingerprint(sites))
    return Subnetwork(keep, config(persona=name, fingerprint=found), levels)


def weights(model):
    """Copy every parameter and buffer, in whatever state it is."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def pointers(model):
    return {name: tensor.data_ptr() for name, tensor in model.state_dict().items()}


def bits(tensor):
    """Return the raw bits, so that 0.0 and -0.0 differ and NaN equals itself."""
    kinds = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    if not tensor.is_floating_point():
        return tensor
    return tensor.contiguous().view(kinds[tensor.element_size()])


def masked(model, base, persona, gamma):
    """Compute the weights that a model must have while it wears ``persona``; the slow way."""
    expected = dict(base)
    if persona is not None:
        for site in find_sites(model):
            if site.name in persona.keep:
                where = ... if site.expert is None else site.expert
                whole = expected[site.parameter].clone()
                keep = site.oriented(persona.keep[site.name])
                whole[where] = torch.where(keep, whole[where], whole[where] * gamma)
                expected[site.parameter] = whole
    return expected


def assert_bits(model, expected):
    for name, tensor in model.state_dict().items():
        assert torch.equal(bits(tensor), bits(expected[name])), name


def tokens(model, rows=2, length=9):
    generator = torch.Generator().manual_seed(5)
    return torch.randint(3, model.config.vocab_size, (rows, length), generator=generator)


@torch.no_grad()
def logits(model):
    return model(tokens(model)).logits
