"""Light criteria: what the removal of a weight gains for the persona, and what it damages.

A light mask is grown in rounds. Every round takes the gradient of the persona objective L
(:mod:`prosopon.gradients.objective`) on the masked model; ``gain`` turns it into how much L falls
when a weight goes. ``damage`` turns the Fisher diagonal into what general text loses. Masked are
the weights with the highest sum of gains minus ``damage_weight`` times damage a round, where that
is above zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from prosopon.criteria.base import Criterion
from prosopon.options import option, require

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LightOptions:
    """Options that every light criterion has; one of one's own may add to them."""

    rounds: int = option(48, "rounds of pruning; gains add up, a pruned weight may return")
    batch_size: int = option(
        16, "pairs and general texts whose gradients a round takes; 0: all", old="batch"
    )
    candidate_pairs: int = option(
        0, "pairs that the weights which may go are looked for on, drawn by the seed; 0: all"
    )
    target_weight: float = option(
        3.0, "weight of the target's own likelihood in the objective", old="beta"
    )
    general_weight: float = option(
        3.0, "weight of general text's likelihood in the objective", old="general"
    )
    kl_weight: float = option(
        0.0, "weight of the divergence KL(base || masked) on general text in the objective"
    )
    max_loss: float = option(
        0.0,
        "nats a token that held-out general text may lose: lambda is set anew in every round by "
        "measuring it, and the mask has its whole size from the first; 0: lambda stands",
    )
    damage_weight: float = option(
        300.0, "lambda: weight of the second-order damage to general text", old="damage"
    )
    protect_weight: float = option(
        3.0, "weight of the change of protected contrasts (--protect)", old="protect"
    )
    log_odds: Literal["shift", "logistic", "linear"] = option(
        "shift",
        "log-odds term: softplus of minus their change against the base in nats an answer; "
        "softplus of minus the margin per token; or minus the margin",
        old="odds",
    )
    log_odds_weight: float = option(1.0, "weight of the log-odds term")
    likelihood_power: float = option(
        0.0,
        "q: an answer's token of probability p counts (p^q - 1) / q instead of log p, so that "
        "words that the model would hardly ever say teach little; 0: log p",
    )
    prompt_weight: float = option(
        0.0,
        "weight of the divergence KL(prompted base || masked without the prompt) on the target's "
        "answers; prompt_line is the prompt",
    )
    prompt_line: str = option("", "the system line of prompt_weight; --describe has its own")
    prompt_top: int = option(64, "likeliest tokens that the prompted model teaches at each place")
    free_text_weight: Literal["auto"] | float = option(
        "auto",
        "weight of free text: every round the masked model writes, a judge trained on the "
        "examples says whose each text is, and what makes the persona's likelier gains; auto: "
        "500 for plain texts under --sparsity auto, else 0",
        old="free",
    )
    free_texts: int = option(128, "free texts that a round writes", old="texts")
    word_dropout: float = option(
        1.0,
        "most of a question's words that its second copy leaves out, a share; 0: no copies",
    )
    tolerance: float = option(
        0.05, "for --sparsity auto: how much general perplexity may rise, as a share"
    )
    max_share: float = option(
        0.01, "for --sparsity auto: the largest mask that is tried, as a share", old="most"
    )

    def __post_init__(self) -> None:
        for name in ("batch_size", "candidate_pairs"):
            value = getattr(self, name)
            require(value >= 0, f"option {name}={value}: must not be negative")
        for name in ("rounds", "free_texts", "prompt_top"):
            value = getattr(self, name)
            require(value >= 1, f"option {name}={value}: must be at least 1")
        for name in (
            "target_weight", "general_weight", "damage_weight", "protect_weight", "tolerance",
            "free_text_weight", "kl_weight", "max_loss", "log_odds_weight", "prompt_weight",
            "likelihood_power",
        ):  # fmt: skip
            value = getattr(self, name)
            may = "be auto or not negative" if name == "free_text_weight" else "not be negative"
            require(value == "auto" or value >= 0, f"option {name}={value}: must {may}")
        require(
            not self.likelihood_power or self.log_odds != "shift",
            f"option likelihood_power={self.likelihood_power}: log_odds=shift is a change in nats; "
            "take logistic or linear, or likelihood_power=0",
        )
        require(
            not self.prompt_weight or bool(self.prompt_line.strip()),
            f"option prompt_weight={self.prompt_weight}: needs the prompt; give prompt_line",
        )
        largest, dropout = self.max_share, self.word_dropout
        require(0 < largest <= 1, f"option max_share={largest}: must be a share above 0, up to 1")
        require(0 <= dropout <= 1, f"option word_dropout={dropout}: must be a share from 0 to 1")


def removal_gain(weight: Tensor, gradient: Tensor, options: Any = None) -> Tensor:
    """Return w dL/dw, float32: how much L falls, to first order, when the weight goes."""
    return weight.float() * gradient.float()


def removal_damage(weight: Tensor, fisher: Tensor, options: Any = None) -> Tensor:
    """Return F w^2 / 2, float32: nats per token of general text lost, to second order."""
    return 0.5 * fisher * weight.float().square()


@dataclass(frozen=True, kw_only=True)
class LightCriterion(Criterion):
    """A criterion that reads gradients and masks a few weights in a thousand.

    Both functions work weight by weight: their tensors have one shape, any, and so has what they
    return, float32.

    Attributes:
        gain: Pure function ``(weight, gradient, options)``: how much the objective falls when
            the weight goes. A weight whose first gain is not above zero is never pruned.
        damage: Pure function ``(weight, fisher, options)``: what general text loses, not
            negative; ``fisher`` is the expected squared gradient per token.
    """

    gain: Callable[[Tensor, Tensor, Any], Tensor] = removal_gain
    damage: Callable[[Tensor, Tensor, Any], Tensor] = removal_damage
    options: type = LightOptions
    pattern: str = "global"
    sparsity: float = 0.006

    def __post_init__(self) -> None:
        require(
            issubclass(self.options, LightOptions),
            f"criterion {self.name!r}: the options of a light criterion extend LightOptions",
        )

    @property
    def contrastive(self) -> bool:
        """Whether it needs an opposite: it always does."""
        return True
