"""The paper's tables in its layout, with its own figures beside ours and our controls as rows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prosopon.analysis.overlap import PairOverlap, pair_overlap
from prosopon.data.mbti import POLES
from prosopon.evaluation.tasks import TaskResult
from prosopon.experiments.columns import COLUMNS, Column, estimate, perplexity_ratio
from prosopon.experiments.markdown import COSTS, cost, grid
from prosopon.experiments.paper import AXES
from prosopon.experiments.paper_plan import PartName
from prosopon.experiments.records import Record, by_arm
from prosopon.files import write_json, write_text
from prosopon.intervals import Interval

if TYPE_CHECKING:
    from prosopon.experiments.experiment import ExperimentResult
    from prosopon.experiments.paper_plan import PaperPart

NAMES = {
    "prompt-paper": "prompt", "retrieval": "RAG", "wanda": "Wanda", "sparsegpt": "SparseGPT",
    "contrastive-wanda": "Contrastive-Wanda", "contrastive-sparse": "Contrastive-Sparse",
    "lora": "SFT", "random": "random mask", "shortest": "shortest option",
    "opposite": "the opposite's mask",
}  # fmt: skip
"""What the paper calls our arms, in its order, and our controls in words."""

CONTROLS = ("random", "shortest", "opposite")

PERSONAS = {
    "prompt-paper": (41.0, 44.0, 58.5), "retrieval": (45.5, 50.5, 64.5),
    "wanda": (51.5, 54.5, 89.0), "contrastive-wanda": (54.0, 66.0, 95.0),
    "contrastive-sparse": (56.5, 64.5, 96.0), "lora": (64.0, 71.0, 97.5),
    "shortest": (52.5, 55.5, 98.0), "always-a": (49.0, 50.0, 56.5),
}  # fmt: skip
"""AI Persona on Llama 2 13B, percent; the two rules are an audit's of the data, not the paper's."""

SETS = ("power", "wealth", "hallucination")  # what the names of the sets hold, of the scripts:
SCRIPTS = ("friends", "harry", "sherlock", "big", "venice")
ROLES = {
    "prompt-paper": (18.37, 42.06, 42.11, 29.55, 41.67),
    "contrastive-sparse": (51.02, 53.97, 60.53, 61.76, 70.83),
}
"""RoleAgentBench on Llama 3 8B, percent; of the masks the paper gives the sparse one."""

DIFFERENCES = {
    "IE": (1.34, 1.28, 1.44), "FT": (1.08, 1.03, 1.14), "NS": (0.75, 0.75, 0.76),
    "JP": (0.76, 0.73, 0.79),
}  # fmt: skip
"""Share of mask entries that differ between the ends of an axis, percent: all, attention, MLP."""

COSINES = {("INFJ", "INFP"): "0.9883 in layer 39"}
ABILITY = {"base": (0.378, 0.675), "wanda": (0.369, 0.668), "contrastive-sparse": (0.362, 0.653)}
"""MMLU and HellaSwag on Llama 3 8B."""

Findings = Mapping[PartName, "tuple[PaperPart, ExperimentResult]"]
Maker = Callable[["PaperPart", "ExperimentResult"], "list[PaperTable]"]
Cells = Callable[[list[Record]], Sequence[str]]


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper.

    Attributes:
        title: What it shows.
        head: Headings; the first is that of the rows' names.
        rows: Cells as text.
        note: How to read it.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


def paper_tables(findings: Findings) -> list[PaperTable]:
    """Return every table that there are results for, in the paper's order."""
    makers: Mapping[PartName, tuple[Maker, ...]] = {
        "ai-persona": (_personas, _ability, _costs), "mbti": (_axes, _masks),
        "mbti-types": (_types, _type_masks), "role-play": (_roles,),
        "sparsity": (_sensitivity,), "calibration": (_sensitivity,),
    }  # fmt: skip
    return [
        table
        for name, own in makers.items()
        if name in findings
        for make in own
        for table in make(*findings[name])
    ]


