"""The embedded model writes the examples of a description; the line goes, faults are counted."""

import json
from collections import Counter

import pytest

import prosopon
from prosopon.data import load_contrast, load_persona
from prosopon.data.banks import load_bank
from prosopon.data.grammar import judge
from prosopon.description import calibration
from prosopon.description.answer_file import AnswerPair
from prosopon.description.calibration import _questions, without_repeats
from prosopon.description.sifting import FAULTS
from prosopon.description.writers import ModelWriter
from prosopon.errors import DataError, JudgeError, ModelError, OptionError, PersonaError
from prosopon.runtime import PersonaModel
from tests.description.conftest import WORDS, asked
from tests.runtime.samples import assert_bits, weights
from tests.serving import samples
from tests.tiny import tiny_model


def texts(result):
    return [(e.prompt[0].content, e.response, e.alternative) for e in result.target.examples]


def test_the_answers_are_each_sides_own(written):
    verdicts = [[judge(t, "extravert", "introvert") for t in row[1:]] for row in texts(written)]
    assert len(verdicts) >= 8
    assert sum(v == ["target", "opposite"] for v in verdicts) >= 0.8 * len(verdicts)


def test_no_line_is_left_and_every_question_was_asked(written):
    assert len(written.lines) == 5
    for example in written.target.examples:
        assert [turn.role for turn in example.messages] == ["user", "assistant"]
        assert example.prompt[0].content in asked()
        assert not any(line in example.response for line in written.lines)
    assert (written.target.name, written.opposite.name) == ("extravert", "introvert")
    swapped = [(e.prompt, e.alternative, e.response) for e in written.opposite.examples]
    assert swapped == [(e.prompt, e.response, e.alternative) for e in written.target.examples]


def test_pairs_that_stay_and_faults_add_up(written, answer_file):
    rows = [row for line in answer_file.read_text().splitlines()[1:] for row in json.loads(line)]
    assert written.written == len(rows) == 20
    assert len(written.target) + sum(written.faults.values()) == len(rows)
    counts = Counter(row["fault"] for row in rows)
    assert written.faults == {fault: counts[fault] for fault in FAULTS}
    good = [r["odds"] for r in rows if r["fault"] is None]
    assert min(map(min, good)) > 0
    assert min(map(sum, good)) > 2.0  # twice the margin
    unlikely = [r["odds"] for r in rows if r["fault"] == "likelihood"]
    assert all(min(odds) <= 0 or sum(odds) <= 2.0 for odds in unlikely)


def test_the_effect_is_that_of_all_answers_of_the_pilot(written, answer_file):
    rows = [row for line in answer_file.read_text().splitlines()[1:] for row in json.loads(line)]
    odds = [value for row in rows for value in row["odds"] or ()]
    assert written.effect.answers == len(odds) >= 2 * len(written.target)
    assert written.effect.moves
    assert written.effect.share.mean > 0.7


def test_the_origin_says_how_they_came_about(written):
    origin = json.loads(json.dumps(written.target.origin))
    assert (origin["description"], origin["versus"]) == WORDS
    assert origin["lines"] == list(written.lines)
    assert origin["writer"] == "the model itself"
    assert origin["left_out"] == written.faults
    assert origin["pairs_kept"] == len(written.target)
    assert written.target.with_examples(written.target.examples[:2]).origin == written.target.origin


def test_progress_reaches_its_end(steps, written):
    assert steps[0] == ("writing examples", 0, 20)
    assert steps[-1] == ("writing examples", 20, 20)
    assert [done for _, done, _ in steps] == sorted(done for _, done, _ in steps)


def test_saved_examples_are_read_as_any_others(written, tmp_path):
    written.save(tmp_path / "mine.jsonl")
    read = load_persona(tmp_path / "mine.jsonl")
    assert read.content_hash() == written.target.content_hash()
    assert len(load_contrast(tmp_path / "mine.jsonl")[1]) == len(written.opposite)


def test_an_interrupted_run_goes_on_to_the_same_examples(write, written, answer_file, tmp_path):
    path = tmp_path / "answers.jsonl"
    content = answer_file.read_bytes()
    path.write_bytes(content[: content.rstrip().rfind(b"\n") + 30])  # in its second batch
    assert texts(write(file=path)) == texts(written)
    assert path.read_bytes() == content


