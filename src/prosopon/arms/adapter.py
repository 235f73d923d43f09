"""LoRA adapters (peft) in a live model: put in, trained, and taken out without a trace."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from prosopon.data import Encoded
from prosopon.errors import ModelError
from prosopon.lm.reading import read_batches

if TYPE_CHECKING:
    from torch import Tensor, nn

WARM_UP = 0.1  # of the steps
CLIP = 1.0  # largest norm of a step's gradient

Parameters = dict[str, "nn.Parameter"]


@dataclass(frozen=True)
class Training:
    """How an adapter was trained.

    Attributes:
        losses: Loss of every step.
        examples: Examples read, one as often as it was.
    """

    losses: Sequence[float]
    examples: int


@contextmanager
def adapted(
    model: nn.Module, *, r: int, alpha: float, seed: int = 0, state: Mapping[str, Tensor] | None
) -> Iterator[Parameters]:
    """Put a LoRA adapter around every Linear layer but the head, for the time of a with block.

    Afterwards, whatever happened, the model's modules, parameters and flags are the very ones
    that were there before; its weights are never written.

    Args:
        model: A Hugging Face causal LM.
        r: Rank.
        alpha: The adapter's output is scaled by ``alpha / r``.
        seed: Seeds a new adapter; the global generators are left as they were.
        state: Values of the adapter's parameters; None leaves a new one, which does nothing yet.

    Yields:
        The adapter's parameters by name, float32; the only ones of the model that want
        gradients.
    """
    from peft import LoraConfig
    from peft.tuners.lora import LoraModel

    config = LoraConfig(
        r=r, lora_alpha=alpha, lora_dropout=0.0, target_modules="all-linear",
        fan_in_fan_out=_transposed(model), task_type="CAUSAL_LM",
    )  # fmt: skip
    with _restoring(model):
        devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
        with torch.random.fork_rng(devices=list(devices)):
            torch.manual_seed(seed)
            LoraModel(model, config, "persona")
        parameters = {name: p for name, p in model.named_parameters() if ".lora_" in name}
        for name, parameter in parameters.items():
            value = parameter.data if state is None else state[name]
            parameter.data = value.to(parameter.device, torch.float32)
        yield parameters


def scaled(state: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    """Return an adapter's parameters so that it adds ``scale`` times as much."""
    return {name: scale * value if ".lora_B." in name else value for name, value in state.items()}


def train(
    model: nn.Module,
    parameters: Parameters,
    texts: Sequence[Encoded],
    *,
    steps: int,
    batch: int,
    rate: float,
    seed: int,
    max_tokens: int = 2048,
    report: Callable[[int], Any] | None = None,
) -> Training:
    """Train an adapter to give the texts' answers; AdamW, linear warm-up and decay.

    Args:
        model: The model that wears it.
        parameters: What :func:`adapted` gave.
        texts: Encoded examples; only the answers' tokens count.
        steps: Steps; the texts are gone through in a new order as often as that needs.
        batch: Texts of a step.
        rate: Highest learning rate.
        seed: Seeds the order.
        max_tokens: Most tokens, padding included, in one backward pass.
        report: Called with the number of steps done.

    Returns:
        What happened; losses are in nats per token.

    Raises:
        ModelError: The loss is not finite.
    """

    def backward(indices: list[int]) -> float:
        return _backward(model, [texts[i] for i in indices], max_tokens)

    return fit(
        parameters, backward, count=len(texts), steps=steps, batch=batch, rate=rate, seed=seed,
        report=report,
    )  # fmt: skip


def fit(
    parameters: Parameters,
    backward: Callable[[list[int]], float],
    *,
    count: int,
    steps: int,
    batch: int,
    rate: float,
    seed: int,
    report: Callable[[int], Any] | None = None,
) -> Training:
    """Train an adapter on whatever loss; AdamW, linear warm-up and decay.

    Args:
        parameters: What :func:`adapted` gave.
        backward: Adds the gradient of some examples' loss, by their indices, and returns it.
        count: Examples.
        steps: Steps; the examples are gone through in a new order as often as that needs.
        batch: Examples of a step.
        rate: Highest learning rate.
        seed: Seeds the order.
        report: Called with the number of steps done.

    Returns:
        What happened.

    Raises:
        ModelError: The loss is not finite.
    """
    optimiser = torch.optim.AdamW(list(parameters.values()), lr=rate, weight_decay=0.0)
    order = _order(count, batch, seed)
    losses, examples = list[float](), 0
    with torch.enable_grad():
        for step in range(steps):
            for group in optimiser.param_groups:
                group["lr"] = rate * _share(step, steps)
            indices = next(order)
            loss, examples = backward(indices), examples + len(indices)
            if not loss < float("inf"):
                raise ModelError(f"LoRA diverges at step {step + 1} (loss {loss}): lower lr={rate}")
            torch.nn.utils.clip_grad_norm_(parameters.values(), CLIP)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            losses.append(loss)
            if report is not None:
                report(step + 1)
    return Training(losses, examples)


def _backward(model: nn.Module, texts: Sequence[Encoded], max_tokens: int) -> float:
    """Add the gradient of the mean loss of the answers' tokens; return the loss."""
    total, tokens = 0.0, sum(sum(text.response) for text in texts)
    for _, logits in read_batches(model, texts, max_tokens=max_tokens):
        loss = -logits.log_likelihoods().sum() / tokens
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    return total


def _order(count: int, batch: int, seed: int) -> Iterator[list[int]]:
    """Yield the indices of each step's texts for ever, every text once a round."""
    rng = random.Random(f"{seed}/lora")
    while True:
        order = rng.sample(range(count), count)
        for start in range(0, count, batch):
            yield order[start : start + batch]


def _share(step: int, steps: int) -> float:
    warm = max(1, round(WARM_UP * steps))
    return min((step + 1) / warm, (steps - step) / max(1, steps - warm), 1.0)


def _transposed(model: nn.Module) -> bool:
    """Tell whether the model's layers are GPT-2's, whose weights are [in, out]."""
    from transformers.pytorch_utils import Conv1D

    return any(isinstance(module, Conv1D) for module in model.modules())


@contextmanager
def _restoring(model: nn.Module) -> Iterator[None]:
    """Give a model its modules, attributes and gradient flags back."""
    children = [(module, dict(module._modules)) for module in model.modules()]
    flags = [(p, p.requires_grad, p.grad) for p in model.parameters()]
    attributes = set(vars(model))
    try:
        yield
    finally:
        for module, own in children:
            module._modules.clear()
            module._modules.update(own)
        for parameter, wanted, gradient in flags:
            parameter.requires_grad_(wanted)
            parameter.grad = gradient
        for name in set(vars(model)) - attributes:
            delattr(model, name)
