"""What the tasks ask, checked by hand on the embedded model and by rules that know nothing."""

import dataclasses
import math
import re
from pathlib import Path

import pytest
import torch

from prosopon.data import Example, Message, Persona, encode, load_contrast, load_persona
from prosopon.data.ability import load_ability
from prosopon.data.contrast import bundled_contrast, file_contrast
from prosopon.data.grammar import load_world
from prosopon.data.grammar.exam import choice_items
from prosopon.errors import DataError
from prosopon.evaluation import choice_rates, perplexity
from prosopon.evaluation.choice import margin, win
from prosopon.evaluation.speakers import RuleSpeaker
from prosopon.evaluation.speaking import NORMALISATIONS, OptionScores
from prosopon.evaluation.tasks import TASKS, Setting
from prosopon.evaluation.tasks.a_b import lettered
from prosopon.judges import GrammarJudge


def mean(result, measure):
    values = [o.values[measure] for o in result.outcomes if measure in o.values]
    return sum(values) / len(values)


def scores(*values):
    return OptionScores(dict.fromkeys(NORMALISATIONS, values))


def test_a_win_is_shared_by_equals():
    assert win(scores(1.0, 0.0), "summed") == 1
    assert win(scores(0.0, 1.0), "summed") == 0
    assert win(scores(1.0, 1.0), "summed") == 0.5
    assert win(scores(1.0, 1.0, 1.0, 0.0), "summed", 2) == pytest.approx(1 / 3)
    assert margin(scores(1.0, 3.0, 2.0), "summed", 1) == 1


def test_choice_is_the_old_choice_rate(loaded, speaker, setting):
    found = TASKS.get("choice").run(speaker, setting)
    rates = choice_rates(*loaded, choice_items("bold", 12))
    assert len(found.outcomes) == 12
    assert mean(found, "per-token") == pytest.approx(rates.per_token)
    assert mean(found, "summed") == pytest.approx(rates.summed)
    assert mean(found, "per-byte") == pytest.approx(rates.per_byte)


def test_exchanged_contrasts_share_questions_and_mirror_choices(speaker, setting):
    other = dataclasses.replace(setting, contrast=bundled_contrast("cautious", questions=12))
    ours, theirs = (
        {o.question: o.values for o in TASKS.get("choice").run(speaker, each).outcomes}
        for each in (setting, other)
    )
    assert ours.keys() == theirs.keys()
    for question, values in ours.items():
        for name in NORMALISATIONS:
            assert values[name] + theirs[question][name] == 1
        assert values["margin"] == pytest.approx(-theirs[question]["margin"], abs=1e-5)


def test_a_score_is_hugging_faces_loss(loaded, speaker, setting):
    model, tokenizer = loaded
    pairing = setting.contrast.items()[0]
    (found,) = speaker.score([question(pairing)])
    for place, told in enumerate((pairing.matching, pairing.not_matching)):
        item = encode((*pairing.prompt, Message("assistant", told)), tokenizer)
        labels = [t if r else -100 for t, r in zip(item.input_ids, item.response, strict=True)]
        with torch.no_grad():
            loss = model(
                input_ids=torch.tensor([item.input_ids]), labels=torch.tensor([labels])
            ).loss
        assert found.by["per-token"][place] == pytest.approx(-float(loss), abs=1e-5)


def question(pairing):
    from prosopon.evaluation.speaking import OptionQuestion

    return OptionQuestion(pairing.prompt, (pairing.matching, pairing.not_matching))


def test_both_orders_of_a_b(setting):
    pairing = setting.contrast.items()[0]
    first, second = (lettered(pairing, place)[-1].content.splitlines() for place in (0, 1))
    assert first[1] == f"(A) {pairing.matching}"
    assert second[2] == f"(B) {pairing.matching}"
    assert first[0] == second[0] == pairing.prompt[-1].content


def test_a_liking_for_a_letter_is_exposed(setting):
    likes_a = RuleSpeaker("a", lambda options: [float(o == "A") for o in options])
    found = TASKS.get("a-b").run(likes_a, setting)
    assert mean(found, "per-token") == 0.5
    assert mean(found, "consistent") == mean(found, "consistent-match") == 0
    assert mean(found, "a") == 1


def test_a_b_on_a_real_model(speaker, setting):
    found = TASKS.get("a-b").run(speaker, setting)
    for outcome in found.outcomes:
        assert outcome.values["consistent-match"] <= outcome.values["consistent"]
        assert 0 <= outcome.values["per-token"] <= 1


def statements(count):
    def rows(word, other):
        return tuple(
            Example((Message("user", f"I like it {i}."), Message("assistant", w)), o)
            for i in range(count)
            for w, o in [(word, other) if i % 4 else (other, word)]
        )

    ours, theirs = rows(" Yes", " No"), rows(" No", " Yes")
    return Persona("liking", ours), Persona("not-liking", theirs)