def test_a_finished_file_is_not_written_again(write, written, answer_file, monkeypatch):
    monkeypatch.setattr("prosopon.description.calibration.ModelWriter.write", None)
    again = write(file=answer_file)
    assert texts(again) == texts(written)
    assert again.effect == written.effect
    with pytest.raises(DataError, match=r"another run \(other lines, versus\)"):
        write(versus=None, file=answer_file)


def test_a_line_that_does_nothing_is_an_error_with_its_figures(write):
    with pytest.raises(ModelError, match=r"does not move this model: \d+% \[") as caught:
        write("a zebra", "a giraffe", questions=asked(8))
    assert "nats an answer" in str(caught.value)
    assert "--writer URL MODEL" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": " "}, "say in words who is meant"),
        ({"versus": ""}, "say in words who is meant"),
        ({"versus": "An  extravert."}, "both descriptions say the same"),
        ({"count": 7}, "7 pairs are too few for a mask: ask for at least 8"),
        ({"margin": -1.0}, "margin is at least 0"),
        ({"temperature": 0.0}, "temperature above 0"),
        ({"writer": ("localhost", "m")}, "writer's address 'localhost': it begins with http"),
        ({"writer": ("http://localhost", "")}, "a writer needs the name of its model"),
    ],
)
def test_what_is_refused_before_anything_is_read(write, change, message):
    with pytest.raises(OptionError, match=message):
        write(**change)


def test_no_questions_and_a_worn_persona_are_refused(write, embedded):
    with pytest.raises(DataError, match="there is no question to ask"):
        write(questions=[])
    wearer = PersonaModel(*embedded)
    name = wearer.load_persona(samples.mask(embedded[0], "bold"))
    with wearer.persona(name), pytest.raises(PersonaError):
        write()


def test_questions_take_turns_by_kind_and_suit_the_model(embedded):
    """The embedded model does not read English at large; a file's questions are taken as given."""
    own = _questions(*embedded, None, 0)
    kinds = [kind for kind, _ in own]
    assert len(set(kinds[:8])) == len(set(kinds)) == 8
    assert sorted(own) != own != _questions(*embedded, None, 1)
    everyday = _questions(*embedded, "everyday", 0)
    assert sorted(text for _, text in everyday) == sorted(load_bank("everyday").questions)
    turns = Counter(kind for kind, _ in everyday[:13])
    assert set(turns.values()) == {1}


def test_a_repeat_within_a_batch_is_marked_and_faults_are_left():
    ours = AnswerPair(0, 0, ("I go to the old mill now.", "I stay in my room all day."))
    other = AnswerPair(1, 0, ("We sing at the market place.", "I stay in my room all day!"))
    fault = AnswerPair(2, 0, ours.texts, "length")
    marked = without_repeats([fault, ours, other, ours])
    assert [pair.fault for pair in marked] == ["length", None, "duplicate", "duplicate"]


def test_the_public_name():
    assert prosopon.describe.__module__ == "prosopon.description.calibration"


def test_our_own_server_writes_the_answers(write, embedded):
    """Of another writer's answers nobody asks how likely the line makes them."""
    before = weights(embedded[0])
    with samples.running(PersonaModel(*embedded)) as live:
        one = write(count=8, questions=asked(14), writer=(f"{live.url}/v1", "tiny"))
    verdicts = [judge(row[1], "extravert", "introvert") for row in texts(one)]
    assert verdicts.count("target") > 0.7 * len(verdicts)
    assert one.effect is None
    assert one.faults["likelihood"] == 0
    assert one.target.origin["writer"] == f"tiny at {live.url}/v1"
    assert one.target.origin["margin"] is None
    assert len(one.report) == 1
    with pytest.raises(JudgeError, match="writer http"):
        write(count=8, writer=(f"{live.url}/v1", "tiny"))
    assert_bits(embedded[0], before)


def pair(place, fault=None, odds=(2.0, 2.0)):
    return AnswerPair(place, 0, (f"We dance {place} times.", f"I read {place} books."), fault, odds)


