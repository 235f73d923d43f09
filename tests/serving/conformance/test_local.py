"""What a persona says here, with its probabilities: against the slow way, token by token."""

import pytest
import torch

from prosopon.errors import SubnetworkError
from prosopon.models import find_sites
from prosopon.runtime import PersonaModel
from prosopon.serving.conformance.client import TOP
from prosopon.serving.conformance.local import LocalModel
from tests.runtime.samples import assert_bits, weights
from tests.serving import samples
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def pieces():
    model, tokenizer = tiny_model(chat=True)
    return model, tokenizer, samples.mask(model, "bold", 3)


def slow(model, tokenizer, ids, steps):
    """Return greedy tokens and the log probabilities of each place, without a cache."""
    tokens, rows = [], []
    for _ in range(steps):
        with torch.no_grad():
            rows.append(model(torch.tensor([[*ids, *tokens]])).logits[0, -1].log_softmax(-1))
        tokens.append(int(rows[-1].argmax()))
        if tokens[-1] == tokenizer.eos_token_id:
            break
    return tokens, rows


@pytest.mark.parametrize("route", ["chat", "completions"])
def test_replies_are_the_slow_ones(pieces, route):
    model, tokenizer, mask = pieces
    base, texts = weights(model), ["Hi", "What do you do on a free evening?"]
    with LocalModel(model, tokenizer, {"bold": mask}) as local:
        replies = local.replies("bold", texts, route=route, max_tokens=6)
        plain = local.replies(None, texts, route=route, max_tokens=6)
    assert_bits(model, base)
    assert replies != plain
    with PersonaModel(model, tokenizer) as wearer:
        wearer.set_persona(wearer.load_persona(mask))
        for text, reply in zip(texts, replies, strict=True):
            if route == "chat":
                turns = [{"role": "user", "content": text}]
                ids = tokenizer.apply_chat_template(
                    turns, add_generation_prompt=True, return_dict=False
                )
            else:
                ids = tokenizer(text)["input_ids"]
            tokens, rows = slow(model, tokenizer, ids, 6)
            ended = tokens[-1] == tokenizer.eos_token_id
            tokens = tokens[:-1] if ended else tokens
            assert reply.finish == ("stop" if ended else "length")
            assert [one.text for one in reply.tokens] == [tokenizer.decode([t]) for t in tokens]
            for one, token, row in zip(reply.tokens, tokens, rows, strict=False):
                assert one.logprob == pytest.approx(float(row[token]), abs=1e-5)
                assert max(one.top.values()) == pytest.approx(float(row.max()), abs=1e-5)
                assert len(one.top) <= TOP


def test_masks_of_another_model_are_refused_and_leave_no_owner(pieces):
    model, tokenizer, mask = pieces
    other, _ = tiny_model(seed=1, chat=True)
    with pytest.raises(SubnetworkError):
        LocalModel(other, tokenizer, {"bold": mask})
    assert find_sites(other)
    PersonaModel(other).close()
    with LocalModel(model, tokenizer, {}) as local, pytest.raises(Exception, match="bold"):
        local.replies("bold", ["Hi"], route="chat", max_tokens=1)
