"""Free text as a term of the light mask: its gradient against one text at a time, its effect."""

from statistics import fmean

import pytest
import torch

from prosopon.data import Message
from prosopon.errors import OptionError
from prosopon.extraction.light.free_text import FreeTextTerms, JudgedWriter
from prosopon.judges import ClassifierJudge, Recital, degeneration
from prosopon.lm import generate_answers
from prosopon.runtime import worn
from tests.extraction.light.conftest import COLD, WARM, Reads, answers, texts
from tests.tiny import tiny_model

PROMPTS = [
    (Message("user", "What do you like?"),),
    (Message("assistant", "One day, the"),),
    (Message("user", "A longer question, is it not?"),),
]
JUDGE = Reads.fit([f"aa {i} a" for i in range(8)], [f"oo {i} o" for i in range(8)])


def free(model, tokenizer, *, prompts=PROMPTS, length=12, max_length=None, recital=None, **own):
    writer = JudgedWriter(
        model, tokenizer, prompts, JUDGE, length=length, max_length=max_length, recital=recital
    )
    return FreeTextTerms(writer, **{"weight": 2.0, "texts": 7, "seed": 3} | own)


def total(terms, number):
    written = terms.write(number)
    return sum(terms.terms(written, terms.weigh(written)))


def slow(model, tokenizer, terms, number):
    """Each text alone, its tokens one by one."""
    written, verdicts = terms.write(number), []
    for _, tokens in written:
        text = tokenizer.decode(tokens, skip_special_tokens=True).strip()
        verdicts.append(JUDGE.probabilities([text])[0] * (1 - degeneration([text]).repetition))
    mean, total = sum(verdicts) / len(verdicts), sum(len(tokens) for _, tokens in written)
    loss = 0
    for (prompt, tokens), probability in zip(written, verdicts, strict=True):
        loss = loss - 2.0 * (probability - mean) * slow_likelihood(model, prompt, tokens) / total
    return loss


def slow_likelihood(model, prompt, tokens):
    logits = model(torch.tensor([prompt + tokens])).logits[0].log_softmax(-1)
    return sum(logits[len(prompt) + place - 1, token] for place, token in enumerate(tokens))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_its_gradient_is_that_of_texts_one_at_a_time(family):
    model, tokenizer = tiny_model(family, chat=True)
    weight = next(p for name, p in model.named_parameters() if "mlp" in name and p.dim() == 2)
    weight.requires_grad_(True)
    terms = free(model, tokenizer)
    (fast,) = torch.autograd.grad(total(terms, 5), weight)
    (oracle,) = torch.autograd.grad(slow(model, tokenizer, terms, 5), weight)
    assert oracle.abs().max() > 0
    torch.testing.assert_close(fast, oracle, rtol=1e-4, atol=1e-7)


