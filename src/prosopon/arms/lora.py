"""The arm ``lora``: LoRA fine-tuning on the target's calibration examples, by peft."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from math import ceil
from typing import TYPE_CHECKING, Any

from prosopon.arms.adapter import Parameters, Training, adapted, scaled, train
from prosopon.arms.base import ARMS, Cost, Kind, Lab
from prosopon.arms.dose import Candidate, ScaleDial
from prosopon.arms.options import WithOptions
from prosopon.arms.ready import Clock, Ready, counter
from prosopon.data import Persona
from prosopon.data.dropout import with_word_dropout
from prosopon.errors import OptionError
from prosopon.options import option, require

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LoraArmOptions:
    """Options of ``lora``."""

    r: int = option(8, "rank")
    alpha: float = option(16.0, "the adapter's output is scaled by alpha / r")
    lr: float = option(1e-3, "highest learning rate")
    epochs: int = option(5, "times that every example is read")
    steps: int = option(0, "steps of training instead of epochs; 0: as many as the epochs need")
    batch: int = option(8, "examples of a step")
    word_dropout: float = option(
        1.0,
        "most of a question's words that its second copy leaves out, as in contrastive-taylor; "
        "0: no copies",
    )

    max_loss: float = option(
        0.0,
        "nats a token that held-out general text may lose: the largest scale within it is taken; "
        "0: scale stands",
    )
    scale: float = option(1.0, "times that the adapter is added, where max_loss is 0")

    def __post_init__(self) -> None:
        for name in ("r", "epochs", "batch"):
            value = getattr(self, name)
            require(value >= 1, f"option {name}={value}: must be at least 1")
        for name in ("steps", "max_loss"):
            value = getattr(self, name)
            require(value >= 0, f"option {name}={value}: must not be negative")
        for name in ("alpha", "lr"):
            value = getattr(self, name)
            require(value > 0, f"option {name}={value}: must be above 0")
        share = self.word_dropout
        require(0 <= share <= 1, f"option word_dropout={share}: must be a share from 0 to 1")


@dataclass(frozen=True)
class Adapter:
    """A trained adapter.

    Attributes:
        r: Its rank.
        alpha: Its output is scaled by ``alpha / r``.
        state: Its parameters by name, on the CPU.
        details: How it was trained: JSON values.
    """

    r: int
    alpha: float
    state: Mapping[str, Tensor]
    details: Mapping[str, Any]

    @classmethod
    def of(
        cls, values: Parameters, options: LoraArmOptions, training: Training, texts: int
    ) -> Adapter:
        """Return a copy of what was trained by reading so many texts forward and backward."""
        state = {name: value.detach().cpu().clone() for name, value in values.items()}
        losses = training.losses
        details = {
            "steps": len(losses), "first_loss": losses[0], "last_loss": losses[-1],
            "texts_backward": texts,
        }  # fmt: skip
        return cls(options.r, options.alpha, state, details)


class LoraArm(WithOptions):
    """An adapter on every Linear layer, trained on the answers of the target's examples."""

    name = "lora"
    summary = "LoRA fine-tuning on the calibration examples"
    kind: Kind = "training"
    options = LoraArmOptions

    def refuses(self, lab: Lab) -> str | None:
        """Return which package is missing, or None."""
        return None if find_spec("peft") else "lora needs peft: pip install 'prosopon[compare]'"

    def prepare(self, lab: Lab) -> Ready:
        """Learn the persona from the calibration examples.

        Raises:
            DataError: There are fewer calibration examples than asked for.
            OptionError: A bad option, or peft is missing.
            ModelError: The training diverges.
        """
        parsed = self.parse(lab.options)
        if parsed.max_loss:
            lab.extractor.held_out()  # shared by all arms
        dial = self.dial(lab)
        return dial.within(parsed.max_loss) if parsed.max_loss else dial.at(parsed.scale)

    def dial(self, lab: Lab) -> ScaleDial:
        """Train once, for every scale; raises as :meth:`prepare` does."""
        parsed = self.parse(lab.options)
        if reason := self.refuses(lab):
            raise OptionError(reason)
        self.read_shared(lab)
        clock = Clock()
        adapter = self.train(lab, parsed)

        @contextmanager
        def wear(scale: float) -> Iterator[None]:
            state = scaled(adapter.state, scale)
            with adapted(lab.model, r=adapter.r, alpha=adapter.alpha, state=state) as worn:
                for parameter in worn.values():
                    parameter.requires_grad_(False)
                yield

        values = adapter.state.values()
        details = {
            "r": adapter.r, "alpha": adapter.alpha, **adapter.details,
            "parameters": sum(value.numel() for value in values),
        }  # fmt: skip
        size = sum(value.numel() * value.element_size() for value in values)
        return ScaleDial(lab, [Candidate(wear, wear, {})], Cost(clock.seconds(), size, details))

    def read_shared(self, lab: Lab) -> None:
        """Read what every persona of the model shares, before the clock starts."""

    def train(self, lab: Lab, options: Any) -> Adapter:
        """Return the adapter that the calibration examples teach."""
        target, _ = lab.contrast.drawn(lab.examples, lab.seed)
        return train_side(lab, target, options, "training LoRA")


def train_side(lab: Lab, persona: Persona, options: LoraArmOptions, stage: str) -> Adapter:
    """Return an adapter that gives a persona's answers."""
    twins = [(example, example) for example in persona.examples]
    learned = [one for one, _ in with_word_dropout(twins, options.word_dropout, lab.seed)]
    texts = lab.extractor.encode(replace(persona, examples=tuple(learned)), "response")
    steps = options.steps or options.epochs * ceil(len(texts) / options.batch)
    with adapted(lab.model, r=options.r, alpha=options.alpha, seed=lab.seed, state=None) as values:
        training = train(
            lab.model, values, texts, steps=steps, batch=options.batch, rate=options.lr,
            seed=lab.seed, max_tokens=lab.extractor.max_tokens, report=counter(lab, stage, steps),
        )  # fmt: skip
        return Adapter.of(values, options, training, training.examples)


ARMS.add("lora", LoraArm())
