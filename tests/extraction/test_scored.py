"""Masks from scores: seeds by site, evidence by side, and what is said of a mask."""

from importlib.metadata import PackageNotFoundError

import pytest
import torch

from prosopon import Extractor
from prosopon.criteria import CRITERIA
from prosopon.data import load_persona
from prosopon.errors import OptionError
from prosopon.extraction import ExtractionSettings
from prosopon.extraction import provenance as module
from prosopon.extraction.extractor import assemble
from prosopon.extraction.mask import ExtractedMask
from prosopon.extraction.request import resolve_request
from prosopon.extraction.scored import find_units, scored_mask, site_generator, site_inputs
from tests.tiny import tiny_model

BOLD, CAUTIOUS = load_persona("bold", limit=4), load_persona("cautious", limit=4)


@pytest.fixture(scope="module")
def extractor():
    return Extractor(*tiny_model("llama"), general_count=8, name="tiny")


def noise(seed, site):
    return torch.rand(5, generator=site_generator(seed, site)).tolist()


def test_every_site_and_seed_has_a_generator_of_its_own():
    assert noise(1, "a") == noise(1, "a")
    assert len({tuple(noise(seed, site)) for seed in (0, 1) for site in ("a", "b")}) == 4


def test_a_random_mask_of_a_site_is_the_same_whatever_else_is_masked(extractor):
    every = extractor.extract(BOLD, criterion="random")
    some = Extractor(extractor.model, extractor.tokenizer, only="mlp").extract(
        CAUTIOUS, criterion="random"
    )
    assert 0 < len(some.sites) < len(every.sites)
    assert all(torch.equal(some.keep[name], every.keep[name]) for name in some.keep)
    other = extractor.without_statistics(1).extract(BOLD, criterion="random")
    assert not any(torch.equal(other.keep[name], every.keep[name]) for name in every.keep)


def test_a_criterion_sees_the_sides_that_were_read():
    model, tokenizer = tiny_model("llama", dtype=torch.bfloat16)
    reader = Extractor(model, tokenizer).collector
    site = reader.sites[0]
    evidence = {"opposite": reader.statistics(BOLD)}
    inputs = site_inputs(evidence, site, 0.3, 0)
    assert inputs.opposite is evidence["opposite"][site.name]
    assert inputs.target is inputs.general is inputs.gram is None
    assert (inputs.weight.dtype, inputs.sparsity) == (torch.float32, 0.3)
    with pytest.raises(OptionError, match="needs statistics of the target"):
        inputs.activations()
    with pytest.raises(OptionError, match="needs statistics of general text"):
        inputs.activations("general")


def test_evidence_that_is_given_stands_for_what_would_be_read(extractor):
    reader = extractor.collector
    request = resolve_request(BOLD, criterion="wanda")
    other = {"target": reader.statistics(CAUTIOUS)}
    mask = scored_mask(reader, request, other)
    assert mask.keep.keys() == {site.name for site in reader.sites}
    expected = extractor.extract(CAUTIOUS, criterion="wanda")
    assert all(torch.equal(mask.keep[name], expected.keep[name]) for name in mask.keep)
    assert assemble(reader, request, mask, 0).config.persona == "bold"


@pytest.mark.parametrize("name", ["set-difference", "contrastive-effect"])
@pytest.mark.parametrize("pattern", ["2:4", "heads"])
def test_a_cap_has_no_meaning_where_a_fixed_number_goes(extractor, name, pattern):
    with pytest.raises(OptionError, match=f"'row', 'site', 'global' or lora:R, not '{pattern}'"):
        extractor.extract(BOLD, CAUTIOUS, criterion=name, pattern=pattern)


def test_units_are_sought_only_for_patterns_of_units(extractor):
    model, sites = extractor.model, extractor.sites
    assert find_units("row", 0.3, model, sites) == []
    assert {group.kind for group in find_units("heads", 0.5, model, sites)} == {"heads"}
    with pytest.raises(OptionError, match="divisible by 7"):
        find_units("1:7", 6 / 7, model, sites)


def test_owl_keeps_the_total_and_prunes_layers_by_their_outliers(extractor):
    request = {"criterion": "wanda", "pattern": "row", "sparsity": 0.5}
    alike = extractor.extract(BOLD, **request)
    owl = extractor.extract(BOLD, **request, options={"owl": 0.2, "outlier": 2})
    assert owl.pruned_share == pytest.approx(alike.pruned_share, abs=0.02)
    shares = {name: 1 - mask.float().mean().item() for name, mask in owl.keep.items()}
    layers = [{round(s, 1) for n, s in shares.items() if f".{i}." in n} for i in (0, 1)]
    assert layers[0] != layers[1]


def test_what_a_mask_says_of_itself():
    keep = {"a": torch.tensor([[True, False], [True, True]]), "b": torch.ones(1, 4, dtype=bool)}
    assert ExtractedMask(keep).pruned_share == 1 / 8
    assert (ExtractedMask(keep).values, ExtractedMask(keep).notes) == ({}, {})


def test_provenance_is_the_request_and_the_settings(extractor, monkeypatch):
    def version(package):
        if package == "torch":
            raise PackageNotFoundError
        return f"{package} 1"

    monkeypatch.setattr(module, "version", version)
    request = resolve_request(
        BOLD, CAUTIOUS, criterion="contrastive-wanda", options={"phi": "softplus"}
    )
    keep = {"a": torch.tensor([[True, False]])}
    settings = ExtractionSettings(name="org/model", revision="abc", seed=7)
    config = module.provenance(
        keep, request, settings, extractor.fingerprint, general_count=3, notes={"more": 1}
    )
    assert (config.base_model, config.revision, config.seed) == ("org/model", "abc", 7)
    assert (config.persona, config.opposite) == ("bold", "cautious")
    assert (config.pattern, config.sparsity) == ("row", CRITERIA.get("contrastive-wanda").sparsity)
    assert config.options["phi"] == "softplus"
    assert config.options["more"] == 1
    assert (config.sites["a"].shape, config.sites["a"].pruned) == ((1, 2), 1)
    assert config.calibration.opposite_hash == CAUTIOUS.content_hash()
    assert (config.calibration.general_count, config.calibration.scope) == (3, "response")
    assert config.versions["torch"] == "unknown"
    assert config.versions["transformers"] == "transformers 1"
