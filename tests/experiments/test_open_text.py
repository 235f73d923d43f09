"""What is asked freely, by whom it is judged, and what the judges say of texts of nobody."""

import dataclasses

import pytest

from prosopon.data import Message, Persona, load_bank
from prosopon.data.contrast import bundled_contrast, file_contrast
from prosopon.errors import UnknownNameError
from prosopon.experiments import Plan, Sizes, assemble
from prosopon.experiments.judge_lines import describe_judges, describe_questions
from prosopon.experiments.open_text import (
    CHECKED,
    OpenText,
    choose_bank,
    make_reader,
    other_persona,
    shuffle_words,
)
from prosopon.judges import judges_of
from prosopon.models import LoadedModel
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def contrast():
    """Bundled answers as any file would hold them, so that a classifier has to judge."""
    bold = bundled_contrast("bold", questions=20, judge=60)
    sides = [
        Persona(side.name, tuple(dataclasses.replace(e, alternative=None) for e in side.examples))
        for side in bold.calibration
    ]
    rows = [tuple(e for e in side.examples[:240]) for side in sides]
    target, opposite = (
        Persona(side.name, tuple(_numbered(e, i) for i, e in enumerate(own)))
        for side, own in zip(sides, rows, strict=True)
    )
    return file_contrast(target, opposite, questions=16, judge=60)


def _numbered(example, number):
    """The grammar asks few different questions; a number makes each its own."""
    asked = Message("user", f"{example.prompt[-1].content} ({number})")
    return dataclasses.replace(example, messages=(asked, *example.messages[-1:]))


@pytest.fixture(scope="module")
def wrecked(loaded, contrast):
    """Records of the base, of masks that leave nothing of the model, and of a light one."""
    sizes = Sizes(questions=12, max_new_tokens=24, general=12, speed=0)
    plan = Plan(
        ("bold",), ("base", "contrastive-wanda", "random"), ("free-text", "perplexity"), (12,),
        (0,), sizes,
        {"contrastive-wanda": ({"sparsity": "0.9"},), "random": ({"sparsity": "0.6"},)},
        controls=False,
    )  # fmt: skip
    runner = assemble(loaded, plan, {"bold": contrast})
    return {record.cell.arm: record for record in runner.run()}


def mean(record, measure, task="free-text"):
    values = [o.values[measure] for o in record.results[task].outcomes if measure in o.values]
    return sum(values) / len(values)


@pytest.mark.parametrize("arm", ["contrastive-wanda", "random"])
def test_a_wrecked_model_is_nobody(wrecked, arm):
    """The judges of the command; perplexity far beyond three times the base's."""
    broken, base = wrecked[arm], wrecked["base"]
    harm = mean(broken, "nats", "perplexity") / mean(broken, "tokens", "perplexity")
    harm -= mean(base, "nats", "perplexity") / mean(base, "tokens", "perplexity")
    assert harm > 1.1  # nats: exp(1.1) is 3
    assert mean(broken, "target") <= 0.1
    assert mean(broken, "opposite") <= 0.1
    checks = wrecked["base"].results["free-text"].notes["judge-checks"]["words"]
    assert checks["held-out"]["neither"] < mean(broken, "neither")  # who is somebody is seen


def test_the_notes_say_what_can_tell_and_whom_the_judge_finds_where_nobody_is(wrecked, contrast):
    (line,) = describe_questions(list(wrecked.values()))
    total = len(contrast.items())
    assert line.startswith("bold: ")
    assert line.endswith(f" of {total} held-out questions can tell")
    assert int(line.split()[1]) >= 0.8 * total
    notes = wrecked["base"].results["free-text"].notes
    assert list(notes["judges"]) == list(notes["judge-checks"]) == ["words", "three-way"]
    checks = notes["judge-checks"]["words"]
    assert set(checks) == {"held-out", "another persona", "neutral", "word salad"}
    assert checks["held-out"]["n"] == 2 * total
    assert checks["held-out"]["low"] <= checks["held-out"]["right"] <= checks["held-out"]["high"]
    assert checks["word salad"]["neither"] >= 0.9
    for kind in ("another persona", "neutral", "word salad"):
        shares = [checks[kind][v] for v in ("neither", "target", "opposite")]
        assert sum(shares) == pytest.approx(1)
    lines = describe_judges(list(wrecked.values()))
    lines = [line for line in lines if "do not take" not in line]
    texts = [f"{checks[kind]['n']} texts of nobody ({kind})" for kind in checks]
    one = ["", f" on {2 * total} held-out answers", *(f" on {kind}" for kind in texts[1:])]
    heads = [f"{judge}{end}" for judge in ("words", "three-way") for end in one]
    assert [line.partition(":")[0] for line in lines[:-1]] == heads
    assert lines[-1].startswith("words and three-way agree beyond chance")


def test_the_bases_recital_of_what_the_arm_learned_stands_beside(wrecked):
    for record in wrecked.values():
        for outcome in record.results["free-text"].outcomes:
            assert outcome.values["base-recital"] in (0, 1)
    rates = {mean(record, "base-recital") for record in wrecked.values()}
    assert len(rates) == 1  # the same answers, the same twelve examples


def test_own_questions_and_the_banks_take_turns(loaded, contrast):
    bank = load_bank("risk")
    judges = judges_of(contrast)
    open_text = OpenText(contrast, judges, None, bank)
    told = open_text.prompts
    asked = [prompt[-1].content for _, prompt in told]
    assert [text in bank.questions for text in asked[:4]] == [False, True, False, True]
    assert len(told) == len(asked) == len(set(asked))
    assert set(bank.questions) <= set(asked)
    assert "and 62 open ones of the bank risk are asked besides" in open_text.notes["questions"]
    alone = OpenText(contrast, judges).prompts
    assert [prompt for prompt in told if prompt in alone] == alone


def test_the_bank_is_for_chat_models_that_read_it(loaded, contrast):
    assert choose_bank(loaded, contrast, None) is None  # the embedded model does not
    assert choose_bank(loaded, contrast, "energy").name == "energy"
    assert choose_bank(loaded, contrast, "None") is None
    with pytest.raises(UnknownNameError, match=r"courage.*risk"):
        choose_bank(loaded, contrast, "courage")
    model, tokenizer = tiny_model("llama")
    assert choose_bank(LoadedModel(model, tokenizer, "tiny"), contrast, None) is None


def test_strangers_are_of_no_axis_of_the_contrast(contrast):
    texts = other_persona(contrast, None)
    assert len(texts) == CHECKED
    own = {e.response for side in contrast.calibration for e in side.examples}
    assert not own & set(texts)
    assert other_persona(contrast, load_bank("energy")) != texts


def test_shuffled_words_are_the_same_words():
    text = "one two three four five six"
    assert sorted(shuffle_words(text).split()) == sorted(text.split())
    assert shuffle_words(text) == shuffle_words(text) != text


def test_the_embedded_models_neutral_texts_are_its_skills(loaded):
    made = make_reader(loaded, bundled_contrast("bold", questions=4), list, 24)
    assert len(made.neutral) >= 50
    assert all(made.neutral)