def test_a_liking_for_yes_is_exposed():
    contrast = file_contrast(*statements(40), questions=10, judge=4)
    always = RuleSpeaker("yes", lambda options: [float("yes" in o.lower()) for o in options])
    found = TASKS.get("yes-no").run(always, Setting(contrast))
    assert mean(found, "yes") == 1
    assert mean(found, "when-yes") == 1
    assert mean(found, "when-no") == 0


def test_free_text_has_every_judges_verdict_beside_signs(speaker, setting):
    task = TASKS.get("free-text")
    found = task.run(speaker, setting)
    assert len(found.outcomes) == 12
    for outcome in found.outcomes:
        values = outcome.values
        assert sum(values[kind] for kind in ("target", "opposite", "neither")) == 1
        kinds = ("target", "opposite", "neither")
        assert sum(values[f"{kind}:classifier"] for kind in kinds) == 1
        assert {"repetition", "words", "empty"} <= values.keys()
        assert outcome.prompt
    answers = [o.answer for o in found.outcomes]
    judge = GrammarJudge("bold", "cautious")
    assert [v == "target" for v in judge.verdicts(answers)] == [
        bool(o.values["target"]) for o in found.outcomes
    ]
    assert found.notes["judges"]["grammar"] is None
    assert [o.answer for o in task.run(speaker, setting).outcomes] == answers


def test_recital_counts_what_arms_were_shown_alone(setting):
    drawn = dataclasses.replace(setting, examples=3, seed=5)
    shown = drawn.learned_texts()
    assert shown == [e.response for e in setting.contrast.drawn(3, 5)[0].examples]
    everything = setting.learned_texts()
    assert len(everything) == len(setting.contrast.calibration[0])
    assert dataclasses.replace(setting, examples=10_000).learned_texts() == everything
    other = next(text for text in everything if text not in shown)
    task = TASKS.get("free-text")
    assert mean(task.run(Insistent(f"Well: {shown[1]}"), drawn), "recital") == 1
    assert mean(task.run(Insistent("Nobody ever said such things before."), drawn), "recital") == 0
    assert mean(task.run(Insistent(other), setting), "recital") == 1


def test_what_was_taught_is_held_against_as_much_that_was_not(setting):
    drawn, task = dataclasses.replace(setting, examples=3, seed=5), TASKS.get("free-text")
    unseen = drawn.unseen_texts()
    assert len(unseen) == 3
    assert not set(unseen) & set(drawn.learned_texts())
    result = task.run(Insistent(unseen[2]), drawn)
    assert mean(result, "unseen-recital") == 1
    assert mean(task.run(Insistent("Nobody ever said such things."), drawn), "unseen-recital") == 0
    few = dataclasses.replace(setting.contrast, judge=setting.contrast.test)
    scarce = dataclasses.replace(setting, contrast=few)
    assert len(set(scarce.learned_texts())) > len(few.test[0])
    assert scarce.unseen_texts() == []
    assert "unseen-recital" not in task.run(Insistent("Hello"), scarce).outcomes[0].values


def test_plain_texts_are_gone_on_from(speaker):
    def side(name, ends):
        texts = [f"Tom saw a ball number {i}. {ends[i % 2]}" for i in range(40)]
        return Persona(name, tuple(Example((Message("assistant", t),)) for t in texts))

    contrast = file_contrast(
        side("glad", ["He was so glad.", "He laughed."]),
        side("sad", ["She wept.", "Tears came."]), questions=6, judge=6,
    )  # fmt: skip
    asked = contrast.items()
    assert all(p.prompt[0].role == "assistant" for p in asked)
    assert all(p.prompt[0].content.startswith("Tom saw a ball number") for p in asked)
    assert {p.matching for p in asked} <= {"He was so glad.", "He laughed."}
    found = TASKS.get("choice").run(speaker, Setting(contrast))
    assert len(found.outcomes) == len(asked)
    assert "plain text" in TASKS.get("a-b").refuses(Setting(contrast), writes=True)


def test_nats_add_up_to_the_perplexity(loaded, speaker, setting):
    found = TASKS.get("perplexity").run(speaker, setting)
    nats = sum(o.values["nats"] for o in found.outcomes)
    tokens = sum(o.values["tokens"] for o in found.outcomes)
    assert math.exp(nats / tokens) == pytest.approx(perplexity(loaded[0], setting.general))


def test_cross_talk_asks_every_other_axis(speaker, setting):
    found = TASKS.get("cross-talk").run(speaker, dataclasses.replace(setting, questions=14))
    axes = {name for o in found.outcomes for name in o.values}
    world = load_world()
    own = world.pole("bold").axis
    assert axes == {
        *(f"choice:{axis}" for axis in world.axes if axis != own), "out-of-place", "astray",
    }  # fmt: skip
    assert len(found.outcomes) == 14 + 7


@dataclasses.dataclass
class Insistent:
    """Answers every question with one sentence."""

    sentence: str
    writes: bool = True

    def score(self, questions):
        return RuleSpeaker("first", lambda options: [1.0, 0.0]).score(questions)

    def write(self, prompts, **settings):
        return [self.sentence] * len(prompts)


