"""The parts of arms that need no model, against slow oracles."""

import dataclasses
import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prosopon.arms import ARMS, Cost, Lab
from prosopon.arms.adapter import WARM_UP, _order, _share
from prosopon.arms.base import ArmRegistry
from prosopon.arms.masks import mask_options, settings_of
from prosopon.arms.options import parse_arm_options
from prosopon.arms.prompt import good_line, plain_line
from prosopon.arms.retrieval import Nearest, WordIndex, search_text
from prosopon.arms.rules import always_a, always_yes, shortest
from prosopon.arms.speed import Speed
from prosopon.arms.steering import LAYERS, SteeringTrial, candidates, pick
from prosopon.arms.turns import put_before, show_before, text_bytes, with_system
from prosopon.criteria import CRITERIA
from prosopon.data import Example, Message
from prosopon.errors import OptionError, UnknownNameError
from tests.arms.samples import tiny_contrast

texts = st.text("aZé日 .", max_size=12).map(lambda text: f"x{text}y")
turns = st.builds(Message, st.sampled_from(["user", "assistant"]), texts)
questions = st.lists(turns, max_size=3).map(lambda rows: (*rows, Message("user", "And?")))
examples = st.builds(
    lambda question, answer: Example((Message("user", question), Message("assistant", answer))),
    texts, texts,
)  # fmt: skip


@given(questions, texts)
def test_a_system_line_goes_first_and_nothing_else_moves(prompt, line):
    first, *rest = put_before(prompt, line)
    assert first == Message("system", line)
    assert tuple(rest) == prompt
    assert with_system(prompt, None) == prompt


@given(questions, texts, texts)
def test_a_second_line_goes_before_the_first_in_one_turn(prompt, one, other):
    twice = put_before(put_before(prompt, one), other)
    assert twice == put_before(prompt, f"{other}\n{one}")
    assert [turn.role for turn in twice].count("system") == 1


@given(questions, st.lists(examples, max_size=4))
def test_examples_stand_before_a_question_in_their_order(prompt, shown):
    before = [turn for example in shown for turn in example.messages]
    assert show_before(prompt, shown) == (*before, *prompt)


@given(st.lists(examples, max_size=4))
def test_bytes_add_up(rows):
    assert text_bytes(rows) == sum(
        len(turn.content.encode("utf-8")) for row in rows for turn in row.messages
    )
    assert text_bytes(rows + rows) == 2 * text_bytes(rows)


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 5))
def test_every_text_is_learned_once_a_round(count, batch, seed):
    steps = math.ceil(count / batch)
    order = _order(count, batch, seed)
    for _ in range(2):
        groups = list(itertools.islice(order, steps))
        assert sorted(itertools.chain.from_iterable(groups)) == list(range(count))
        assert [len(group) for group in groups[:-1]] == [batch] * (steps - 1)
    again = _order(count, batch, seed)
    assert next(again) == next(_order(count, batch, seed))


@given(st.integers(1, 400))
def test_a_learning_rate_rises_then_falls_and_is_never_nothing(steps):
    shares = [_share(step, steps) for step in range(steps)]
    assert all(0 < share <= 1 for share in shares)
    warm = max(1, round(WARM_UP * steps))
    assert shares[: warm - 1] == sorted(shares[: warm - 1])
    assert shares[warm:] == sorted(shares[warm:], reverse=True)
    assert max(shares) == shares[warm - 1] == 1


@given(st.integers(1, 200))
def test_layers_that_are_tried_are_few_and_in_the_middle(layers):
    tried = candidates(layers)
    assert 1 <= len(tried) <= LAYERS
    assert tried == sorted(set(tried))
    assert 0 <= tried[0] <= tried[-1] < layers
    if layers > LAYERS:
        assert tried[0] >= layers // 5
        assert tried[-1] <= 4 * layers // 5


trials = st.lists(
    st.builds(
        SteeringTrial, st.integers(0, 3), st.just(1.0), st.floats(-1, 1), st.floats(-0.1, 0.3)
    ),
    min_size=1,
)


@given(trials, st.floats(0, 0.2))
def test_no_trial_is_better_than_the_one_that_is_picked(rows, tolerance):
    best = pick(rows, tolerance)
    harmless = [trial for trial in rows if trial.general_rise <= tolerance]
    assert best in rows
    if harmless:
        assert best.general_rise <= tolerance
        assert best.margin == max(trial.margin for trial in harmless)
    else:
        assert best.general_rise == min(trial.general_rise for trial in rows)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(), min_size=1, max_size=5), st.randoms())
