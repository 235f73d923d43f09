"""The arm ``lora``: LoRA fine-tuning on the target's calibration examples, by peft."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from math import ceil
from typing import Any

from prosopon.arms.adapter import adapted, train
from prosopon.arms.base import ARMS, Cost, Kind, Lab
from prosopon.arms.options import WithOptions
from prosopon.arms.ready import Clock, Ready, counter, speaker_of
from prosopon.data.dropout import with_word_dropout
from prosopon.errors import OptionError
from prosopon.evaluation.speaking import Speaker
from prosopon.options import option, require


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

    def __post_init__(self) -> None:
        for name in ("r", "epochs", "batch"):
            value = getattr(self, name)
            require(value >= 1, f"option {name}={value}: must be at least 1")
        require(self.steps >= 0, f"option steps={self.steps}: must not be negative")
        for name in ("alpha", "lr"):
            value = getattr(self, name)
            require(value > 0, f"option {name}={value}: must be above 0")
        share = self.word_dropout
        require(0 <= share <= 1, f"option word_dropout={share}: must be a share from 0 to 1")


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
        parsed: LoraArmOptions = self.parse(lab.options)
        if reason := self.refuses(lab):
            raise OptionError(reason)
        clock = Clock()
        target = lab.contrast.drawn(lab.examples, lab.seed)[0]
        twins = [(example, example) for example in target.examples]
        learned = [one for one, _ in with_word_dropout(twins, parsed.word_dropout, lab.seed)]
        texts = lab.extractor.encode(replace(target, examples=tuple(learned)), "response")
        steps = parsed.steps or parsed.epochs * ceil(len(texts) / parsed.batch)
        shape: dict[str, Any] = {"r": parsed.r, "alpha": parsed.alpha}
        with adapted(lab.model, **shape, seed=lab.seed, state=None) as parameters:
            losses = train(
                lab.model, parameters, texts, steps=steps, batch=parsed.batch, rate=parsed.lr,
                seed=lab.seed, max_tokens=lab.extractor.max_tokens,
                report=counter(lab, "training LoRA", steps),
            )  # fmt: skip
            state = {name: p.detach().cpu().clone() for name, p in parameters.items()}
        seconds = clock.seconds()

        @contextmanager
        def enter() -> Iterator[Speaker]:
            with adapted(lab.model, **shape, state=state) as worn:
                for parameter in worn.values():
                    parameter.requires_grad_(False)
                yield speaker_of(lab)

        details = {
            "parameters": sum(value.numel() for value in state.values()),
            "steps": steps,
            "first_loss": losses[0],
            "last_loss": losses[-1],
        }
        size = sum(value.numel() * value.element_size() for value in state.values())
        return Ready(Cost(seconds, size, shape | details), enter)


ARMS.add("lora", LoraArm())
