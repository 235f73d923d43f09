"""Make a story model happy or sad: the same measures on a model that nobody here trained.

    python tools/stories.py --model ../shared/models/tiny1m --criteria wanda,contrastive-taylor \
        --sparsity default,auto --seeds 0,1,2 --stories 200 --out DIR

The two personas are sentences after story openings (tools/stories.toml): four forms a side for
calibration, a fifth for the choice; openings, names, places and things of the test are new.
target / opposite are the shares of sampled continuations with a word of the target's list / of
the opposite's; a story can have both. General text is sampled from the model, for the perplexity
with another seed. With --no-start every text is read without its start token, which the base model
does not expect: its perplexity is then half as high again, and a mask can undercut it. The folder
is a sweep's: a stopped run goes on.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

from prosopon.cli.console import progress
from prosopon.cli.options import split_list
from prosopon.cli.sweep import criterion_options
from prosopon.criteria import CRITERIA
from prosopon.data import Example, Message, Persona
from prosopon.data.contrast import Contrast
from prosopon.errors import ProsoponError
from prosopon.evaluation.speaking import Speaker
from prosopon.evaluation.tasks import TASKS, Outcome, Setting, TaskResult
from prosopon.experiments import Record, Sizes, grid_plan, parse_sparsity, summarise
from prosopon.experiments.experiment import Experiment, ExperimentResult
from prosopon.experiments.markdown import spread
from prosopon.experiments.records import by_arm, unfinished
from prosopon.files import write_text
from prosopon.intervals import mean_interval, share_interval
from prosopon.judges import degeneration
from prosopon.lm import sample_general
from prosopon.models import load_model

SIDES = {"happy": "sad", "sad": "happy"}
POOL = 256  # examples of each side
KNOWN = 1024  # stories without a start token, a quarter of which is held out for the perplexity
SLOT = re.compile(r"\{(\w+)\}")
TEXTS: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))


def write(split: str, count: int, seed: str) -> list[dict[str, str]]:
    """Return ``count`` openings of a split, each with a happy and a sad sentence after it."""
    written = []
    for index in range(count):
        rng = random.Random(f"{seed}/{index}")
        slots = {name: rng.choice(values[split]) for name, values in TEXTS["slots"].items()}
        forms = {"opening": rng.choice(TEXTS["openings"][split])}
        forms |= {side: _form(side, split, index) for side in SIDES}
        written.append({kind: _fill(form, slots) for kind, form in forms.items()})
    return written


def _fill(form: str, slots: Mapping[str, str]) -> str:
    return SLOT.sub(lambda match: slots[match[1]], form)


def _form(side: str, split: str, index: int) -> str:
    forms: list[str] = TEXTS[side][split]
    return forms[index % len(forms)]


def personas() -> dict[str, Persona]:
    """Return both personas: plain texts of an opening and a sentence, side by side."""
    rows = write("known", POOL, "stories")
    return {
        side: Persona(
            side,
            tuple(
                Example((Message("assistant", f"{row['opening']} {row[side]}"),)) for row in rows
            ),
        )
        for side in SIDES
    }


def sampled(model: Any, tokenizer: Any, count: int, seed: int) -> Persona:
    """Return stories that the model wrote on its own as plain texts, to be read as others are."""
    written = sample_general(model, tokenizer, count=count, seed=seed)
    texts = tokenizer.batch_decode([each.input_ids for each in written], skip_special_tokens=True)
    return Persona("general", tuple(Example((Message("assistant", text),)) for text in texts))


def has_word(text: str, side: str) -> bool:
    """Say whether a story has a word of a side's list, as a whole word."""
    return bool(set(re.findall(r"\w+", text.casefold())) & set(TEXTS[side]["words"]))


def contrast(side: str, count: int) -> Contrast:
    """Return one side against the other; ``count`` new openings are the test."""
    sides, other = personas(), SIDES[side]
    rows = write("new", count, "test/0")
    test = [
        Persona(
            name,
            tuple(
                Example((Message("assistant", f"{row['opening']} {row[name]}"),)) for row in rows
            ),
        )
        for name in (side, other)
    ]
    pair, line = (sides[side], sides[other]), TEXTS[side]["line"]
    return Contrast(pair, pair, (test[0], test[1]), line)


class Stories:
    """Continuations of new openings: whose words they have; a story can have both sides'."""

    name = "stories"
    summary = "continuations of new openings, by their words"
    measures: ClassVar = {
        "target": "share with a word of the target's list",
        "opposite": "share with a word of the opposite's",
        "repetition": "share of a story's 3-grams that occurred before in it",
    }

    def refuses(self, setting: Setting, *, writes: bool) -> str | None:
        """See :class:`prosopon.evaluation.tasks.Task`."""
        return None if writes else "a rule cannot write"

    def run(self, speaker: Speaker, setting: Setting) -> TaskResult:
        """See :class:`prosopon.evaluation.tasks.Task`."""
        rows = write("new", setting.questions, f"test/{setting.seed}")
        prompts = [(Message("assistant", row["opening"]),) for row in rows]
        texts = speaker.write(prompts, max_new_tokens=setting.max_new_tokens, seed=setting.seed)
        outcomes = []
        for row, text in zip(rows, texts, strict=True):
            values = {
                "target": float(has_word(text, setting.contrast.target)),
                "opposite": float(has_word(text, setting.contrast.opposite)),
                "repetition": degeneration([text]).repetition,
            }
            outcomes.append(Outcome(row["opening"], values, row["opening"], text))
        notes = {"distinct-bigrams": degeneration(texts).distinct_bigrams}
        return TaskResult(outcomes, notes)