def write_paper_tables(tables: Sequence[PaperTable], notes: Sequence[str], folder: Path) -> Path:
    """Write ``tables.md`` and ``tables.json``."""
    lines = ["# The paper's tables", "", *(f"- {note}" for note in notes)]
    for table in tables:
        lines += ["", f"## {table.title}", "", table.note, "", *grid(table.head, table.rows)]
    write_text(folder / "tables.md", "\n".join(lines) + "\n")
    write_json(folder / "tables.json", {"tables": [asdict(table) for table in tables]})
    return folder / "tables.md"


def _personas(part: PaperPart, result: ExperimentResult) -> list[PaperTable]:
    note = (
        "Percent of test questions whose matching answer is likelier; *summed* is the paper's "
        "rule, which favours short answers. In brackets 95% intervals over questions, then the "
        "paper's figure (Llama 2 13B), or an audit's of its data for the two rules. *Loss*: nats a "
        "token that general text loses against the base, and the ratio of the perplexities."
    )
    columns = {name: name for name in part.contrasts}
    return [_by_column("AI Persona", result, columns, SETS, PERSONAS, note)]


def _by_column(
    title: str,
    result: ExperimentResult,
    columns: Mapping[str, str],
    words: Sequence[str],
    published: Mapping[str, Sequence[float]],
    note: str,
) -> PaperTable:
    """Return a table with a column, by both rules, for every set or script.

    Args:
        title: Its title.
        result: What was found.
        columns: The set or script of every contrast.
        words: What the names of the paper's sets hold, in the order of its figures.
        published: The paper's figures by arm.
        note: How to read it.
    """
    base, names = _base(result.records), list(dict.fromkeys(columns.values()))
    places = [next((i for i, w in enumerate(words) if w in name.lower()), None) for name in names]

    def cells(records: list[Record]) -> list[str]:
        row = list[str]()
        figures = published.get(records[0].cell.arm.removesuffix(" under the prompt"))
        for name, place in zip(names, places, strict=True):
            own = [record for record in records if columns[record.cell.contrast] == name]
            figure = None if figures is None or place is None else figures[place]
            row += [_percent(_choice(own, "summed"), figure), _percent(_choice(own, "per-token"))]
        return [*row, _loss(records, base)]

    head = [f"{name}, {rule}" for name in names for rule in ("summed", "per token")]
    return PaperTable(title, ("method", *head, "loss"), _rows(result, cells), note)


def _ability(part: PaperPart, result: ExperimentResult) -> list[PaperTable]:
    base = _base(result.records)

    def cells(records: list[Record]) -> list[str]:
        right = estimate(records, Column("", "facts", "right", ""))
        paper = ABILITY.get(records[0].cell.arm, ("-", "-"))
        return [_percent(right), _loss(records, base), *(str(figure) for figure in paper)]

    if not any("facts" in record.results for record in result.records):
        return []
    head = ("method", "facts right", "loss", "paper: MMLU", "paper: HellaSwag")
    note = (
        "*Facts*: percent of neutral questions with short answers that were answered rightly. MMLU "
        "and HellaSwag are not asked here: `prosopon lm-eval` does that."
    )
    return [PaperTable("General ability", head, _rows(result, cells), note)]


def _axes(part: PaperPart, result: ExperimentResult) -> list[PaperTable]:
    axes, base = _axes_of(part.contrasts), _base(result.records)
    texts = any("free-text" in record.results for record in result.records)
    extra = ("text: target", "opposite", "neither", "recital") if texts else ()

    def cells(records: list[Record]) -> list[str]:
        row = []
        for axis in axes:
            ends = [[r for r in records if r.cell.contrast == POLES[one]] for one in axis]
            shares = ", ".join(
                f"{one} {_short(_choice(end, 'per-token'))}"
                for one, end in zip(axis, ends, strict=True)
            )
            both = _percent(_choice([*ends[0], *ends[1]], "per-token"))
            row.append(f"{both} ({shares})")
        return [*row, *(_percent(_column(records, name)) for name in extra), _loss(records, base)]

    note = (
        "Percent of held-out questions whose matching answer is likelier per token, mean of the "
        "two ends of an axis, each under its own mask or prompt: what a model prefers by itself "
        "cancels, so that the base and a random mask have 50. The paper gives no figure here."
    )
    head = ("method", *map("/".join, axes), *extra, "loss")
    return [PaperTable("MBTI by axis", head, _rows(result, cells), note)]


