"""Free text as a term of the light mask: its gradient against one text at a time, its effect."""

import pytest
import torch

from prosopon.data import Example, Message, Persona, load_persona
from prosopon.errors import OptionError
from prosopon.extraction import Extractor
from prosopon.extraction.light.free_text import FreeTextTerms, target_probabilities
from prosopon.judges import ClassifierJudge, Recital, degeneration
from prosopon.lm import generate_answers
from prosopon.models import load_model
from prosopon.runtime import worn
from tests.tiny import tiny_model

ASKED = [
    (Message("user", "What do you like?"),),
    (Message("assistant", "One day, the"),),
    (Message("user", "A longer question, is it not?"),),
]
JUDGE = ClassifierJudge.fit([f"aa {i} a" for i in range(8)], [f"oo {i} o" for i in range(8)])


def free(model, tokenizer, **settings):
    settings = {"weight": 2.0, "texts": 7, "length": 12, "seed": 3} | settings
    return FreeTextTerms(model, tokenizer, ASKED, JUDGE, **settings)


def slow(model, tokenizer, made, number):
    """Each text alone, its tokens one by one."""
    written, said = made._write(number), []
    for _, tokens in written:
        text = tokenizer.decode(tokens, skip_special_tokens=True).strip()
        said.append(JUDGE.probabilities([text])[0] * (1 - degeneration([text]).repetition))
    mean, total = sum(said) / len(said), sum(len(tokens) for _, tokens in written)
    loss = 0
    for (asked, tokens), probability in zip(written, said, strict=True):
        loss = loss - 2.0 * (probability - mean) * slow_likelihood(model, asked, tokens) / total
    return loss


def slow_likelihood(model, asked, tokens):
    logits = model(torch.tensor([asked + tokens])).logits[0].log_softmax(-1)
    return sum(logits[len(asked) + place - 1, token] for place, token in enumerate(tokens))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_its_gradient_is_that_of_texts_one_at_a_time(family):
    model, tokenizer = tiny_model(family, chat=True)
    weight = next(p for name, p in model.named_parameters() if "mlp" in name and p.dim() == 2)
    weight.requires_grad_(True)
    made = free(model, tokenizer)
    (fast,) = torch.autograd.grad(sum(made.terms(5)), weight)
    (oracle,) = torch.autograd.grad(slow(model, tokenizer, made, 5), weight)
    assert oracle.abs().max() > 0
    torch.testing.assert_close(fast, oracle, rtol=1e-4, atol=1e-7)