def test_a_rule_does_not_look_at_the_place_of_an_option(options, rng):
    order = rng.sample(range(len(options)), len(options))
    for rule in (shortest, always_yes, always_a):
        scores = rule(options)
        assert set(scores) <= {0.0, 1.0}
        assert rule([options[i] for i in order]) == [scores[i] for i in order]


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_the_shortest_is_the_one_with_the_fewest_letters(options):
    lengths = [len(option.strip()) for option in options]
    assert shortest(options) == [float(length == min(lengths)) for length in lengths]


class Given:
    """An index whose scores are known."""

    def __init__(self, scores):
        self._scores = np.array(scores, dtype=float)

    def scores(self, query):
        return self._scores


@given(st.lists(st.floats(-2, 2), min_size=1, max_size=8), st.integers(1, 9))
def test_the_nearest_are_those_with_the_highest_scores_the_nearest_last(scores, count):
    rows = [Example((Message("assistant", str(n)),)) for n in range(len(scores))]
    chosen = [int(e.response) for e in Nearest(rows, Given(scores), count)(())]
    ranked = sorted(range(len(scores)), key=lambda n: (-scores[n], n))
    assert chosen == [n for n in ranked[:count] if scores[n] > 0][::-1]


@pytest.mark.parametrize("query", ["", "the", "zebra"])
def test_words_that_no_text_has_are_near_to_nothing(query):
    index = WordIndex(["red apples", "green pears", "the"])
    assert index.scores(query).tolist() == [0, 0, 0]
    assert WordIndex(["the", "a"]).scores("apples").tolist() == [0, 0]


def test_a_word_is_nearer_the_rarer_it_is():
    index = WordIndex(["red apples", "red pears", "red plums"])
    scores = index.scores("red pears")
    assert scores.argmax() == 1
    assert scores[0] == scores[2]
    assert scores[1] > 2 * scores[0] > 0


def test_an_example_is_searched_by_its_question():
    question, answer = Message("user", "Tea?"), Message("assistant", "Yes")
    assert search_text(Example((question, answer))) == "Tea?"
    assert search_text(Example((answer,))) == "Yes"


@pytest.mark.parametrize(
    ("line", "description", "words"),
    [
        ("You are bold.", "Calm.", "You are bold."),
        (None, "A sailor who fears no storm.", "you say: A sailor who fears no storm. Think"),
        ("", "  A sailor..", "say: A sailor. Think"),
        (None, "   ", None),
        (None, "", None),
    ],
)  # fmt: skip
def test_a_line_is_the_contrast_s_or_made_of_its_description(line, description, words):
    made = good_line(tiny_contrast(2, line=line, description=description))
    assert made is None if words is None else words in made


@pytest.mark.parametrize("name", ["wealth-seeking", "wealth_seeking"])
def test_a_plain_line_has_no_marks_of_a_name(name):
    assert plain_line(name) == "You are a person with the wealth seeking personality."


def test_a_registry_follows_names_as_they_come():
    registry, names = ArmRegistry(), ["wanda"]
    registry.follow(lambda: names, ARMS.get)
    assert registry.names() == ["wanda"]
    names.append("random")
    assert len(registry) == 2
    assert "random" in registry
    assert [name for name, _ in registry.items()] == ["random", "wanda"]
    assert registry.get("wanda") is ARMS.get("wanda")
    with pytest.raises(UnknownNameError, match="unknown arm 'wandb'"):
        registry.get("wandb")


def test_an_arm_of_its_own_is_not_written_over():
    registry = ArmRegistry()
    registry.add("wanda", ARMS.get("wanda"))
    registry.follow(lambda: ["wanda"], lambda name: pytest.fail("made again"))
    assert registry.names() == ["wanda"]


@pytest.mark.parametrize("part", ["prepare", "refuses", "options", "kind"])
def test_what_is_no_arm_says_what_it_lacks(part):
    parts = {"name": "x", "kind": "base", "options": int, "refuses": None, "prepare": None}
    del parts[part]
    with pytest.raises(OptionError, match=part):
        ArmRegistry().add("x", type("Odd", (), parts)())


