"""contrastive-kl: the gain and damage of contrastive-taylor, other options."""

import dataclasses

import pytest
import torch

from prosopon.criteria import CRITERIA, LightOptions
from prosopon.errors import OptionError

KL = CRITERIA.get("contrastive-kl")
TAYLOR = CRITERIA.get("contrastive-taylor")


def test_it_counts_as_contrastive_taylor_does():
    generator = torch.Generator().manual_seed(0)
    weight, gradient, fisher = (torch.randn(3, 5, generator=generator) for _ in range(3))
    for part, other in (("gain", gradient), ("damage", fisher.abs())):
        ours = getattr(KL, part)(weight, other, KL.parse_options({}))
        theirs = getattr(TAYLOR, part)(weight, other, TAYLOR.parse_options({}))
        assert torch.equal(ours, theirs)
    assert KL.contrastive
    assert KL.pattern == TAYLOR.pattern


def test_only_what_it_is_for_differs():
    ours, theirs = (dataclasses.asdict(c.parse_options({})) for c in (KL, TAYLOR))
    assert ours.keys() == theirs.keys()
    assert {name for name in ours if ours[name] != theirs[name]} == {
        "rounds", "batch_size", "candidate_pairs", "target_weight", "general_weight", "kl_weight",
        "max_loss", "log_odds", "likelihood_power", "free_text_weight", "word_dropout",
    }  # fmt: skip
    assert theirs["kl_weight"] == theirs["max_loss"] == 0.0
    assert isinstance(KL.parse_options({}), LightOptions)


def test_older_names_of_options_work_here_too():
    older = {"beta": "2", "batch": "8", "odds": "shift", "general": "1"}
    parsed = KL.parse_options(older | {"likelihood_power": "0"})
    assert (parsed.target_weight, parsed.batch_size, parsed.log_odds) == (2.0, 8, "shift")
    assert parsed.general_weight == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_loss": "much"}, "max_loss"),
        ({"max_loss": "-0.1"}, "max_loss=-0.1: must not be negative"),
        ({"kl": "3"}, "kl_weight"),
        ({"log_odds": "square"}, "shift"),
        ({"likelihood_power": "-0.1"}, "likelihood_power=-0.1: must not be negative"),
        ({"likelihood_power": "0.3", "log_odds": "shift"}, "take logistic or linear"),
        ({"rounds": "0"}, "rounds=0: must be at least 1"),
    ],
)
def test_what_has_no_meaning_is_refused(options, message):
    with pytest.raises(OptionError, match=message):
        KL.parse_options(options)