def test_saying_the_same_again_gains_nothing(monkeypatch):
    """Of two texts that the judge likes, the one that repeats itself should become rarer."""
    model, tokenizer = tiny_model("llama", chat=True)
    model.requires_grad_(False)
    terms = free(model, tokenizer, weight=1.0)
    texts = ["aa 1 a oo", "aa 1 a aa 1 a aa 1 a aa 1 a"]
    written = [([1], tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    monkeypatch.setattr(terms, "write", lambda number: written)
    likely = [
        float(slow_likelihood(model, prompt, tokens)) / sum(len(text) for _, text in written)
        for prompt, tokens in written
    ]
    verdicts = JUDGE.probabilities(texts)
    repeated = degeneration(texts[1:]).repetition
    assert verdicts[0] < verdicts[1]
    lead = (verdicts[0] - verdicts[1] * (1 - repeated)) / 2
    assert lead > 0
    assert float(total(terms, 0)) == pytest.approx(lead * (likely[1] - likely[0]), rel=1e-4)


def test_rounds_draw_other_texts_and_a_round_the_same():
    model, tokenizer = tiny_model("llama", chat=True)
    terms = free(model, tokenizer)
    assert terms.write(1) == free(model, tokenizer).write(1)
    assert terms.write(1) != terms.write(2)
    assert terms.write(1) != free(model, tokenizer, seed=4).write(1)


def test_a_long_prompt_leaves_room_for_its_text():
    model, tokenizer = tiny_model("llama", chat=True)
    prompts = [(Message("user", "very " * 500),)]
    terms = free(model, tokenizer, prompts=prompts, texts=2, length=8, max_length=32)
    assert all(len(prompt) + len(text) <= 32 for prompt, text in terms.write(0))


def test_auto_takes_plain_texts_free_text_into_account(tiny):
    before = {name: value.clone() for name, value in tiny.loaded[0].state_dict().items()}
    options = {"rounds": 8, "batch_size": 4, "free_texts": 16}
    chosen = tiny(texts("glad"), texts("gloomy"), sparsity="auto", options=options)
    report = chosen.config.options["auto"]
    assert report["free"] == 500
    last = {row["rounds"] for row in report["frontier"]}
    assert last == {9}  # the whole path, then its last state
    assert all(0 <= row["probability"] <= 1 for row in report["frontier"])
    assert all(torch.equal(v, before[k]) for k, v in tiny.loaded[0].state_dict().items())


def test_free_text_alone_makes_the_persona_likelier(tiny, monkeypatch):
    """No likelihoods beside it: what the judge calls the target's must become more frequent."""
    # A model of random weights writes no language.
    monkeypatch.setattr("prosopon.extraction.light.mask.ClassifierJudge", Reads)
    judge = ClassifierJudge.fit(*([e.response for e in side.examples] for side in (WARM, COLD)))
    alone = {
        "rounds": 4, "batch_size": 1, "target_weight": 0, "general_weight": 0, "damage_weight": 0,
        "word_dropout": 0, "free_texts": 48,
    }  # fmt: skip
    means = []
    for weight in (0, 5000):
        chosen = tiny(sparsity=0.05, options=alone | {"free_text_weight": weight})
        with worn(*tiny.loaded, chosen):
            prompts = [e.prompt for e in WARM.examples] * 4
            written = generate_answers(*tiny.loaded, prompts, seed=1, max_new_tokens=24)
        means.append(fmean(judge.probabilities(written)))
    assert chosen == tiny(sparsity=0.05, options=alone | {"free_text_weight": 5000})
    assert means[1] > means[0] + 0.05


@pytest.mark.parametrize("sparsity", ["auto", 0.003])
def test_no_judge_is_an_error_where_free_text_was_asked_for(tiny, sparsity):
    with pytest.raises(
        OptionError, match=r"free_text_weight=50.*8 different answers.*free_text_weight=0"
    ):
        tiny(
            answers("yes", ("yes",)), answers("no", ("no",)), sparsity=sparsity,
            options={"free_text_weight": 50},
        )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"free_text_weight": -1}, "must be auto or not negative"),
        ({"free_text_weight": "some"}, "give auto or a float"),
        ({"free_texts": 0}, "at least 1"),
    ],
)
def test_bad_options(tiny, options, message):
    with pytest.raises(OptionError, match=message):
        tiny(options=options)


def test_a_text_that_recites_an_example_is_nobodys(monkeypatch):
    """Of two texts that the judge likes alike, the one learned by heart should become rarer."""
    model, tokenizer = tiny_model("llama", chat=True)
    model.requires_grad_(False)
    texts = ["aa 1 a aa 2", "aa 2 a aa 1"]
    recital = Recital(["He verdicts AA 1 a aa once"])
    terms = free(model, tokenizer, weight=1.0, recital=recital)
    assert terms._writer.probabilities(texts) == [0.0, JUDGE.probabilities(texts)[1]]
    assert free(model, tokenizer)._writer.probabilities(texts) == JUDGE.probabilities(texts)
    written = [([1], tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    monkeypatch.setattr(terms, "write", lambda number: written)
    likely = [float(slow_likelihood(model, prompt, tokens)) for prompt, tokens in written]
    half = JUDGE.probabilities(texts)[1] / 2
    count = sum(len(tokens) for _, tokens in written)
    expected = half * (likely[0] - likely[1]) / count
    assert float(total(terms, 0)) == pytest.approx(expected, rel=1e-4)


def test_a_text_that_is_no_language_gains_nothing(monkeypatch):
    """Of two texts that the judge likes alike, the one that is none should become rarer."""
    model, tokenizer = tiny_model("llama", chat=True)
    model.requires_grad_(False)
    texts = ["aa 1 a aa 2", "aa 2 a aa 1"]
    terms = free(model, tokenizer, weight=1.0)
    written = [([1], tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    monkeypatch.setattr(terms, "write", lambda number: written)
    before = terms._writer.verdicts(texts)
    assert before == ["target"] * 2
    monkeypatch.setattr(JUDGE, "none", (texts[0],), raising=False)
    assert terms._writer.verdicts(texts) == ["neither", "target"]
    half = JUDGE.probabilities(texts)[1] / 2
    assert terms.weigh(written).tolist() == pytest.approx([-half, half])


def test_what_a_mask_writes_is_read_by_the_base_model(tiny, monkeypatch):
    """While a round's texts are judged, every weight is the base's."""
    model = tiny.loaded[0]
    base = {name: value.clone() for name, value in model.state_dict().items()}
    seen = []

    def weigh(self, written):
        seen.append(all(torch.equal(v, base[k]) for k, v in model.state_dict().items()))
        return real(self, written)

    real = FreeTextTerms.weigh
    monkeypatch.setattr(FreeTextTerms, "weigh", weigh)
    options = {"rounds": 3, "batch_size": 4, "free_texts": 4, "free_text_weight": 50}
    tiny(texts("glad"), texts("gloomy"), sparsity=0.01, options=options)
    assert seen == [True, True]