@pytest.mark.parametrize("name", ARMS.names())
def test_every_arm_has_a_line_of_help_and_options_that_parse(name):
    arm = ARMS.get(name)
    assert re.fullmatch(r"\S.*[^.\s]", arm.summary)
    values = dataclasses.asdict(arm.parse({}))
    assert dataclasses.asdict(arm.parse(values)) == values
    with pytest.raises(OptionError, match="no option 'nonsense'"):
        arm.parse({"nonsense": 1})


@pytest.mark.parametrize(
    ("sparsity", "pattern", "expected"),
    [
        ("default", "default", (None, None)), ("auto", "row", ("auto", "row")),
        ("0.25", "2:4", (0.25, "2:4")), (0.5, "default", (0.5, None)),
    ],
)  # fmt: skip
def test_settings_of_a_mask_are_its_own_and_its_criterion_s(sparsity, pattern, expected):
    criterion = CRITERIA.get("contrastive-wanda")
    arm = ARMS.get("contrastive-wanda")
    parsed = arm.parse({"sparsity": sparsity, "pattern": pattern, "variant": "reference"})
    settings = settings_of(parsed, criterion)
    assert (settings.sparsity, settings.pattern) == expected
    assert settings.options["variant"] == "reference"
    assert set(settings.options) == {f.name for f in dataclasses.fields(criterion.options)}


def test_options_of_a_mask_name_their_criterion_where_it_can_be_chosen():
    criterion = CRITERIA.get("wanda")
    assert "criterion" not in {f.name for f in dataclasses.fields(mask_options(criterion))}
    chosen = mask_options(criterion, "auto", chosen="wanda")()
    assert (chosen.criterion, chosen.sparsity, chosen.pattern) == ("wanda", "auto", "default")


@pytest.mark.parametrize("text", ["", "lora", "lora=2", ".r=2", "lora.=2", "lora.r"])
def test_an_option_of_another_form_says_how_to_write_it(text):
    with pytest.raises(OptionError, match=r"write it as arm\.key=value"):
        parse_arm_options([text])


def test_options_are_gathered_by_arm():
    assert parse_arm_options([]) == {}
    assert parse_arm_options(["few-shot.shots=2", "LoRA.r=4", "few-shot.room=9"]) == {
        "few-shot": {"shots": "2", "room": "9"},
        "lora": {"r": "4"},
    }
    with pytest.raises(OptionError, match=r"'few-shot.room' is given twice"):
        parse_arm_options(["few-shot.room=1", "few-shot.room=1"])


@pytest.mark.parametrize(
    ("arm", "option", "words"),
    [
        ("few-shot", "shots", "must be at least 1"), ("few-shot", "room", "must be at least 1"),
        ("retrieval", "k", "must be at least 1"), ("lora", "r", "must be at least 1"),
        ("lora", "epochs", "must be at least 1"), ("lora", "batch", "must be at least 1"),
        ("lora", "alpha", "must be above 0"), ("lora", "lr", "must be above 0"),
    ],
)  # fmt: skip
def test_nothing_is_too_little(arm, option, words):
    with pytest.raises(OptionError, match=rf"option {option}=0.*: {words}"):
        ARMS.get(arm).parse({option: "0"})


@pytest.mark.parametrize(
    ("arm", "values", "words"),
    [
        ("lora", {"steps": "-1"}, "steps=-1: must not be negative"),
        ("lora", {"word_dropout": "1.5"}, "must be a share from 0 to 1"),
        ("steering", {"layer": "-1"}, "option layer=-1: below 0"),
        ("steering", {"tolerance": "-0.1"}, "must not be negative"),
        ("wanda-general", {"sparsity": "auto"}, "has no sparsity 'auto': give a number"),
        ("opposite", {"criterion": "wand"}, "Did you mean 'wanda'"),
        ("retrieval", {"index": "magic"}, "bm25"),
    ],
)
def test_a_bad_option_is_refused_before_any_work(arm, values, words):
    with pytest.raises((OptionError, UnknownNameError), match=words):
        ARMS.get(arm).parse(values)


def test_costs_and_speeds_are_values():
    assert Cost() == Cost(0.0, 0, {})
    assert Speed(1.0, 2.0, 3.0, 4) == Speed(1.0, 2.0, 3.0, 4)
    names = [field.name for field in dataclasses.fields(Lab)]
    assert names == ["extractor", "contrast", "examples", "seed", "options"]
