"""The divergence from a prompted model: against the whole distributions, slowly worked out."""

import pytest
import torch

from prosopon.data import Message, encode_all
from prosopon.data.chat import with_system
from prosopon.errors import StatisticsError
from prosopon.gradients import PromptTeacher, sum_gradients
from prosopon.models import find_sites
from tests.tiny import tiny_model

LINE = "Be the people."
TALKS = [
    (Message("user", f"Is {text} the one?"), Message("assistant", answer))
    for text, answer in [
        ("it", "Yes and no."),
        ("a longer thing that is", "No."),
        ("he", "the the"),
    ]
]
PROMPTED = [with_system(talk, LINE) for talk in TALKS]


@pytest.fixture(scope="module")
def tiny():
    return tiny_model("llama", chat=True)


@pytest.fixture(scope="module")
def texts(tiny):
    return encode_all(TALKS, tiny[1]), encode_all(PROMPTED, tiny[1])


def predictions(model, texts):
    """Return log p at every token of the answers, row by row without padding."""
    rows = []
    for text in texts:
        with torch.no_grad():
            logs = model(torch.tensor([text.input_ids])).logits[0].float().log_softmax(-1)
        rows += [logs[i - 1] for i, counts in enumerate(text.response) if counts]
    return torch.stack(rows)


def divergence(theirs, ours, top):
    """Return the mean divergence, all tokens beside the likeliest taken together."""
    total = 0.0
    for p, q in zip(theirs.exp().double(), ours.exp().double(), strict=True):
        order = p.argsort(descending=True)[:top]
        pairs = [(float(p[i]), float(q[i])) for i in order]
        rest = (1 - sum(a for a, _ in pairs), 1 - sum(b for _, b in pairs))
        if top < len(p):
            pairs.append(rest)
        total += sum(a * (torch.tensor(a).log() - torch.tensor(b).log()) for a, b in pairs)
    return float(total / len(theirs))


def total(terms):
    return sum(float(term) for term in terms)


@pytest.mark.parametrize("top", [1, 5, 10_000])
@pytest.mark.parametrize("max_tokens", [16, 2048])
def test_it_is_the_divergence(tiny, texts, top, max_tokens):
    model, _ = tiny
    teacher = PromptTeacher(model, *texts, top=top, max_tokens=max_tokens)
    theirs, ours = predictions(model, texts[1]), predictions(model, texts[0])
    expected = divergence(theirs, ours, top)
    assert total(teacher.terms(model)) == pytest.approx(expected, rel=1e-3)
    assert total(teacher.terms(model, 3.0)) == pytest.approx(3 * expected, rel=1e-3)


def test_fewer_tokens_show_at_most_the_whole_divergence(tiny, texts):
    model, _ = tiny
    values = [total(PromptTeacher(model, *texts, top=k).terms(model)) for k in (1, 8, 64, 10_000)]
    assert values == sorted(values)
    assert values[0] > 0


def test_a_prompt_that_is_none_teaches_nothing(tiny, texts):
    model, _ = tiny
    teacher = PromptTeacher(model, texts[0], texts[0], top=8)
    assert total(teacher.terms(model)) == pytest.approx(0, abs=1e-5)


def test_parts_have_their_own_mean(tiny, texts):
    model, _ = tiny
    teacher = PromptTeacher(model, *texts, top=8)
    sizes = [sum(text.response) for text in texts[0]]
    parts = [total(teacher.terms(model, part=[i])) for i in range(3)]
    mean = sum(size * part for size, part in zip(sizes, parts, strict=True)) / sum(sizes)
    assert total(teacher.terms(model)) == pytest.approx(mean, rel=1e-4)


def test_a_step_along_the_gradient_brings_the_model_nearer(tiny, texts):
    model, _ = tiny_model("llama", chat=True)
    teacher = PromptTeacher(model, *texts, top=64)
    sites = find_sites(model)
    before = total(teacher.terms(model))
    gradients, loss = sum_gradients(sites, teacher.terms(model))
    assert loss == pytest.approx(before, rel=1e-5)
    with torch.no_grad():
        for site in sites:
            site.weight.sub_(gradients[site.name], alpha=1e-2)
    assert total(teacher.terms(model)) < before


def test_answers_that_differ_are_refused(tiny, texts):
    model, _ = tiny
    with pytest.raises(StatisticsError, match="other tokens after the prompt"):
        PromptTeacher(model, texts[0][:2], texts[1][1:])
