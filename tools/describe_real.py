"""What a description does to a real model as a system line, and what masks keep of it.

prosopon extract --model smollm2 --describe "A" --versus "B" --save pairs.jsonl --output mask
python tools/describe_real.py build/kept.jsonl pairs.jsonl mask --describe "A" --versus "B"

Base, line and masks answer everyday questions that no example answers. The base reads every
answer after the description and after the other one, in another wording than it was written
after: the log-odds say whose the answer is. One line an arm; arms that the file holds are not
run again.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from prosopon import Subnetwork, load_model, load_persona
from prosopon.data import load_bank
from prosopon.description.effect import prompt, read_odds
from prosopon.description.wordings import word_lines
from prosopon.experiments.markdown import grid
from prosopon.lm import generate_answers
from prosopon.lm.general_text import sample_general
from prosopon.lm.likelihood import text_losses
from prosopon.runtime import worn

DRAWS = 2000
HEAD = (
    "arm",
    "nats an answer",
    "likelier as described",
    "kept of the line",
    "words",
    "general, nats",
)


def main() -> None:
    """Run the arms that are missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("pairs", type=Path, help="what --save wrote")
    parser.add_argument("masks", type=Path, nargs="*")
    parser.add_argument("--describe", required=True)
    parser.add_argument("--versus", required=True)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--questions", type=int, default=64)
    given = parser.parse_args()
    given.file.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in given.file.open()] if given.file.exists() else []
    arms: dict[str, Path | None] = {"base": None, "line": None}
    arms |= {str(path): path for path in given.masks}
    missing = [arm for arm in arms if arm not in [row["arm"] for row in rows]]
    if missing:
        model, tokenizer = load_model(given.model, device="cpu")[:2]
        lines = (word_lines(given.describe, chat=True), word_lines(given.versus, chat=True))
        questions = left_over(given.pairs, given.questions)
        general = sample_general(model, tokenizer, count=32, seed=77)
    for arm in missing:
        path = arms[arm]
        mask = None if path is None else Subnetwork.from_pretrained(path)
        line = lines[0][0] if arm == "line" else None
        wearing = nullcontext() if mask is None else worn(model, tokenizer, mask)
        with wearing:
            prompts = [prompt(question, line) for question in questions]
            texts = generate_answers(
                model, tokenizer, prompts, temperature=0.8, max_new_tokens=48, seed=1
            )
            nats, tokens = text_losses(model, general, every=True)
        answers = [(q, 0, 0, text) for q, text in zip(questions, texts, strict=True)]
        odds = read_odds(model, tokenizer, lines, answers)
        rows.append({
            "arm": arm, "odds": odds, "general": nats / tokens,
            "answers": dict(zip(questions, texts, strict=True)),
        })  # fmt: skip
        with given.file.open("a") as file:
            file.write(json.dumps(rows[-1]) + "\n")
    print("\n".join(grid(HEAD, table(rows))))


def left_over(pairs: Path, count: int) -> list[str]:
    """Return questions of the bank that no example answers, of every kind alike."""
    persona = load_persona(str(pairs))
    asked = {example.messages[0].content for example in persona.examples}
    left = [item.question for item in load_bank("everyday").items if item.question not in asked]
    return [left[i * len(left) // count] for i in range(min(count, len(left)))]


def table(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return a row an arm, with bootstrap intervals over questions."""
    base, line = (np.array(row["odds"]) for row in rows[:2])
    picks = np.random.default_rng(0).integers(len(base), size=(DRAWS, len(base)))
    lines: list[tuple[str, ...]] = []
    for row in rows:
        odds = np.array(row["odds"])
        moved = odds[picks].mean(1) - base[picks].mean(1)
        ratios = moved / (line[picks].mean(1) - base[picks].mean(1))
        kept = (odds.mean() - base.mean()) / (line.mean() - base.mean())
        lines.append((
            str(row["arm"]), show(odds.mean(), odds[picks].mean(1)),
            show((odds > 0).mean(), (odds > 0)[picks].mean(1)),
            "" if row["arm"] in ("base", "line") else show(kept, ratios),
            f"{np.mean([len(text.split()) for text in row['answers'].values()]):.0f}",
            f"{row['general'] - rows[0]['general']:+.3f}",
        ))  # fmt: skip
    return lines


def show(value: float, draws: Any) -> str:
    """Return a figure with its 95% interval."""
    low, high = np.quantile(draws, (0.025, 0.975))
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


if __name__ == "__main__":
    main()