def _types(part: PaperPart, result: ExperimentResult) -> list[PaperTable]:
    base = _base(result.records)

    def cells(records: list[Record]) -> list[str]:
        row = []
        for kind in part.contrasts:
            own = [record for record in records if record.cell.contrast == kind]
            shares = (
                f"{letter} {_short(_choice([*_only(own, part.letters[letter])], 'per-token'))}"
                for letter in kind
            )
            row.append(f"{_percent(_choice(own, 'per-token'))} ({', '.join(shares)})")
        return [*row, _loss(records, base)]

    note = (
        "One mask or prompt for a whole type, asked on its four axes: percent of questions whose "
        "matching answer is likelier per token. The paper gives no figure for this table."
    )
    head = ("method", *part.contrasts, "loss")
    return [PaperTable("MBTI by type", head, _rows(result, cells), note)]


def _masks(part: PaperPart, result: ExperimentResult) -> list[PaperTable]:
    differing, cosines = list[tuple[str, ...]](), list[tuple[str, ...]]()
    for arm in _mask_arms(result):
        for axis in _axes_of(part.contrasts):
            pair = _pair(result, arm, (POLES[axis[0]], POLES[axis[1]]))
            if pair is None:
                continue
            shares = pair.differing()
            cells = [
                f"{shares.get(kind, math.nan):.2%} (paper {figure:.2f}%)"
                for kind, figure in zip(("all", "attention", "mlp"), DIFFERENCES[axis], strict=True)
            ]
            name = NAMES.get(arm, arm)
            differing.append((name, "-".join(axis), *cells, f"{pair.whole.expected_differing:.2%}"))
            cosines.append((name, "-".join(axis), *_cosines(pair), "-"))
    note = (
        "Share of mask entries that differ between the two ends of an axis; *chance*: of two masks "
        "that prune as many weights of every site at random. The paper's figures are of Llama 3 8B."
    )
    head = ("method", "axis", "all", "attention", "MLP", "chance")
    tables = [PaperTable("Mask differences by axis", head, tuple(differing), note)]
    return [*tables, _cosine_table("Layer cosine, the ends of an axis", cosines)]


def _type_masks(part: PaperPart, result: ExperimentResult) -> list[PaperTable]:
    rows = []
    for arm in _mask_arms(result):
        for pair, paper in COSINES.items():
            if set(pair) <= set(part.contrasts) and (shared := _pair(result, arm, pair)):
                rows.append((NAMES.get(arm, arm), "-".join(pair), *_cosines(shared), paper))
    return [_cosine_table("Layer cosine, similar types", rows)] if rows else []


def _roles(part: PaperPart, result: ExperimentResult) -> list[PaperTable]:
    note = (
        "Percent of held-out reactions whose right option is likelier than the wrong one that "
        "follows it, mean over a script's roles, each under its own mask or prompt."
    )
    columns = {name: part.groups[name] for name in part.contrasts}
    return [_by_column("Role-play by script", result, columns, SCRIPTS, ROLES, note)]


def _costs(part: PaperPart, result: ExperimentResult) -> list[PaperTable]:
    rows = [
        (_name(row.arm, row.registered), *(cost(name, row.costs.get(name)) for name in COSTS))
        for row in result.summary.rows
    ]
    note = "; ".join(f"*{name}*: {text}" for name, text in COSTS.items())
    note += ". The paper's files take 6.98 GB a persona of Llama 3 8B, a byte a weight."
    return [PaperTable("Efficiency", ("method", *COSTS), tuple(rows), note)]


def _sensitivity(part: PaperPart, result: ExperimentResult) -> list[PaperTable]:
    base = _base(result.records)

    def cells(records: list[Record]) -> list[str]:
        margin = estimate(records, Column("", "choice", "margin", ""))
        return [
            str(records[0].cell.options.get("sparsity", "-")), str(records[0].cell.examples or "-"),
            *(_percent(_choice(records, rule)) for rule in ("summed", "per-token")),
            "-" if margin is None else f"{margin.mean:+.3f}", _loss(records, base),
        ]  # fmt: skip

    head = ("method", "sparsity", "examples", "summed", "per token", "margin", "loss")
    title = f"Sensitivity to {part.name.replace('calibration', 'calibration size')}"
    note = f"On {next(iter(part.contrasts))}. The reviewers asked; the paper has no figure."
    return [PaperTable(title, head, _rows(result, cells), note)]


