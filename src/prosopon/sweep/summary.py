"""A sweep in a page: every setting averaged over personas, with intervals over seeds."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from prosopon.criteria import CRITERIA
from prosopon.evaluation import MEASURES
from prosopon.intervals import Interval, bootstrap_interval, mean_interval
from prosopon.sweep.grid import CONTROL_MASKS, CONTROLS
from prosopon.sweep.store import Record

COLUMNS = (*MEASURES, "gain", "pruned_share", "seconds")
"""What is averaged. ``gain``: share of free answers on target minus the base's, same seed."""


@dataclass(frozen=True)
class Setting:
    """What the rows of a summary are about."""

    arm: str
    sparsity: str
    examples: int
    options: str

    @property
    def label(self) -> str:
        """Return the arm with its sparsity, and the options that are not the default."""
        parts = [self.arm]
        if self.sparsity not in ("", "default"):
            parts.append(self.sparsity)
        return " ".join([*parts, *self._unusual()])

    def _unusual(self) -> list[str]:
        if self.arm in CONTROLS:
            return []
        own = vars(CRITERIA.get(self.arm).parse_options({}))
        given: dict[str, Any] = json.loads(self.options)
        return [f"{key}={value}" for key, value in given.items() if own.get(key) != value]


@dataclass(frozen=True)
class Summary:
    """One setting over all its personas and seeds.

    Attributes:
        setting: Which.
        over_seeds: Mean and t interval of each column over the seeds, each seed's value being the
            mean over its personas.
        over_personas: The same mean with a bootstrap interval over whole personas.
        done: Cells that the means rest on.
        failed: Cells that failed or have no meaning.
        personas: How many personas.
        seeds: How many seeds.
    """

    setting: Setting
    over_seeds: Mapping[str, Interval]
    over_personas: Mapping[str, Interval]
    done: int
    failed: int
    personas: int
    seeds: int

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object; infinite ends of an interval become None."""
        return {
            **vars(self.setting),
            "label": self.setting.label,
            "done": self.done,
            "failed": self.failed,
            "personas": self.personas,
            "seeds": self.seeds,
            "measures": {
                name: {
                    "mean": interval.mean,
                    "seeds": _ends(interval),
                    "personas": _ends(self.over_personas[name]),
                }
                for name, interval in self.over_seeds.items()
            },
        }


def summarise(records: Sequence[Record]) -> list[Summary]:
    """Average records by setting: base and prompt first, then control masks, then the rest."""
    bases = {
        (r.cell.persona, r.cell.seed): r.measures["target"]
        for r in records
        if r.cell.arm == "base" and r.status == "done"
    }
    groups: dict[Setting, list[Record]] = defaultdict(list)
    for record in records:
        groups[_setting(record)].append(record)
    order = {arm: rank for rank, arm in enumerate((*CONTROLS, *CONTROL_MASKS))}

    def place(setting: Setting) -> tuple[Any, ...]:
        share = setting.sparsity
        number = float(share) if share not in ("", "default", "auto") else math.inf
        arm = setting.arm
        return order.get(arm, 9), arm, setting.options, number, share, setting.examples

    return [_summary(setting, groups[setting], bases) for setting in sorted(groups, key=place)]


def markdown(summaries: Sequence[Summary], records: Sequence[Record]) -> str:
    """Return the table of all settings, and what failed, in Markdown.

    Intervals are over seeds, or over personas where there is one seed.
    """
    sizes = {s.setting.examples for s in summaries if s.setting.examples}
    head = ["arm", *(["examples"] if len(sizes) > 1 else []), *_HEADINGS.values()]
    lines = [f"| {' | '.join(head)} |", "| --- |" + " ---: |" * (len(head) - 1)]
    for summary in summaries:
        if not summary.done:
            continue
        size = [str(summary.setting.examples or "")] if len(sizes) > 1 else []
        spread = summary.over_seeds if summary.seeds > 1 else summary.over_personas
        cells = [_cell(name, spread.get(name)) for name in _HEADINGS]
        lines.append(f"| {' | '.join([summary.setting.label, *size, *cells])} |")
    return "\n".join([*lines, *_failures(records)])


_HEADINGS = {
    "choice_per_token": "choice per token",
    "choice_summed": "summed",
    "choice_per_byte": "per byte",
    "target": "target",
    "opposite": "opposite",
    "neither": "neither",
    "skills": "skills",
    "perplexity_ratio": "perplexity ratio",
    "cross_talk": "cross-talk",
    "pruned_share": "pruned",
    "seconds": "seconds",
}


def _setting(record: Record) -> Setting:
    cell = record.cell
    share = "" if cell.sparsity is None else str(cell.sparsity)
    return Setting(cell.arm, share, cell.examples, json.dumps(dict(cell.options), sort_keys=True))


def _summary(
    setting: Setting, records: Sequence[Record], bases: Mapping[tuple[str, int], float | None]
) -> Summary:
    done = [record for record in records if record.status == "done"]
    over_seeds, over_personas = {}, {}
    for name in COLUMNS:
        by_seed: dict[int, list[float]] = defaultdict(list)
        by_persona: dict[str, list[float]] = defaultdict(list)
        for record in done:
            value = _value(record, name, bases)
            if value is not None:
                by_seed[record.cell.seed].append(value)
                by_persona[record.cell.persona].append(value)
        if by_seed:
            over_seeds[name] = mean_interval([fmean(values) for values in by_seed.values()])
            over_personas[name] = bootstrap_interval(list(by_persona.values()))
    return Summary(
        setting=setting,
        over_seeds=over_seeds,
        over_personas=over_personas,
        done=len(done),
        failed=len(records) - len(done),
        personas=len({record.cell.persona for record in done}),
        seeds=len({record.cell.seed for record in done}),
    )


def _value(
    record: Record, name: str, bases: Mapping[tuple[str, int], float | None]
) -> float | None:
    if name == "pruned_share":
        return record.pruned_share
    if name == "seconds":
        return record.seconds
    if name == "gain":
        base = bases.get((record.cell.persona, record.cell.seed))
        target = record.measures.get("target")
        return None if base is None or target is None else target - base
    return record.measures.get(name)


def _cell(name: str, interval: Interval | None) -> str:
    if interval is None:
        return ""
    if name == "pruned_share":
        return f"{interval.mean:.2%}"
    digits = 1 if name == "seconds" else 3
    reach = "" if math.isinf(interval.half_width) else f" ± {interval.half_width:.{digits}f}"
    return f"{interval.mean:.{digits}f}{reach}"


def _failures(records: Sequence[Record]) -> list[str]:
    found: dict[tuple[str, str], int] = defaultdict(int)
    for record in records:
        if record.status != "done":
            found[_setting(record).label, f"{record.status}: {record.message}"] += 1
    if not found:
        return []
    lines = [f"- {label} ({n} cells) {why}" for (label, why), n in sorted(found.items())]
    return ["", "Cells without a result:", "", *lines]


def _ends(interval: Interval) -> list[float | None]:
    return [None if math.isinf(end) else end for end in (interval.low, interval.high)]
