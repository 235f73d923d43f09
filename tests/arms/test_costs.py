"""What arms say of themselves once they are prepared: costs, details, speeds."""

import dataclasses
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prosopon.arms import ARMS, measure_speed
from prosopon.arms.adapter import _transposed
from prosopon.arms.few_shot import limit
from prosopon.arms.ready import Clock
from prosopon.arms.turns import text_bytes
from prosopon.arms.vectors import Mean, difference
from prosopon.arms.worn import WornArm
from prosopon.data import Message
from prosopon.errors import DataError
from tests.arms.samples import PROMPTS, tiny_contrast, tiny_lab
from tests.runtime.samples import subnetwork
from tests.tiny import tiny_model


@pytest.fixture
def lab():
    return tiny_lab()


@pytest.mark.parametrize(
    ("context", "room", "most"),
    [(64, 16, 48), (64, 63, 1), (64, 64, 1), (64, 99, 1), (1, 1, 1), (None, 16, None)],
)
def test_a_prompt_leaves_room_for_its_answer(lab, context, room, most):
    lab.extractor.max_length = context
    assert limit(lab, room) == most


def test_the_base_costs_nothing(lab):
    ready = ARMS.get("base").prepare(lab)
    assert (ready.cost.seconds, ready.cost.bytes, dict(ready.cost.details)) == (0.0, 0, {})
    with ready.speaking() as speaker:
        assert speaker.rewritten(PROMPTS[0]) == PROMPTS[0]
        assert speaker.added_tokens(PROMPTS) == [0, 0]


@pytest.mark.parametrize(
    ("arm", "options", "line"),
    [
        ("prompt", {}, "You are bold."),
        ("prompt", {"line": "Sei kühn."}, "Sei kühn."),
        ("prompt-paper", {}, "You are a person with the bold personality."),
    ],
)
def test_a_line_costs_its_bytes_and_stands_before_every_prompt(arm, options, line):
    ready = ARMS.get(arm).prepare(tiny_lab(options=options))
    assert ready.cost.bytes == len(line.encode())
    assert ready.cost.details == {"line": line}
    with ready.speaking() as speaker:
        for prompt in PROMPTS:
            assert speaker.rewritten(prompt) == (Message("system", line), *prompt)


def test_no_line_is_refused_and_an_error_where_it_is_prepared_all_the_same():
    lab = tiny_lab(contrast=tiny_contrast(line=None, description=" "))
    arm = ARMS.get("prompt")
    assert "bold has neither a system line nor a description" in arm.refuses(lab)
    with pytest.raises(DataError, match=r"give prompt\.line="):
        arm.prepare(lab)
    assert ARMS.get("prompt-paper").refuses(lab) is None


@pytest.mark.parametrize(("shots", "shown"), [(1, 1), (3, 3), (50, 8)])
def test_no_more_shots_than_there_are_examples(shots, shown):
    ready = ARMS.get("few-shot").prepare(tiny_lab(options={"shots": shots, "room": 8}))
    assert ready.cost.details == {"shots": shown, "room": 8}
    assert ready.cost.bytes > 0


def test_retrieval_keeps_all_examples(lab):
    ready = ARMS.get("retrieval").prepare(lab)
    target = lab.contrast.drawn(lab.examples, lab.seed)[0]
    assert ready.cost.bytes == text_bytes(target.examples)
    assert ready.cost.details == {"k": 3, "index": "bm25", "examples": lab.examples}


def test_a_mask_that_is_there_is_one_arm_and_not_registered(lab):
    mask = subnetwork(lab.model, share=0.2)
    arm = WornArm("my mask", mask)
    assert "my mask" not in ARMS
    assert (arm.learns, arm.kind, arm.refuses(lab)) == (False, "mask", None)
    ready = arm.prepare(lab)
    assert ready.subnetwork is mask
    assert ready.cost.details["pruned_share"] == mask.pruned_share
    assert ready.cost.details["pruned"] == mask.pruned


def test_a_clock_counts_from_when_it_was_made(monkeypatch):
    times = iter([10.0, 12.5, 20.0])
    monkeypatch.setattr("prosopon.arms.ready.time.perf_counter", lambda: next(times))
    clock = Clock()
    assert (clock.seconds(), clock.seconds()) == (2.5, 10.0)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 3))
def test_speeds_are_medians_and_a_rate_of_all_tokens(lengths, repeats):
    now = 0.0

    class Slow:
        """Takes a second a token; an answer is as long as its prompt says."""

        writes = True

        def write(self, prompts, *, temperature, max_new_tokens):
            nonlocal now
            assert (len(prompts), temperature) == (1, 0.0)
            words = min(int(prompts[0][0].content), max_new_tokens)
            now += words
            return ["w " * words]

    prompts = [(Message("user", str(length)),) for length in lengths]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("prosopon.arms.speed.time.perf_counter", lambda: now)
        speed = measure_speed(
            Slow(), lambda text, **_: {"input_ids": text.split()}, prompts, repeats=repeats
        )
    assert speed.first_token == 1
    assert speed.answer == statistics.median(lengths * repeats)
    assert speed.tokens_per_second == pytest.approx(1)
    assert speed.requests == repeats * len(lengths)


@pytest.mark.parametrize(("family", "turned"), [("llama", False), ("gpt2", True), ("opt", False)])
def test_layers_of_gpt2_are_turned_round(family, turned):
    assert _transposed(tiny_model(family)[0]) == turned


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=4), st.integers(1, 9), st.integers(1, 9))
def test_exchanged_sides_turn_a_difference_round(values, tokens, others):
    total = torch.tensor(values, dtype=torch.float64)
    ours, theirs = {0: Mean(total, tokens)}, {0: Mean(2 * total, others)}
    ahead, back = difference(ours, theirs)[0], difference(theirs, ours)[0]
    assert torch.equal(ahead, -back)
    assert torch.allclose(ahead.double(), total / tokens - 2 * total / others, atol=1e-5)
    assert torch.equal(difference(ours, ours)[0], torch.zeros_like(ahead))


def test_every_arm_says_whether_it_learns():
    known = {name: getattr(ARMS.get(name), "learns", True) for name in ARMS.names()}
    idle = {name for name, learns in known.items() if not learns}
    assert idle == {"base", "prompt", "prompt-paper", "shortest", "always-yes", "always-a"}
    assert dataclasses.is_dataclass(ARMS.get("shortest"))


@pytest.mark.parametrize("arm", ["lora", "weight-steering", "contrastive-lora"])
def test_adapters_say_how_many_texts_taught_them(arm):
    lab = tiny_lab(options={"steps": 3, "r": 1, "batch": 3, "max_loss": 0, "word_dropout": 0})
    lab.extractor.general()
    rows = []
    handle = lab.model.model.norm.register_full_backward_hook(
        lambda _module, _inputs, outputs: rows.append(len(outputs[0]))
    )
    details = ARMS.get(arm).prepare(lab).cost.details
    handle.remove()
    assert details["texts_backward"] == sum(rows) > 0
