"""Every criterion against an obvious formula, and the registry's options."""

import math

import pytest
import torch

from prosopon.criteria import (
    CRITERIA,
    Criterion,
    LightCriterion,
    ScoredCriterion,
    SiteInputs,
    SolvedCriterion,
)
from prosopon.errors import OptionError, UnknownNameError
from prosopon.statistics import ChannelStatistics, GramStatistics


def statistics(seed, channels=6, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(5, 8, channels, generator=generator) + shift
    return values, ChannelStatistics.of_batch(values, torch.ones(5, 8, dtype=torch.bool))


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(9)
    return SiteInputs(
        weight=torch.randn(4, 6, generator=generator),
        target=statistics(0, shift=torch.arange(6) * 0.3)[1],
        opposite=statistics(1)[1],
        general=statistics(2)[1],
        gram=GramStatistics.of_batch(statistics(0)[0], torch.ones(5, 8, dtype=torch.bool)),
        sparsity=0.3,
        generator=torch.Generator().manual_seed(5),
    )


def score(name, inputs, **options):
    criterion = CRITERIA.get(name)
    return criterion.score(inputs, criterion.parse_options(options))


def loop(inputs, formula):
    rows, columns = inputs.weight.shape
    return torch.tensor(
        [[formula(float(inputs.weight[i, j]), i, j) for j in range(columns)] for i in range(rows)]
    )


def test_magnitude(inputs):
    assert torch.equal(score("magnitude", inputs), loop(inputs, lambda w, i, j: abs(w)))


def test_random_is_seeded_and_knows_nothing(inputs):
    first = score("random", SiteInputs(inputs.weight, generator=torch.Generator().manual_seed(5)))
    again = score("random", SiteInputs(inputs.weight, generator=torch.Generator().manual_seed(5)))
    other = score("random", SiteInputs(inputs.weight, generator=torch.Generator().manual_seed(6)))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("variant", ["paper", "reference"])
def test_wanda(inputs, variant):
    values, _ = statistics(0, shift=torch.arange(6) * 0.3)
    if variant == "paper":
        activation = values.flatten(0, 1).abs().mean(0)
    else:
        activation = torch.stack([v.norm(dim=0) for v in values]).mean(0)
    expected = loop(inputs, lambda w, i, j: abs(w) * float(activation[j]))
    torch.testing.assert_close(score("wanda", inputs, variant=variant), expected)


@pytest.mark.parametrize("variant", ["paper", "reference"])
@pytest.mark.parametrize("phi", ["relu", "softplus"])
def test_contrastive_wanda(inputs, variant, phi):
    scale = math.sqrt(8) if variant == "paper" else 1.0
    sides = []
    for seed, shift in ((0, torch.arange(6) * 0.3), (1, 0.0)):
        norms = torch.stack([v.norm(dim=0) / scale for v in statistics(seed, shift=shift)[0]])
        sides.append((norms.mean(0).double(), norms.var(0, unbiased=False).double()))
    (mean, variance), (other_mean, other_variance) = sides

    def formula(w, i, j):
        z = float((mean - other_mean)[j] / ((variance + other_variance)[j].sqrt() + 1e-8))
        return abs(w) * (max(z, 0.0) if phi == "relu" else math.log1p(math.exp(z / 2.0)))

    got = score("contrastive-wanda", inputs, variant=variant, phi=phi)
    torch.testing.assert_close(got, loop(inputs, formula), rtol=1e-4, atol=1e-5)


def removal(weight, gradient, fisher, **options):
    """Return gain and damage of the registered criterion."""
    criterion = CRITERIA.get("contrastive-taylor")
    parsed = criterion.parse_options(options)
    return criterion.gain(weight, gradient, parsed), criterion.damage(weight, fisher, parsed)


def test_contrastive_taylor(inputs):
    generator = torch.Generator().manual_seed(3)
    gradient = torch.randn(4, 6, generator=generator)
    fisher = torch.rand(4, 6, generator=generator)
    gain, damage = removal(inputs.weight, gradient, fisher)
    expected = loop(inputs, lambda w, i, j: w * float(gradient[i, j]))
    torch.testing.assert_close(gain, expected)
    expected = loop(inputs, lambda w, i, j: 0.5 * float(fisher[i, j]) * w * w)
    torch.testing.assert_close(damage, expected)


def test_taylor_predicts_the_change_of_a_quadratic_loss_exactly():
    # L(w) = a w + h/2 w^2 at w; removing w changes it by -L'(w) w + h/2 w^2, so the gain is
    # exact when F stands for h.
    w, a, h = 1.7, 0.4, 0.9
    gain, damage = removal(*(torch.tensor([x]) for x in (w, a + h * w, h)))
    assert float(damage - gain) == pytest.approx(0.0 - (a * w + 0.5 * h * w * w), rel=1e-6)


SCORED = [name for name, item in CRITERIA.items() if isinstance(item, ScoredCriterion)]


@pytest.mark.parametrize("name", SCORED)
def test_scores_are_finite_and_shaped(inputs, name):
    got = score(name, inputs)
    assert got.shape == inputs.weight.shape
    assert got.dtype == torch.float32
    assert not got.isnan().any()
    if not CRITERIA.get(name).cap:  # under a cap plus infinity means: never prune
        assert torch.isfinite(got).all()


@pytest.mark.parametrize("name", [name for name in SCORED if CRITERIA.get(name).needs])
def test_what_is_needed_is_asked_for(name):
    with pytest.raises(OptionError, match="needs"):
        score(name, SiteInputs(torch.ones(2, 6)))


def test_names_are_forgiving_and_unknown_ones_listed():
    assert CRITERIA.get("Contrastive_Wanda").name == "contrastive-wanda"
    with pytest.raises(UnknownNameError, match=r"Did you mean 'wanda'.*Choices: contrastive"):
        CRITERIA.get("wonda")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"colour": 1}, "no option 'colour'; it has: rounds"),
        ({"rounds": "many"}, "'many' is not a int"),
        ({"rounds": "2.5"}, "'2.5' is not a int"),
        ({"rounds": 0}, "must be at least 1"),
        ({"damage_weight": "-1"}, "must not be negative"),
        ({"max_share": 0}, "must be a share above 0"),
        ({"damage_weight": "nan"}, "is not finite"),
        ({"log_odds": "even"}, "choose one of shift, logistic, linear"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(OptionError, match=message):
        CRITERIA.get("contrastive-taylor").parse_options(options)


def test_options_from_the_command_line_are_converted():
    options = CRITERIA.get("contrastive-taylor").parse_options(
        {"rounds": "3", "damage_weight": "1e2"}
    )
    assert (options.rounds, options.damage_weight) == (3, 100.0)
    assert isinstance(options.rounds, int)


def test_old_names_of_options_are_taken_and_named(caplog):
    criterion = CRITERIA.get("contrastive-taylor")
    old = {
        "batch": 3, "beta": 1, "general": 2, "damage": 4, "protect": 5, "odds": "linear",
        "free": 6, "texts": 7, "most": 0.5,
    }  # fmt: skip
    new = {
        "batch_size": 3, "target_weight": 1, "general_weight": 2, "damage_weight": 4,
        "protect_weight": 5, "log_odds": "linear", "free_text_weight": 6, "free_texts": 7,
        "max_share": 0.5,
    }  # fmt: skip
    assert criterion.parse_options(old) == criterion.parse_options(new)
    with pytest.raises(OptionError, match=r"it has: rounds, batch_size \(earlier batch\)"):
        criterion.parse_options({"batches": 1})
    with pytest.raises(OptionError, match="'damage_weight' is given twice"):
        criterion.parse_options({"damage": 1, "damage-weight": 2})


def test_the_three_kinds_and_the_general_name():
    plain = Criterion(name="x", summary="s", source="s", score=lambda inputs, _: inputs.weight)
    assert type(plain) is ScoredCriterion
    kinds = {type(item) for _, item in CRITERIA.items()}
    assert kinds == {ScoredCriterion, SolvedCriterion, LightCriterion}
    contrastive = {name for name, item in CRITERIA.items() if item.contrastive}
    assert "contrastive-taylor" in contrastive
    assert not {"wanda", "sparsegpt", "random", "magnitude"} & contrastive
    with pytest.raises(OptionError, match="'x' is a int; add a ScoredCriterion"):
        CRITERIA.add("x", 3)
    with pytest.raises(OptionError, match="extend LightOptions"):
        LightCriterion(name="x", summary="s", source="s", options=type("Mine", (), {}))


def test_summaries_say_what_the_masks_are():
    assert "disjoint from sparsity 0.5 on" in CRITERIA.get("contrastive-sparse").summary
