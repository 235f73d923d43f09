"""One layer at a time gives what all layers give, or the model is refused."""

import pytest
import torch
from torch import nn

from prosopon.errors import StatisticsError
from prosopon.layerwise.relay import Relay


class Layer(nn.Module):
    def __init__(self, form=lambda hidden: hidden):
        super().__init__()
        self.linear, self.form = nn.Linear(4, 4), form

    def forward(self, hidden_states, extra=None):
        moved = hidden_states + self.linear(hidden_states).tanh()
        return self.form(moved if extra is None else moved * extra)


class Body(nn.Module):
    """Three layers; ``wiring(layers, hidden)`` calls them."""

    def __init__(self, wiring, form=lambda hidden: hidden):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(Layer(form) for _ in range(3))
        self.before, self.after, self.wiring = nn.Linear(4, 4), nn.Linear(4, 4), wiring

    def forward(self, x):
        return self.after(self.wiring(self.layers, self.before(x)))


def in_turn(layers, hidden):
    for number, layer in enumerate(layers):
        hidden = layer(hidden, extra=torch.tensor(number + 1.0))
    return hidden


def by_keyword(layers, hidden):
    for layer in layers:
        hidden = layer(extra=None, hidden_states=hidden)
    return hidden


def first_of_tuple(layers, hidden):
    for layer in layers:
        hidden = layer(hidden)[0]
    return hidden


FITTING = {
    "in turn": (in_turn, lambda hidden: hidden),
    "by keyword": (by_keyword, lambda hidden: hidden),
    "a tuple": (first_of_tuple, lambda hidden: (hidden,)),
    "a tuple with weights that nobody reads": (first_of_tuple, lambda h: (h, h.sum(), None)),
}


@pytest.mark.parametrize("kind", FITTING)
def test_step_by_step_is_the_whole(kind):
    body, x = Body(*FITTING[kind]), torch.randn(2, 3, 4)
    inputs = []
    for layer in body.layers:
        layer.linear.register_forward_pre_hook(lambda _m, args: inputs.append(args[0]))
    with torch.no_grad():
        whole = body(x)
    expected, inputs[:] = list(inputs), []
    relay, hidden = Relay(body, body.layers), None
    relay.check({"x": x[:1]})
    inputs.clear()
    for number in range(3):
        hidden = relay.step({"x": x}, number, hidden)
    assert len(inputs) == 3
    assert all(map(torch.equal, inputs, expected))
    assert torch.equal(body.after(hidden), whole)
    seen = []
    body.after.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    assert relay.step({"x": x}, 3, hidden) is hidden
    assert torch.equal(seen[0], hidden)
    assert not any("forward" in vars(layer) for layer in body.layers)


def skips(layers, hidden):
    return layers[0](hidden)


def backwards(layers, hidden):
    for layer in reversed(layers):
        hidden = layer(hidden)
    return hidden


def adds_between(layers, hidden):
    for layer in layers:
        hidden = layer(hidden) + 1
    return hidden


def depends(layers, hidden):
    extra = None
    for layer in layers:
        hidden = layer(hidden, extra=extra)
        extra = hidden.mean()
    return hidden


def hands_on_the_rest(layers, hidden):
    extra = None
    for layer in layers:
        hidden, extra = layer(hidden, extra=extra)
    return hidden


def shares_a_store(layers, hidden):
    store = object()
    for layer in layers:
        hidden = layer(hidden, store)
    return hidden


def no_hidden(layers, hidden):
    return layers[0](hidden_states=[hidden])


MISFITS = {
    "only 1|1 of its 3 layers": (skips, lambda h: h),
    "layer 2 runs as number 0": (backwards, lambda h: h),
    "layer 1 does not read just what layer 0 returned": (adds_between, lambda h: h),
    "what layer 1 is called with depends on earlier layers": (depends, lambda h: h),
    "what layer 1 is called with depends": (hands_on_the_rest, lambda h: (h, h.mean())),
    "layer 0 is called with a object": (shares_a_store, lambda h: h),
    "without hidden states": (no_hidden, lambda h: h),
    "layer 0 returns a dict": (in_turn, lambda h: {"hidden": h}),
    "layer 0 returns a tuple": (in_turn, lambda h: ()),
}


@pytest.mark.parametrize("message", MISFITS)
def test_a_model_that_does_not_fit_is_refused(message):
    body = Body(*MISFITS[message])
    with pytest.raises(StatisticsError, match=message):
        Relay(body, body.layers).check({"x": torch.randn(1, 3, 4)})
    assert not any("forward" in vars(layer) for layer in body.layers)


def test_the_layers_get_their_forward_back_after_an_exception():
    body = Body(in_turn)
    own = body.layers[1].forward = body.layers[1].forward
    with pytest.raises(RuntimeError):
        Relay(body, body.layers).step({"x": torch.randn(1, 3, 5)}, 0, None)
    assert body.layers[1].forward is own
    assert "forward" not in vars(body.layers[0])