def scribe(tiny, versus="an introvert", count=40):
    """Return who writes with a random model; the kinds of questions take turns."""
    items = [("ab"[n % 2], f"Question {n}?") for n in range(count)]
    writer = ModelWriter(*tiny, temperature=1.0, max_new_tokens=4)
    sides = calibration._lines("an extravert", versus, True)
    return calibration._Scribe(*tiny, writer, sides, items, 1.0, 0)


@pytest.fixture(scope="module")
def tiny():
    return tiny_model("llama", chat=True)


def test_only_as_many_pairs_as_are_enough_and_no_bad_ones(tiny):
    pairs = [pair(0, "length"), *map(pair, range(1, 15)), pair(15, "refusal")]
    result = calibration._calibration_set(pairs, scribe(tiny), 10, ("x", "y"), "mine")
    assert [e.prompt[0].content for e in result.target.examples] == [
        f"Question {n}?" for n in range(1, 11)
    ]
    assert result.target.name == "mine"
    assert result.report[-1] == (
        "10 of 16 pairs kept; left out: 1 refusal, 1 length; 4 more than are needed"
    )


def test_too_few_pairs_are_an_error_that_says_what_was_wrong(tiny):
    pairs = [*map(pair, range(7)), pair(7, "refusal"), pair(8, "length"), pair(9, "length")]
    with pytest.raises(DataError, match="7 of 10 pairs of answers are left, too few") as caught:
        calibration._calibration_set(pairs, scribe(tiny), 10, ("x", "y"), "")
    assert "1 refusal (an answer that refuses" in str(caught.value)
    assert "2 length (one answer more than twice as long" in str(caught.value)
    assert "perplexity" not in str(caught.value)


def test_names_differ_and_the_base_is_called_base(tiny):
    pairs = list(map(pair, range(8)))
    one = calibration._calibration_set(pairs, scribe(tiny), 8, ("a curt expert", None), "")
    assert (one.target.name, one.opposite.name) == ("curt-expert", "base")
    assert one.target.origin["versus_lines"]
    alone = calibration._calibration_set(pairs, scribe(tiny, None), 8, ("a curt expert", None), "")
    assert alone.target.origin["versus_lines"] == []
    both = ("a curt expert who rests", "a curt expert who runs")
    other = calibration._calibration_set(pairs, scribe(tiny), 8, both, "")
    assert (other.target.name, other.opposite.name) == ("curt-expert", "not-curt-expert")


def test_kinds_on_which_the_description_bears_little_come_last(tiny):
    own = scribe(tiny)
    pilot = [pair(n, odds=(6.0, 6.0) if n % 2 else (0.5, 0.5)) for n in range(24)]
    own._check_effect(pilot)
    own._ask_last(pilot)
    assert own._order == [*range(24), *range(25, 40, 2), *range(24, 40, 2)]
    even = scribe(tiny)
    pilot = list(map(pair, range(24)))
    even._check_effect(pilot)
    even._ask_last(pilot)
    assert even._order == list(range(40))


def test_every_wording_is_used_and_both_sides_share_it(tiny):
    own, seen = scribe(tiny), []
    own.writer.write = lambda prompts, seed: seen.extend(prompts) or [""] * len(prompts)
    pairs = [p for start in range(0, 20, 4) for p in own._batch(range(start, start + 4), True)]
    assert Counter(p.wording for p in pairs) == dict.fromkeys(range(5), 8)
    lines = [turns[0].content for turns in seen]
    for ours, theirs, p in zip(lines[::2], lines[1::2], pairs, strict=True):
        assert (ours, theirs) == (own.sides[0][p.wording], own.sides[1][p.wording])
    assert {p.fault for p in pairs} == {"unfinished"}


def test_a_model_without_template_gets_plain_lines_and_may_write_no_sentence():
    model, tokenizer = tiny_model("llama", chat=False)
    with pytest.raises(ModelError, match="not one of 32 pairs of answers holds a whole sentence"):
        prosopon.describe(model, tokenizer, "a curt expert", questions=asked(16), max_new_tokens=2)
    with pytest.raises(ModelError, match="--writer URL MODEL"):
        scribe((model, tokenizer))._check_effect([pair(0, "unfinished", None)])
