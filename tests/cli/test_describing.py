"""``prosopon extract --describe``: from a sentence to a mask, the examples on the way."""

import json

import pytest

from prosopon.cli.describing import Words
from prosopon.errors import OptionError
from prosopon.subnetwork import Subnetwork
from tests.description.conftest import asked

DESCRIBED = ("extract", "--describe", "an extravert", "--versus", "an introvert", "-n", "8")


@pytest.fixture
def bank(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(f"[questions]\nopen = {json.dumps(asked(14))}\n")
    return path


def test_a_sentence_becomes_a_mask_and_examples_that_are_given_back(prosopon, bank, tmp_path):
    (tmp_path / "general.txt").write_text("\n".join(f"Chapter {n} is long." for n in range(8)))
    how = ("--option", "rounds=1", "--option", "prompt_weight=2", "--general", "general.txt")
    how += ("--option", "word_dropout=0", "--json")
    done = prosopon(*DESCRIBED, "--questions", bank, "--save", "examples.jsonl", *how)
    result = json.loads(done.stdout)
    assert result["folder"] == "personas/extravert-contrastive-taylor"
    assert (result["persona"], result["opposite"]) == ("extravert", "introvert")
    assert "answers are kept in examples.jsonl.answers" in done.stderr
    assert "answers are likelier after their own description, by" in done.stderr
    assert "pairs kept; left out:" in done.stderr
    assert "read 8 examples of extravert and 8 examples of introvert" in done.stderr
    assert not (tmp_path / "examples.jsonl.answers").exists()
    mask = Subnetwork.from_pretrained(tmp_path / result["folder"])
    origin = mask.config.calibration.origin
    assert origin == result["origin"]
    assert (origin["description"], origin["versus"]) == ("an extravert", "an introvert")
    assert len(origin["lines"]) == len(origin["versus_lines"]) == 5
    assert origin["pairs_written"] >= 8 + sum(origin["left_out"].values())
    # The first wording teaches, where no other prompt is given.
    assert mask.config.options["prompt_line"] == origin["lines"][0] == "You are an extravert."
    shown = prosopon("inspect", "extravert").stdout
    assert "an extravert, versus an introvert" in shown
    assert "the model itself: 8 of" in shown
    # The very same mask comes of the examples, and a second run does not write over mended ones.
    again = prosopon(
        "extract", "-t", "examples.jsonl", "-o", "again", *how,
        "--option", "prompt_line=You are an extravert.",
    )  # fmt: skip
    assert json.loads(again.stdout)["pruned"] == result["pruned"]
    same = Subnetwork.from_pretrained(tmp_path / "again")
    assert all((mask.keep[name] == same.keep[name]).all() for name in mask.keep)
    assert same.config.calibration.origin is None
    refused = prosopon(*DESCRIBED, "--save", "examples.jsonl", "-o", "new", code=2)
    assert "examples.jsonl: is there already: give it to --target, or --force" in refused.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({}, "extract needs a persona: --target with a name or a file of examples, or --describe"),
        ({"versus": "a fool"}, "--versus has no meaning without --describe"),
        ({"writer": ("http://a", "b")}, "--writer has no meaning without --describe"),
        ({"questions": "a"}, "--questions has no meaning without --describe"),
        ({"save": "a"}, "--save has no meaning without --describe"),
        ({"describe": "", "versus": "a fool"}, "say in words who is meant"),
        ({"describe": "a fool", "versus": " "}, "say in words who is meant"),
        ({"describe": "a fool", "versus": "A  fool."}, "both descriptions say the same"),
    ],
)
def test_refusals(words, message):
    with pytest.raises(OptionError, match=message):
        Words(**words).check(None, None, sequential=False)


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        (("bold", None, False), "--target and --describe: give one of them"),
        (
            (None, "bold", False),
            "--opposite and --describe: .* --versus takes words",
        ),
        ((None, None, True), "--describe needs the whole model, to write with it"),
    ],
)
def test_what_does_not_go_with_a_description(rest, message):
    with pytest.raises(OptionError, match=message):
        Words("a fool").check(*rest)


def test_with_examples_nothing_is_asked_of_the_words():
    Words().check("bold", "cautious", sequential=True)


def test_the_place_of_answers_is_beside_what_they_are_for(tmp_path):
    folder = tmp_path / "personas" / "fool-contrastive-kl"
    assert Words("a fool").answers(folder).name == "fool-contrastive-kl.answers"
    assert Words("a fool", save=tmp_path / "x.jsonl").answers(folder).name == "x.jsonl.answers"


def test_what_is_wrong_with_other_options_is_said_before_anything_is_written(prosopon):
    done = prosopon(*DESCRIBED, "--general", "nowhere.txt", code=2)
    assert "no such file: 'nowhere.txt'" in done.stderr
    assert "answers are kept" not in done.stderr


def test_examples_that_are_there_are_not_written_over(tmp_path):
    """Unless the answers beside them say that the run goes on, or --force is given."""
    words = Words("a fool", save=tmp_path / "mine.jsonl")
    (tmp_path / "mine.jsonl").write_text("{}\n")
    settings = {"count": 8, "seed": 0, "report": lambda *_: None}
    with pytest.raises(OptionError, match=r"mine\.jsonl: is there already: give it to --target"):
        words.write(None, tmp_path / "folder", force=False, **settings)
    assert (tmp_path / "mine.jsonl").read_text() == "{}\n"


def test_what_describe_refuses_reaches_the_command_line(prosopon):
    fool = ("extract", "--describe", "a fool")
    done = prosopon(*fool, "--writer", "localhost", "large", code=2)
    assert "writer's address 'localhost': it begins with http:// or https://" in done.stderr
    done = prosopon(*fool, "-n", "4", code=2)
    assert "4 pairs are too few for a mask: ask for at least 8" in done.stderr
    done = prosopon(*fool, "--option", "prompt_weight=-1", code=2)
    assert "option prompt_weight=-1.0: must not be negative" in done.stderr
    done = prosopon(*fool, "--questions", "nowhere", code=2)
    assert "unknown bank of questions 'nowhere'" in done.stderr
    done = prosopon("extract", code=2)
    assert "extract needs a persona: --target with a name or a file" in done.stderr