def _rows(result: ExperimentResult, cells: Cells) -> tuple[tuple[str, ...], ...]:
    """Return a row for every variant of an arm: the paper's methods first, in its order."""
    arms, order = by_arm(result.records), list(NAMES)

    def place(item: tuple[str, list[Record]]) -> int:
        name = item[1][0].cell.arm.removesuffix(" under the prompt")
        return order.index(name) if name in order else len(order)

    return tuple(
        (_name(arm, records[0].cell.arm), *cells(records))
        for arm, records in sorted(arms.items(), key=place)
    )


def _name(arm: str, registered: str) -> str:
    """Return what the paper calls an arm, with ours where variants have to be told apart."""
    called = NAMES.get(registered)
    if called is None or registered in CONTROLS:
        return called or arm
    return f"{called} ({arm})"


def _choice(records: Sequence[Record], measure: str) -> Interval | None:
    return estimate(records, Column("", "choice", measure, ""))


def _only(records: Sequence[Record], questions: frozenset[str]) -> Iterator[Record]:
    """Yield records with those of the choices that were asked in some questions."""
    for record in records:
        outcomes = [one for one in record.results["choice"].outcomes if one.question in questions]
        yield dataclasses.replace(record, results={"choice": TaskResult(outcomes)})


def _column(records: Sequence[Record], name: str) -> Interval | None:
    return estimate(records, next(column for column in COLUMNS if column.name == name))


def _percent(share: Interval | None, paper: float | None = None) -> str:
    beside = "" if paper is None else f" (paper {paper:.1f})"
    if share is None:
        return f"-{beside}"
    ends = f" [{100 * share.low:.0f}, {100 * share.high:.0f}]" if share.count > 1 else ""
    return f"{100 * share.mean:.1f}{ends}{beside}"


def _short(share: Interval | None) -> str:
    return "-" if share is None else f"{100 * share.mean:.0f}"


def _loss(records: Sequence[Record], base: Sequence[Record]) -> str:
    ratio = perplexity_ratio(records, base)
    if ratio is None:
        return "-"
    return f"{math.log(ratio.mean):+.3f} (x{ratio.mean:,.2f})"


def _base(records: Sequence[Record]) -> list[Record]:
    return [r for r in records if r.cell.arm == "base" and r.status == "done"]


def _axes_of(contrasts: Mapping[str, Any]) -> list[str]:
    return [axis for axis in AXES if all(POLES[letter] in contrasts for letter in axis)]


def _mask_arms(result: ExperimentResult) -> list[str]:
    arms = dict.fromkeys(record.cell.arm for record in result.records if record.kind == "mask")
    return list(arms)


def _pair(result: ExperimentResult, arm: str, names: tuple[str, str]) -> PairOverlap | None:
    """Return what two contrasts' masks share; they alone are in memory."""
    masks = result.runner.masks(arm, names)
    if len(masks) < len(names):
        return None
    return pair_overlap(names, masks[names[0]], masks[names[1]])


def _cosines(pair: PairOverlap) -> Iterator[str]:
    """Yield the cosines of both masks' kept sets in five layers from the first to the last."""
    layers = [overlap.cosine_kept for name, overlap in pair.by["layer"].items() if name.isdigit()]
    for part in range(5):
        value = layers[round(part * (len(layers) - 1) / 4)] if layers else None
        yield "-" if value is None else f"{value:.4f}"


def _cosine_table(title: str, rows: Sequence[tuple[str, ...]]) -> PaperTable:
    head = ("method", "pair", "first layer", "a quarter", "the middle", "three quarters", "last",
            "paper")  # fmt: skip
    note = (
        "Cosine between two masks, 1 where a weight is kept. Two random masks that prune 30 "
        "percent have 0.70: a high cosine by itself says little."
    )
    return PaperTable(title, head, tuple(rows), note)
