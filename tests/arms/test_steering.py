"""Steering: the vector is the plain difference of means, and the hook goes."""

import dataclasses

import pytest
import torch

from prosopon.arms import ARMS
from prosopon.arms.steering import SteeringTrial, candidates, margin_of, pick, split_pairs
from prosopon.arms.vectors import decoder_layers, layer_means, steered
from prosopon.data import Example, Message, Persona
from prosopon.errors import ModelError, OptionError
from tests.arms.samples import exchange, state_of, tiny_contrast, tiny_lab

FIXED = {"layer": "1", "multiplier": "2"}
IDS = torch.arange(10).unsqueeze(0)


def outputs(lab, layer, ids=IDS):
    """Return what a layer gives, by the library's own record of hidden states."""
    seen = []
    handle = decoder_layers(lab.model)[layer].register_forward_hook(
        lambda module, given, output: seen.append(output[0] if type(output) is tuple else output)
    )
    with torch.no_grad():
        lab.model(input_ids=ids)
    handle.remove()
    return seen[0]


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt", "gpt_neox"])
def test_means_are_those_of_a_slow_loop_and_halves_add_up(family):
    lab = tiny_lab(family)
    texts = lab.extractor.encode(lab.contrast.calibration[0], "response")
    found = layer_means(lab.model, [0, 1], texts, max_tokens=200)
    for layer in (0, 1):
        rows = [
            outputs(lab, layer, torch.tensor([t.input_ids]))[0][torch.tensor(t.response)]
            for t in texts
        ]
        slow = torch.cat(rows).double()
        assert found[layer].tokens == len(slow)
        assert torch.allclose(found[layer].value, slow.mean(0), atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
def test_the_vector_is_added_at_every_token_and_the_hook_goes(family):
    lab = tiny_lab(family)
    vector = torch.linspace(-1, 1, 32)
    base, before = outputs(lab, 1), state_of(lab.model)
    with steered(decoder_layers(lab.model)[1], vector, 2.0):
        assert torch.allclose(outputs(lab, 1), base + 2 * vector, atol=1e-5)
    with steered(decoder_layers(lab.model)[1], vector, 0.0):
        assert torch.equal(outputs(lab, 1), base)
    with pytest.raises(KeyError), steered(decoder_layers(lab.model)[0], vector, 1.0):
        raise KeyError
    assert state_of(lab.model) == before
    assert torch.equal(outputs(lab, 1), base)


def test_the_arm_adds_the_difference_of_the_means():
    lab = tiny_lab(options=FIXED)
    base = outputs(lab, 1)
    prepared = ARMS.get("steering").prepare(lab)
    ours, theirs = (
        layer_means(lab.model, [1], lab.extractor.encode(side, "response"))[1].value
        for side in lab.contrast.drawn(8, 0)
    )
    with prepared.speaking():
        moved = outputs(lab, 1)
    assert torch.allclose(moved - base, (2 * (ours - theirs)).float().expand_as(base), atol=1e-4)
    assert prepared.cost.bytes == 4 * 32
    assert prepared.cost.details["layer"] == 1


def test_exchanged_sides_turn_the_vector_round():
    lab = tiny_lab(options=FIXED)
    other = dataclasses.replace(lab, contrast=exchange(lab.contrast))
    base, moved = outputs(lab, 1), []
    for each in (lab, other):
        with ARMS.get("steering").prepare(each).speaking():
            moved.append(outputs(lab, 1) - base)
    assert torch.allclose(moved[0], -moved[1], atol=1e-4)


def test_layer_and_multiplier_are_chosen_on_held_out_pairs():
    said = []
    lab = tiny_lab(options={"tolerance": 10})
    lab.extractor.report = lambda *given: said.append(given)
    details = ARMS.get("steering").prepare(lab).cost.details
    assert ("choosing the steering vector", 2, 2) in said
    trials = [SteeringTrial(**trial) for trial in details["trials"]]
    assert len(trials) == 16
    assert (details["layer"], details["multiplier"]) == (
        pick(trials, 10).layer, pick(trials, 10).multiplier,
    )  # fmt: skip
    assert details["within_tolerance"]
    assert max(trial.margin for trial in trials) > details["base_margin"]
    again = ARMS.get("steering").prepare(tiny_lab(options={"tolerance": 10})).cost.details
    assert again["trials"] == details["trials"]


def test_more_of_what_harms_is_not_tried():
    details = ARMS.get("steering").prepare(tiny_lab(options={"tolerance": 0})).cost.details
    assert len(details["trials"]) < 16


def test_the_best_harmless_one_is_picked():
    trials = [
        SteeringTrial(0, 1, 0.5, 0.01),
        SteeringTrial(1, 1, 0.7, 0.04),
        SteeringTrial(1, 2, 0.9, 0.2),
    ]
    assert pick(trials, 0.05) is trials[1]
    assert pick(trials, 0.001) is trials[0]


@pytest.mark.parametrize(
    ("layers", "tried"),
    [(2, [0, 1]), (5, [0, 1, 2, 3, 4]), (6, [1, 2, 3, 4]), (32, [6, 11, 16, 20, 25])],
)
def test_candidates_lie_in_the_middle(layers, tried):
    assert candidates(layers) == tried


def test_what_cannot_be_steered_is_said():
    with pytest.raises(OptionError, match="layer=9: the model has 2 decoder layers, 0 to 1"):
        ARMS.get("steering").prepare(tiny_lab(options={"layer": 9}))
    with pytest.raises(OptionError, match="there are 3: give both as options"):
        ARMS.get("steering").prepare(tiny_lab(examples=3))
    assert ARMS.get("steering").prepare(tiny_lab(examples=3, options=FIXED)).cost.bytes
    lab = tiny_lab()
    lab.model.model.extra = torch.nn.ModuleList([torch.nn.Linear(2, 2)])
    assert "exactly one stack of layers" in ARMS.get("steering").refuses(lab)
    with pytest.raises(ModelError, match="exactly one stack"):
        ARMS.get("steering").prepare(lab)


def test_plain_texts_steer_too():
    lab = tiny_lab(contrast=tiny_contrast(plain=True), options=FIXED)
    assert ARMS.get("steering").prepare(lab).cost.details["norm"] > 0


def test_what_plain_texts_begin_with_in_common_does_not_count():
    def lab(begin):
        contrast = tiny_contrast(plain=True)
        told = [
            Persona(side.name, tuple(starting(begin, example) for example in side.examples))
            for side in contrast.calibration
        ]
        return tiny_lab(
            contrast=dataclasses.replace(contrast, calibration=tuple(told)), options=FIXED
        )

    def starting(begin, example):
        return Example((Message("assistant", f"{begin} {example.response}"),))

    common = lab("The people are living there.")
    texts = [common.extractor.encode(side, "response") for side in common.contrast.drawn(8, 0)]
    totals = []
    for ours, theirs in (texts, texts[::-1]):
        total, count = torch.zeros(32), 0
        for text, other in zip(ours, theirs, strict=True):
            rows = outputs(common, 1, torch.tensor([text.input_ids]))[0]
            both = zip(text.input_ids, other.input_ids, strict=False)
            shared = next(i for i, (a, b) in enumerate(both) if a != b)
            assert shared > 10
            total, count = total + rows[shared:].sum(0), count + len(rows) - shared
        totals.append(total / count)
    norm = ARMS.get("steering").prepare(common).cost.details["norm"]
    assert norm == pytest.approx(float((totals[0] - totals[1]).norm()), rel=1e-4)


@pytest.fixture(scope="module")
def shared():
    """Return a lab whose general text is sampled once."""
    lab = tiny_lab()
    lab.extractor.held_out()
    return lab


def test_at_equal_loss_the_layer_with_the_best_margin_is_taken(shared):
    lab = dataclasses.replace(shared, options={"max_loss": 0.02})
    details = ARMS.get("steering").prepare(lab).cost.details
    assert [trial["layer"] for trial in details["trials"]] == [0, 1]
    assert all(trial["general_loss"] <= 0.02 for trial in details["trials"])
    best = max(details["trials"], key=lambda trial: trial["margin"])
    assert details["layer"] == best["layer"]
    assert 0 < details["general_loss"] <= 0.02


def test_the_trials_vectors_did_not_see_the_held_out_pairs(shared):
    target, opposite = shared.contrast.drawn(8, 0)
    pairs = list(zip(target.examples, opposite.examples, strict=True))
    rest, held_out = split_pairs(pairs, 0)
    assert (len(rest), len(held_out)) == (6, 2)
    assert sorted(map(id, (*rest, *held_out))) == sorted(map(id, pairs))
    assert split_pairs(pairs, 1) != (rest, held_out)

    def vector(some):
        sides = [
            shared.extractor.encode(Persona("side", tuple(side)), "response")
            for side in zip(*some, strict=True)
        ]
        ours, theirs = (layer_means(shared.model, [1], side)[1].value for side in sides)
        return (ours - theirs).float()

    place = ARMS.get("steering").dial(shared)._candidates[1]
    base = outputs(shared, 1)
    for wear, some in ((place.wear, pairs), (place.trial, rest)):
        with wear(2.0):
            moved = outputs(shared, 1) - base
        assert torch.allclose(moved, (2 * vector(some)).expand_as(base), atol=1e-4)


def test_a_margin_is_that_of_the_answers_one_by_one(shared):
    pairs = list(zip(*(side.examples[:3] for side in shared.contrast.calibration), strict=True))
    margins = []
    for pair in pairs:
        means = []
        for example in pair:
            text = shared.extractor.encode(Persona("one", (example,)), "response")[0]
            with torch.no_grad():
                logits = shared.model(input_ids=torch.tensor([text.input_ids])).logits[0]
            logs = logits.log_softmax(-1)
            told = [
                float(logs[at - 1, token])
                for at, token in enumerate(text.input_ids)
                if text.response[at]
            ]
            means.append(sum(told) / len(told))
        margins.append(means[0] - means[1])
    assert margin_of(shared, pairs)() == pytest.approx(sum(margins) / 3, abs=1e-4)


def test_a_layer_that_is_given_needs_no_pairs_to_choose_by(shared):
    lab = dataclasses.replace(shared, examples=3, options={"layer": 1, "max_loss": 0.02})
    details = ARMS.get("steering").prepare(lab).cost.details
    assert (details["layer"], "trials" in details) == (1, False)
    with pytest.raises(OptionError, match=r"max_loss=-1\.0: must not be negative"):
        ARMS.get("steering").prepare(tiny_lab(options={"max_loss": -1}))