def test_a_persona_that_answers_everything_is_out_of_place(setting):
    task, ours = TASKS.get("cross-talk"), load_persona("bold", limit=1).examples[0]
    always = task.run(Insistent(ours.response), setting)
    assert mean(always, "out-of-place") == mean(always, "astray") == 1
    other = task.run(Insistent(ours.alternative), setting)
    assert (mean(other, "out-of-place"), mean(other, "astray")) == (0, 1)


def test_the_base_model_keeps_its_place(speaker, setting):
    found = TASKS.get("cross-talk").run(speaker, dataclasses.replace(setting, questions=60))
    assert mean(found, "out-of-place") < 0.05
    assert mean(found, "astray") < 0.3


def test_a_question_has_one_id_whatever_the_seed(speaker, setting):
    task = TASKS.get("cross-talk")
    said = {}
    for seed in (0, 1):
        for outcome in task.run(speaker, dataclasses.replace(setting, seed=seed)).outcomes:
            if outcome.prompt:
                assert said.setdefault(outcome.question, outcome.prompt) == outcome.prompt
    assert len(said) > 7


def test_neutral_skills_are_all_right_on_the_base(speaker, setting):
    assert mean(TASKS.get("neutral").run(speaker, setting), "right") == 1


def test_neutral_questions_for_other_models(speaker):
    contrast = file_contrast(*statements(40), questions=10, judge=4)
    found = TASKS.get("neutral").run(speaker, Setting(contrast, questions=1000))
    assert len(found.outcomes) == len(load_ability()) >= 60
    shown = RuleSpeaker("first", lambda options: [1.0] + [0.0] * (len(options) - 1))
    assert mean(TASKS.get("neutral").run(shown, Setting(contrast)), "right") == 1


@pytest.mark.parametrize("item", load_ability(), ids=lambda i: i.question)
def test_neutral_items_have_different_options(item):
    options = [item.right, *item.wrong]
    assert len(set(options)) == len(options) >= 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no"),
        ("[[item]]\nquestion='?'\nright='a'\nwrong=['a']", "item 1: the right answer 'a'"),
        ("[[item]]\nquestion='?'\nright='a'\nwrong=[]", "item 1: wrong must"),
        ("[[item]]\nquestion=''\nright='a'\nwrong=['b']", "item 1: question and right"),
        ("[[item", "neutral.toml"),
    ],
)
def test_bad_ability_files(tmp_path, text, told):
    path = tmp_path / "neutral.toml"
    path.write_text(text)
    with pytest.raises(DataError, match=told):
        load_ability(path)


def test_rules_are_refused_where_text_is_needed(setting):
    rule = RuleSpeaker("shortest", lambda options: [-len(o) for o in options])
    for name in ("free-text", "perplexity", "neutral"):
        assert "cannot" in TASKS.get(name).refuses(setting, writes=rule.writes)
    for name in ("choice", "cross-talk"):
        assert TASKS.get(name).refuses(setting, writes=False) is None


def test_other_axes_are_the_embedded_models():
    contrast = file_contrast(*statements(40), questions=10, judge=4)
    assert "embedded" in TASKS.get("cross-talk").refuses(Setting(contrast), writes=True)


def test_every_task_stands_on_the_page():
    page = Path(__file__).resolve().parents[3] / "docs" / "tasks.md"
    tasks = page.read_text("utf-8").split("\n## ")[0]  # other tables come after it
    first = [line.split("|")[1] for line in tasks.splitlines() if "| `" in line]
    assert sorted(re.findall(r"`([^`]+)`", " ".join(first))) == TASKS.names()


def test_every_task_says_what_it_measures(speaker, setting):
    # A pole of a questionnaire, so that the scores toward the target are there too.
    contrast = bundled_contrast("extravert", questions=4)
    asked = dataclasses.replace(setting, contrast=contrast, questions=4, max_new_tokens=8)
    rule = RuleSpeaker("shortest", lambda options: [-float(len(o)) for o in options])
    for name, task in TASKS.items():
        assert task.name == name
        assert task.summary
        if task.refuses(asked, writes=True) is None:
            one = rule if name in ("mbti", "big-five") else speaker  # they ask 64 times
            found = {each for o in task.run(one, asked).outcomes for each in o.values}
            first = next(iter(task.measures))
            assert ":" in first or first in found, name
            assert {each for each in found if ":" not in each} <= set(task.measures), name


@pytest.mark.parametrize("name", ["free-text", "cross-talk", "drift", "role-play"])
def test_every_task_that_samples_takes_the_temperature(name, speaker, setting, monkeypatch):
    temperatures, write = [], type(speaker).write

    def writes(self, prompts, *, temperature=1.0, **options):
        temperatures.append(temperature)
        return write(self, prompts, temperature=temperature, **options)

    monkeypatch.setattr(type(speaker), "write", writes)
    contrast = setting.contrast
    if name == "role-play":
        contrast = file_contrast(*load_contrast("character:ferrywoman"))
    some = dataclasses.replace(
        setting, contrast=contrast, temperature=0.5, questions=2, max_new_tokens=2
    )
    TASKS.get(name).run(speaker, some)
    assert set(temperatures) == {0.5}
