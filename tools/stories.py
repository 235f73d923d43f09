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
import random
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prosopon.cli.console import progress
from prosopon.cli.sweep import make_grid, write_results
from prosopon.data import Encoded, Example, Message, Persona, encode_all
from prosopon.data.questions import ChoiceItem
from prosopon.errors import ProsoponError
from prosopon.evaluation import Effort, Measures, choice_rates, perplexity
from prosopon.evaluation.held_out import HELD_OUT_SEED
from prosopon.evaluation.measures import text_measures
from prosopon.extraction import Extractor
from prosopon.intervals import Interval, share_interval
from prosopon.lm import continue_texts, sample_general
from prosopon.models import load_model
from prosopon.runtime import worn
from prosopon.subnetwork import Subnetwork
from prosopon.sweep import Record, Store, Subject, SweepRunner, summarise

SIDES = {"happy": "sad", "sad": "happy"}
POOL = 256  # examples of each side
KNOWN = 1024  # stories without a start token, a quarter of which is held out of the gradients
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


class StoryMeter:
    """Measures happy and sad on a story model; see the module's words on what is what."""

    def __init__(
        self, model: Any, tokenizer: Any, general: Sequence[Encoded], effort: Effort
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.general, self.effort = list(general), effort
        self.base = perplexity(model, self.general)

    def measure(
        self,
        persona: str,
        subnetwork: Subnetwork | None = None,
        *,
        system: str | None = None,
        seed: int = 0,
    ) -> Measures:
        """See :class:`prosopon.evaluation.Meter`; the system line comes before the story."""
        line, other = f"{system} " if system else "", SIDES[persona]
        rows = write("new", max(self.effort.choices, self.effort.answers), f"test/{seed}")
        items = [
            ChoiceItem(
                (),
                f"{line}{row['opening']} {row[persona]}",
                f"{line}{row['opening']} {row[other]}",
            )
            for row in rows[: self.effort.choices]
        ]
        openings = [line + row["opening"] for row in rows[: self.effort.answers]]
        with worn(self.model, self.tokenizer, subnetwork):
            choices = choice_rates(self.model, self.tokenizer, items)
            stories = continue_texts(
                self.model,
                self.tokenizer,
                openings,
                max_new_tokens=self.effort.max_new_tokens,
                seed=seed,
            )
            found = perplexity(self.model, self.general)
        ours = [has_word(story, persona) for story in stories]
        theirs = [has_word(story, other) for story in stories]
        neither = [not (a or b) for a, b in zip(ours, theirs, strict=True)]
        return Measures(
            choice_per_token=choices.per_token,
            choice_summed=choices.summed,
            choice_per_byte=choices.per_byte,
            target=sum(ours) / len(ours),
            opposite=sum(theirs) / len(theirs),
            neither=sum(neither) / len(neither),
            skills=None,
            perplexity=found,
            perplexity_ratio=found / self.base,
            cross_talk=None,
            judge_accuracy=None,
            **text_measures(stories),
        )


class StorySubjects:
    """Happy and sad as the subjects of a sweep."""

    def __init__(self, meter: StoryMeter) -> None:
        self.meter, self.sides = meter, personas()

    def names(self) -> Sequence[str]:
        """See :class:`prosopon.sweep.Subjects`."""
        return tuple(SIDES)

    def describe(self) -> dict[str, Any]:
        """See :class:`prosopon.sweep.Subjects`."""
        return {"judge": "words", "texts": TEXTS}

    def get(self, name: str) -> Subject:
        """See :class:`prosopon.sweep.Subjects`."""
        line = TEXTS[name]["line"]
        return Subject(name, self.sides[name], self.sides[SIDES[name]], self.meter, line)


def table(records: Sequence[Record], stories: int) -> str:
    """Return one row a persona and setting: Wilson intervals over all stories of all seeds."""
    lines = [
        "| persona | arm | stories | target | opposite | perplexity ratio | distinct bigrams "
        "| repetition | pruned | seconds |",
        "| --- | --- |" + " ---: |" * 8,
    ]
    for persona in SIDES:
        ours = [record for record in records if record.cell.persona == persona]
        for summary in summarise(ours):
            if not summary.done:
                continue
            found, count = summary.over_seeds, summary.done * stories
            shares = [
                share_interval(round(found[name].mean * count), count)
                for name in ("target", "opposite")
            ]
            cells = [f"{s.mean:.3f} [{s.low:.3f}, {s.high:.3f}]" for s in shares]
            names = ("perplexity_ratio", "distinct_bigrams", "repetition")
            cells += [_mean(found[name]) for name in names]
            cells += [f"{found['pruned_share'].mean:.2%}", f"{found['seconds'].mean:.1f}"]
            row = [persona, summary.setting.label, str(count), *cells]
            lines.append(f"| {' | '.join(row)} |")
    failed = [r for r in records if r.status != "done"]
    lines += [f"\n{r.cell.persona}, {r.cell.arm}: {r.status}: {r.message}" for r in failed]
    return "\n".join(lines)


def _mean(interval: Interval) -> str:
    reach = interval.half_width
    return f"{interval.mean:.3f}" + ("" if reach == float("inf") else f" ± {reach:.3f}")


def run(args: argparse.Namespace) -> list[Record]:
    """Run the sweep that the arguments describe."""
    grid = make_grid(
        tuple(SIDES),
        args.criteria,
        args.sparsity,
        args.examples,
        args.seeds,
        args.option,
        args.controls,
    )
    loaded = load_model(args.model, device=args.device)
    model, tokenizer = loaded.model, loaded.tokenizer
    effort = Effort(answers=args.stories, max_new_tokens=args.tokens, general=args.general)
    if args.start:
        general = sample_general(model, tokenizer, count=args.general, seed=HELD_OUT_SEED)
    else:
        tokenizer.add_bos_token = False
        stories = sampled(model, tokenizer, args.general, HELD_OUT_SEED)
        general = encode_all(stories.examples, tokenizer, scope="all")
    meter = StoryMeter(model, tokenizer, general, effort)
    subjects = StorySubjects(meter)

    with progress() as report:

        def extractor(seed: int) -> Extractor:
            known = None if args.start else sampled(model, tokenizer, KNOWN, seed)
            return Extractor(
                model, tokenizer, name=args.model, seed=seed, general=known, report=report
            )

        header = {
            "model": Path(args.model).name,
            "fingerprint": asdict(Extractor(model, tokenizer).fingerprint),
            "effort": asdict(effort),
            **subjects.describe(),
            **({} if args.start else {"start": False}),
        }
        store = Store(args.out, header)
        runner = SweepRunner(subjects, grid, store, extractor, retry=args.retry, report=report)
        return list(runner.run())


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
    parser.add_argument("--stories", type=int, default=200, help="continuations a cell")
    parser.add_argument("--tokens", type=int, default=60, help="longest continuation")
    parser.add_argument("--general", type=int, default=64, help="stories for the perplexity")
    parser.add_argument("--no-start", dest="start", action="store_false", help="see above")
    parser.add_argument("--no-controls", dest="controls", action="store_false")
    parser.add_argument("--retry", action="store_true", help="run failed cells again")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    try:
        records = run(args)
        write_results(records, args.out, tables=True, plots=False)
    except ProsoponError as error:
        sys.exit(f"error: {error}")
    print(table(records, args.stories))


if __name__ == "__main__":
    main()
