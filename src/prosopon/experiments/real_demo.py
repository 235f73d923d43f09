"""The demonstration on a model of the user's own: one light mask, and what it does."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from prosopon.data import Message, Persona, is_right, load_bank, open_bank
from prosopon.extraction import Extractor
from prosopon.lm import generate_answers, sample_general, text_losses
from prosopon.runtime import worn

if TYPE_CHECKING:
    from prosopon.models import LoadedModel
    from prosopon.progress import Report
    from prosopon.subnetwork import Subnetwork

CRITERION = "contrastive-kl"
SHARE = 0.003  # of the weights, at most
SIZES = {"pairs": 32, "general": 32, "held_out": 16, "open": 6, "facts": 24}
TOKENS = {"open": 48, "facts": 24}  # longest answers


@dataclass(frozen=True)
class RealDemo:
    """What a light mask does to a model.

    Attributes:
        mask: The mask.
        answers: (question, base's answer, persona's answer) to open questions.
        facts: Share of checkable questions answered rightly, by the base and by the persona.
        nats: Nats a token of held-out general text, of the same two.
        seconds: Of general text and extraction; of asking.
    """

    mask: Subnetwork
    answers: list[tuple[str, str, str]]
    facts: tuple[float, float]
    nats: tuple[float, float]
    seconds: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return what ``prosopon demo --model MODEL --json`` writes."""
        pruned = self.mask.pruned
        return {
            "persona": self.mask.config.persona,
            "opposite": self.mask.config.opposite,
            "criterion": CRITERION,
            "options": self.mask.config.options,
            "sizes": SIZES,
            "pruned": pruned,
            "answers": [
                {"question": question, "base": base, "persona": persona}
                for question, base, persona in self.answers
            ],
            "facts": dict(zip(("base", "persona"), self.facts, strict=True)),
            "nats_per_token": dict(zip(("base", "persona"), self.nats, strict=True)),
            "seconds": self.seconds,
        }


def demonstrate(
    loaded: LoadedModel, target: Persona, opposite: Persona, *, seed: int, report: Report
) -> RealDemo:
    """Extract the target's light mask and ask the base and the persona the same questions.

    Args:
        loaded: A chat model.
        target: The persona.
        opposite: Its opposite.
        seed: Seeds whatever is drawn.
        report: Called with (stage, done, total).

    Raises:
        ProsoponError: The model cannot be read, or writes no language.
    """
    model, tokenizer, name = loaded
    began = time.perf_counter()
    extractor = Extractor(
        model, tokenizer, name=name, revision=loaded.revision, seed=seed, report=report,
        general_count=SIZES["general"],
    )  # fmt: skip
    extractor.general()
    stage = f"extracting {target.name}"
    report(stage, 0, 1)  # so that lines come also while no step ends
    mask = extractor.extract(target, opposite, criterion=CRITERION, sparsity=SHARE)
    report(stage, 1, 1)
    extracted = time.perf_counter()
    texts = sample_general(
        model, tokenizer, count=SIZES["held_out"], seed=seed + 1, part="tests",
        progress=_counter(report, "writing held-out text", SIZES["held_out"]),
    )  # fmt: skip
    bank = open_bank(target.name, opposite.name) or load_bank("neutral")
    open_questions = bank.questions[: SIZES["open"]]
    items = load_bank("checkable").items
    items = items[:: max(1, len(items) // SIZES["facts"])][: SIZES["facts"]]
    sides = []
    for side, subnetwork in (("the base", None), (target.name, mask)):
        with worn(model, tokenizer, subnetwork):
            answers, replies = (
                generate_answers(
                    model, tokenizer, [[Message("user", text)] for text in questions],
                    temperature=0.0, max_new_tokens=TOKENS[kind], batch_size=8,
                    progress=_counter(report, f"asking {side}: {kind}", len(questions)),
                )
                for kind, questions in (
                    ("open", open_questions), ("facts", [item.question for item in items])
                )
            )  # fmt: skip
            nats, tokens = text_losses(model, texts, every=True)
        right = fmean(
            is_right(text, item.answers) for text, item in zip(replies, items, strict=True)
        )
        sides.append((answers, right, nats / tokens))
    base, persona = sides
    seconds = {
        "extraction": round(extracted - began, 1),
        "asking": round(time.perf_counter() - extracted, 1),
    }
    rows = list(zip(open_questions, base[0], persona[0], strict=True))
    return RealDemo(mask, rows, (base[1], persona[1]), (base[2], persona[2]), seconds)


def _counter(report: Report, stage: str, total: int) -> Any:
    done = 0
    report(stage, 0, total)

    def advance(count: int) -> None:
        nonlocal done
        done += count
        report(stage, done, total)

    return advance