def test_saying_the_same_again_gains_nothing(monkeypatch):
    """Of two texts that the judge likes, the one that repeats itself should become rarer."""
    model, tokenizer = tiny_model("llama", chat=True)
    model.requires_grad_(False)
    made = free(model, tokenizer, weight=1.0)
    texts = ["aa 1 a oo", "aa 1 a aa 1 a aa 1 a aa 1 a"]
    written = [([1], tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    monkeypatch.setattr(made, "_write", lambda number: written)
    likely = [
        float(slow_likelihood(model, asked, tokens)) / sum(len(each) for _, each in written)
        for asked, tokens in written
    ]
    verdicts = JUDGE.probabilities(texts)
    repeated = degeneration(texts[1:]).repetition
    assert verdicts[0] < verdicts[1]
    lead = (verdicts[0] - verdicts[1] * (1 - repeated)) / 2
    assert lead > 0
    assert float(sum(made.terms(0))) == pytest.approx(lead * (likely[1] - likely[0]), rel=1e-4)


def test_rounds_draw_other_texts_and_a_round_the_same():
    model, tokenizer = tiny_model("llama", chat=True)
    made = free(model, tokenizer)
    assert made._write(1) == free(model, tokenizer)._write(1)
    assert made._write(1) != made._write(2)
    assert made._write(1) != free(model, tokenizer, seed=4)._write(1)


def test_a_long_prompt_leaves_room_for_its_text():
    model, tokenizer = tiny_model("llama", chat=True)
    asked = [(Message("user", "very " * 500),)]
    made = FreeTextTerms(
        model, tokenizer, asked, JUDGE, weight=1.0, texts=2, length=8, max_length=32
    )
    assert all(len(prompt) + len(text) <= 32 for prompt, text in made._write(0))


def stories(word, count=24):
    """Plain texts: an opening and a word of the persona's."""
    return Persona(
        word,
        tuple(
            Example((Message("assistant", f"My day {i} is long and I feel {word} {i % 9}."),))
            for i in range(count)
        ),
    )


@pytest.fixture(scope="module")
def loaded():
    return load_model("embedded", device="cpu")[:2]


def auto(loaded, target, opposite, **options):
    extractor = Extractor(*loaded, general_count=16, name="embedded")
    options = {"rounds": 8, "batch_size": 4, "free_texts": 16} | options
    return extractor.extract(target, opposite, sparsity="auto", options=options)


def test_auto_takes_plain_texts_free_text_into_account(loaded):
    before = {k: v.clone() for k, v in loaded[0].state_dict().items()}
    told = auto(loaded, stories("glad"), stories("gloomy")).config.options["auto"]
    assert told["free"] == 500
    assert {row["rounds"] for row in told["frontier"]} == {9}  # the whole path, then its last state
    assert all(0 <= row["probability"] <= 1 for row in told["frontier"])
    assert all(torch.equal(v, before[k]) for k, v in loaded[0].state_dict().items())


def test_free_text_alone_makes_the_persona_likelier(loaded):
    """No likelihoods beside it: what the judge calls the target's must become more frequent."""
    extractor = Extractor(*loaded, general_count=16, name="embedded")
    sides = load_persona("extravert", limit=24), load_persona("introvert", limit=24)
    judge = ClassifierJudge.fit(*([e.response for e in side.examples] for side in sides))
    shares = []
    for weight in (0, 400):
        options = {
            "rounds": 6,
            "batch_size": 1,
            "target_weight": 0,
            "general_weight": 0,
            "word_dropout": 0,
        }
        options |= {"free_text_weight": weight, "free_texts": 32}
        found = extractor.extract(*sides, sparsity=0.003, options=options)
        assert found == extractor.extract(*sides, sparsity=0.003, options=options)
        with worn(*loaded, found):
            texts = generate_answers(*loaded, [e.prompt for e in sides[0].examples] * 3, seed=1)
        shares.append(judge.share(texts))
    assert shares[1] > shares[0]


def labels(name, count):
    return Persona(
        name,
        tuple(
            Example((Message("user", f"question {i}?"), Message("assistant", name)))
            for i in range(count)
        ),
    )


@pytest.mark.parametrize("sparsity", ["auto", 0.003])
def test_no_judge_is_an_error_where_free_text_was_asked_for(loaded, sparsity):
    with pytest.raises(
        OptionError, match=r"free_text_weight=50.*8 different answers.*free_text_weight=0"
    ):
        Extractor(*loaded, general_count=8).extract(
            labels("yes", 24), labels("no", 24), sparsity=sparsity, options={"free_text_weight": 50}
        )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"free_text_weight": -1}, "must be auto or not negative"),
        ({"free_text_weight": "some"}, "give auto or a float"),
        ({"free_texts": 0}, "at least 1"),
    ],
)
def test_bad_options(loaded, given, message):
    with pytest.raises(OptionError, match=message):
        Extractor(*loaded, general_count=8).extract(
            labels("yes", 4), labels("no", 4), options=given
        )


def test_a_text_that_recites_an_example_is_nobodys(monkeypatch):
    """Of two texts that the judge likes alike, the one learned by heart should become rarer."""
    model, tokenizer = tiny_model("llama", chat=True)
    model.requires_grad_(False)
    texts = ["aa 1 a aa 2", "aa 2 a aa 1"]
    recital = Recital(["He said AA 1 a aa once"])
    assert target_probabilities(JUDGE, texts, recital) == [0.0, JUDGE.probabilities(texts)[1]]
    assert target_probabilities(JUDGE, texts, None) == JUDGE.probabilities(texts)
    terms = FreeTextTerms(model, tokenizer, ASKED, JUDGE, weight=1.0, recital=recital)
    written = [([1], tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    monkeypatch.setattr(terms, "_write", lambda number: written)
    likely = [float(slow_likelihood(model, prompt, tokens)) for prompt, tokens in written]
    half = JUDGE.probabilities(texts)[1] / 2
    total = sum(len(tokens) for _, tokens in written)
    expected = half * (likely[0] - likely[1]) / total
    assert float(sum(terms.terms(0))) == pytest.approx(expected, rel=1e-4)
