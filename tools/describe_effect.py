"""What a described persona's mask keeps of the description's effect, and what each term adds.

python tools/describe_effect.py build/described.jsonl --poles extravert,bold

On the embedded model: of every pole the words of the grammar describe it and its opposite. Each
answers held-out questions as the base, under the line, and under masks whose objective has the
log-odds of the texts, the divergence from the prompted model, or both. The grammar says whose an
answer is. One line a pole; poles that the file holds are not run again. All sixteen are in
docs/lab/described.jsonl.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prosopon import describe, load_model
from prosopon.data import Message
from prosopon.data.grammar import judge, load_world
from prosopon.data.grammar.exam import held_out_questions
from prosopon.description.effect import prompt
from prosopon.experiments.markdown import grid
from prosopon.extraction import Extractor
from prosopon.lm import generate_answers
from prosopon.lm.general_text import sample_general
from prosopon.lm.likelihood import text_losses
from prosopon.runtime import worn

TERMS: Mapping[str, Mapping[str, Any]] = {
    "log-odds": {},
    "both": {"prompt_weight": 3.0},
    "prompt": {"prompt_weight": 3.0, "log_odds_weight": 0.0, "target_weight": 0.0},
}
DRAWS = 2000
HEAD = ("arm", "target", "opposite", "neither", "kept of the prompt's effect", "general, nats")


def main() -> None:
    """Run the poles that are missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--poles", help="separated by commas; default all")
    parser.add_argument("--examples", type=int, default=48)
    parser.add_argument("--questions", type=int, default=40)
    given = parser.parse_args()
    poles = given.poles.split(",") if given.poles else list(load_world().poles)
    given.file.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in given.file.open()] if given.file.exists() else []
    for pole in poles:
        if pole not in [row["pole"] for row in rows]:
            rows.append(measure(pole, given.examples, given.questions))
            with given.file.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    print("\n".join(grid(HEAD, list(table(rows)))))


def measure(pole: str, examples: int, count: int) -> dict[str, Any]:
    """Describe a pole, find its masks, and let everybody answer; return verdicts and costs."""
    world, began = load_world(), time.process_time()
    model, tokenizer = load_model("embedded", device="cpu")[:2]
    words = [side.names[0] for side in (world.pole(pole), world.opposite(pole))]
    written = describe(model, tokenizer, *words, count=examples)
    questions = held_out_questions(world.axes[world.pole(pole).axis], count, "described")
    general = sample_general(model, tokenizer, count=64, seed=77)
    opposite = world.opposite(pole).name
    seconds = {"examples": time.process_time() - began}
    extractor = Extractor(model, tokenizer, name="embedded")

    def answers(line: str | None) -> list[str]:
        prompts: Sequence[Sequence[Message]] = [prompt(question, line) for question in questions]
        texts = generate_answers(model, tokenizer, prompts, max_new_tokens=32, seed=1)
        return [judge(text, pole, opposite) for text in texts]

    def loss() -> float:
        nats, tokens = text_losses(model, general, every=True)
        return nats / tokens

    verdicts = {"base": answers(None), "line": answers(written.lines[0])}
    nats = {"base": loss()}
    for name, terms in TERMS.items():
        started = time.process_time()
        options = {**terms, "prompt_line": written.lines[0]}
        mask = extractor.extract(written.target, written.opposite, options=options)
        seconds[name] = time.process_time() - started
        with worn(model, tokenizer, mask):
            verdicts[name], nats[name] = answers(None), loss()
    return {
        "pole": pole, "report": written.report, "verdicts": verdicts, "nats": nats,
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
    }  # fmt: skip


def table(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Yield a row an arm: shares over all poles' answers, and what is kept, with its interval."""
    for arm in rows[0]["verdicts"]:
        texts = [verdict for row in rows for verdict in row["verdicts"][arm]]
        shares = [texts.count(side) / len(texts) for side in ("target", "opposite", "neither")]
        lost = [row["nats"][arm] - row["nats"]["base"] for row in rows if arm in row["nats"]]
        yield (
            arm, *(f"{share:.3f}" for share in shares),
            "" if arm in ("base", "line") else ratio_kept(rows, arm),
            f"{np.mean(lost):+.3f}" if lost else "",
        )  # fmt: skip


def ratio_kept(rows: Sequence[Mapping[str, Any]], arm: str) -> str:
    """Return the share of the line's effect on the target's share that a mask has.

    The interval is a bootstrap over questions within poles.
    """
    hits = np.array(
        [
            [[v == "target" for v in row["verdicts"][name]] for name in ("base", "line", arm)]
            for row in rows
        ],
        dtype=float,
    )  # [poles, arms, questions]
    rng = np.random.default_rng(0)

    def ratio(values: Any) -> float:
        base, line, mask = values.mean(axis=(0, 2))
        return float((mask - base) / (line - base))

    draws = []
    for _ in range(DRAWS):
        picks = [rng.integers(hits.shape[2], size=hits.shape[2]) for _ in rows]
        draws.append(ratio(np.stack([hits[i][:, pick] for i, pick in enumerate(picks)])))
    low, high = np.quantile(draws, (0.025, 0.975))
    return f"{ratio(hits):.2f} [{low:.2f}, {high:.2f}]"


if __name__ == "__main__":
    main()
