"""The protocol of Ye et al. 2026 (arXiv 2602.07164), and what we add to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prosopon.errors import OptionError

SUFFIXES = (".jsonl", ".json", ".csv")


@dataclass(frozen=True)
class Protocol:
    """What a paper did.

    Attributes:
        source: The paper.
        models: Ids on the Hub.
        sets: Data sets with one line on each.
        calibration: Examples of each side.
        test: Test questions of a set.
        sparsity: Share pruned of every output row.
        arms: The paper's arms by our names.
        controls: Arms that we add.
        tasks: Tasks, the paper's first.
    """

    source: str
    models: tuple[str, ...]
    sets: dict[str, str]
    calibration: int
    test: int
    sparsity: float
    arms: tuple[str, ...]
    controls: tuple[str, ...]
    tasks: tuple[str, ...]


PAPER = Protocol(
    source="Ye et al., Your Language Model Secretly Contains Personality Subnetworks, ICLR 2026",
    models=("meta-llama/Llama-2-13b-hf", "meta-llama/Meta-Llama-3-8B", "Qwen/Qwen2.5-14B"),
    sets={
        "AI Persona": "power-seeking, wealth-seeking, hallucination: two-choice questions with a "
        "matching and a not-matching answer",
        "MBTI": "four opposite pairs, I/E, S/N, T/F, J/P",
        "RoleAgentBench": "Friends, Harry Potter, Sherlock, The Big Bang Theory, The Merchant of "
        "Venice (24 to 126 questions each)",
    },
    calibration=650,
    test=200,
    sparsity=0.3,
    arms=(
        "prompt-paper",
        "retrieval",
        "wanda",
        "sparsegpt",
        "contrastive-wanda",
        "contrastive-sparse",
        "lora",
    ),
    controls=(
        "base",
        "prompt",
        "random",
        "magnitude",
        "wanda-general",
        "opposite",
        "shortest",
        "always-yes",
        "always-a",
        "contrastive-taylor",
    ),
    tasks=("choice", "yes-no", "a-b", "free-text", "neutral", "perplexity"),
)
"""Published settings; what the paper leaves open is the released script's default."""

ADDED = (
    "the matching answer must win under four normalisations, not by the summed likelihood alone",
    "options are asked in both orders",
    "no persona system prompt stands under a mask (the released script adds one)",
    "free text, its degeneration, neutral ability and general perplexity beside every choice rate",
    "intervals over questions, paired tests with Holm's correction",
)


def data_files(folder: Path) -> list[Path]:
    """Return the data sets in a folder, sorted: one file a set.

    Raises:
        OptionError: It is no folder, or holds none.
    """
    if not folder.is_dir():
        raise OptionError(f"--data {folder}: there is no such folder")
    found = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    if not found:
        raise OptionError(
            f"--data {folder}: holds no data set; one {', '.join(SUFFIXES)} file each, with "
            "questions and a matching and a not-matching answer"
        )
    return found


def options(arms: tuple[str, ...], sparsity: float) -> dict[str, dict[str, str]]:
    """Return the options that put every mask of the paper at its sparsity."""
    masks = ("random", "magnitude", "wanda", "sparsegpt", "contrastive-wanda", "contrastive-sparse")
    return {arm: {"sparsity": str(sparsity)} for arm in arms if arm in (*masks, "wanda-general")}


def describe(protocol: Protocol) -> dict[str, Any]:
    """Return the protocol and what is added, as JSON values."""
    return {**vars(protocol), "added": list(ADDED)}