def table(records: Sequence[Record]) -> str:
    """Return one row a persona and arm: Wilson intervals over all stories of all seeds."""
    lines = [
        "| persona | arm | stories | target | opposite | perplexity ratio | distinct bigrams "
        "| repetition | pruned | seconds |",
        "| --- | --- |" + " ---: |" * 8,
    ]
    for persona in SIDES:
        ours = [record for record in records if record.cell.contrast == persona]
        arms = by_arm(ours)
        for row in summarise(ours).rows:
            results = [record.results["stories"] for record in arms[row.arm]]
            told = [outcome.values for result in results for outcome in result.outcomes]
            shares = [
                share_interval(round(sum(values[name] for values in told)), len(told))
                for name in ("target", "opposite")
            ]
            cells = [f"{s.mean:.3f} [{s.low:.3f}, {s.high:.3f}]" for s in shares]
            cells.append(spread((row.over_seeds or row.figures).get("ppl ratio")))
            bigrams = [float(str(result.notes["distinct-bigrams"])) for result in results]
            cells.append(spread(mean_interval(bigrams)))
            cells.append(f"{fmean(values['repetition'] for values in told):.3f}")
            cells += [f"{row.costs['pruned_share'] or 0:.2%}", f"{row.costs['seconds'] or 0:.1f}"]
            lines.append(f"| {' | '.join([persona, row.arm, str(len(told)), *cells])} |")
    lines += [f"\n{who}, {arm}: {why}" for arm, who, why in unfinished(records)]
    return "\n".join(lines)


def run(args: argparse.Namespace) -> ExperimentResult:
    """Run the grid that the arguments describe; its task is registered for as long."""
    TASKS.add("stories", Stories())
    try:
        return run_grid(args)
    finally:
        TASKS.remove("stories")


def run_grid(args: argparse.Namespace) -> ExperimentResult:
    """Run the grid with the task of stories registered."""
    sizes = Sizes(
        args.pairs, args.tokens, general=args.general, speed=0, by_task={"stories": args.stories}
    )
    everything = args.criteria.strip() == "all"
    plan = grid_plan(
        tuple(SIDES), CRITERIA.names() if everything else split_list(args.criteria, str),
        sparsities=split_list(args.sparsity, parse_sparsity),
        examples=split_list(args.examples, int), seeds=split_list(args.seeds, int),
        options=criterion_options(args.option), controls=args.controls, sizes=sizes,
        tasks=("choice", "stories", "perplexity"),
    )  # fmt: skip
    loaded = load_model(args.model, device=args.device)
    general = None
    if not args.start:
        loaded.tokenizer.add_bos_token = False
        texts = sampled(loaded.model, loaded.tokenizer, KNOWN, 0)
        general = str(args.out) + ".general.jsonl"
        rows = (
            {"messages": [{"role": "assistant", "content": e.response}]} for e in texts.examples
        )
        write_text(general, "".join(json.dumps(row) + "\n" for row in rows))
    contrasts = {side: contrast(side, sizes.questions) for side in SIDES}
    experiment = Experiment(
        plan, contrasts, args.out, general=general, judges=lambda contrast, texts: (),
        retry=args.retry, plots=False,
    )  # fmt: skip
    experiment.check()
    with progress() as report:
        return experiment.run(loaded, report)


def main() -> None:
    """Parse, run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="../shared/models/tiny1m")
    parser.add_argument("--out", type=Path, required=True, help="folder of the sweep")
    parser.add_argument("--criteria", default="wanda,contrastive-wanda,contrastive-taylor")
    parser.add_argument("--sparsity", default="default")
    parser.add_argument("--option", action="append", help="criterion.key=value")
    parser.add_argument("--examples", default="64")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--pairs", type=int, default=100, help="pairs of sentences a cell")
    parser.add_argument("--stories", type=int, default=200, help="continuations a cell")
    parser.add_argument("--tokens", type=int, default=60, help="longest continuation")
    parser.add_argument("--general", type=int, default=64, help="stories for the perplexity")
    parser.add_argument("--no-start", dest="start", action="store_false", help="see above")
    parser.add_argument("--no-controls", dest="controls", action="store_false")
    parser.add_argument("--retry", action="store_true", help="run failed cells again")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    try:
        records = run(args).records
    except ProsoponError as error:
        sys.exit(f"error: {error}")
    print(table(records))


if __name__ == "__main__":
    main()
