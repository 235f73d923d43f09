"""``prosopon explain``: what masks share, where they lie, what they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from rich.measure import Measurement
from rich.table import Table
from typer import Option

from prosopon.cli.console import note, out, print_json, progress, say
from prosopon.cli.loading import load
from prosopon.cli.masks import find_mask, load_masks
from prosopon.cli.options import Json, Masks, ModelPlace, Output, Seed, in_english, split_list
from prosopon.errors import DataError, OptionError
from prosopon.progress import Report

if TYPE_CHECKING:
    from prosopon.analysis import Analysis, AnalysisPart, Probe, ProbeAxis, Section
    from prosopon.data import Encoded
    from prosopon.subnetwork import Subnetwork

SHOWN = {"overlap", "cross-talk", "faithfulness"}
"""Sections whose tables are printed."""

WIDEST = 1000
"""Columns of a terminal that every table fits in."""


def explain(
    personas: Masks,
    folder: Output,
    model: Annotated[
        str | None,
        Option(
            "--model",
            "-m",
            help="The masks' model, to wear them on: embedded, a folder, or an id on the Hub. "
            "Default: embedded if they are its masks, else none.",
        ),
    ] = None,
    target: Annotated[
        str | None,
        Option("--target", "-t", help="Ask these held-out examples: a file of a persona."),
    ] = None,
    opposite: Annotated[str | None, Option(help="Its opposite; as for extract.")] = None,
    parts: Annotated[
        str | None, Option(help="Of overlap,location,cross-talk,faithfulness. Default all.")
    ] = None,
    questions: Annotated[int, Option(min=2, help="Paired choices an axis.")] = 60,
    general: Annotated[
        str | None, Option(help="General text for the perplexity; default sampled.")
    ] = None,
    draws: Annotated[int, Option(min=1, help="Draws of random controls.")] = 3,
    seed: Seed = 0,
    as_json: Json = False,
    *,
    place: ModelPlace,
) -> None:
    """Explain masks: what they share, where they lie, what each does to every axis."""
    sources = list(map(find_mask, personas))
    from prosopon.analysis import PARTS, analyse, check_drawing
    from prosopon.analysis.findings import WORN, choose_parts
    from prosopon.subnetwork.algebra import check_agree

    check_drawing()
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"{folder}: is a file, not a folder; give another --output")
    if opposite and not target:
        raise OptionError("--opposite needs --target")
    if odd := [part for part in split_list(parts or "", str) if part not in PARTS]:
        raise OptionError(f"--parts {odd[0]!r}: choose from {', '.join(PARTS)}")
    masks = load_masks(sources)
    check_agree(list(masks.values()))
    name = model or _own_model(masks, target)
    wanted = split_list(parts, str) if parts else [p for p in PARTS if name or p not in WORN]
    chosen = choose_parts(cast("list[AnalysisPart]", wanted), len(masks), name is not None)
    with_questions = any(part in WORN for part in chosen)
    # Before a model is loaded, which may take long.
    axes = _axes(name, target, opposite, questions, seed, masks) if with_questions else []
    with progress() as report:
        probe: Probe | None = None
        if name is not None:
            loaded = load(name, place)
            probe = _probe(
                loaded, masks, general if with_questions else None, with_questions, report
            )
        analysis = analyse(
            masks, parts=chosen, probe=probe, axes=axes, draws=draws, seed=seed, report=report
        )
    written = analysis.write(folder)
    if as_json:
        print_json({"folder": str(folder), **analysis.numbers})
        return
    _show(analysis, written)
    if name is None and not parts:
        say(
            "cross-talk and faithfulness wear the masks, so they are left out: give --model, and "
            "--target to ask"
        )


def _own_model(masks: Mapping[str, Subnetwork], target: str | None) -> str | None:
    """Return the model to wear masks on where none is named."""
    from prosopon.models import EMBEDDED

    own = next(iter(masks.values())).config.base_model
    return own if own == EMBEDDED or target else None


def _axes(
    model: str | None,
    target: str | None,
    opposite: str | None,
    questions: int,
    seed: int,
    masks: Mapping[str, Subnetwork],
) -> list[ProbeAxis]:
    """Return what to ask: examples that no mask was found on, or the embedded model's axes."""
    from prosopon.analysis import bundled_axes, file_axis
    from prosopon.data import load_contrast
    from prosopon.data.splits import leave_out
    from prosopon.models import EMBEDDED

    if target:
        sides = load_contrast(*in_english(model or EMBEDDED, target, opposite))
        hashes = [mask.config.calibration.prompt_hashes or () for mask in masks.values()]
        rest = leave_out(sides, {prompt for some in hashes for prompt in some})
        if seen := sum(map(len, sides)) - sum(map(len, rest)):
            if not all(map(len, rest)):
                raise DataError(f"{target}: the masks were found on these examples; give others")
            note(f"{seen} examples of {target} are left out: the masks were found on them")
        return [file_axis(*rest, questions)]
    if model != EMBEDDED:
        raise OptionError(
            "only the embedded model has questions of its own: give --target (and --opposite) "
            "with held-out examples, or --parts overlap,location"
        )
    return bundled_axes(questions, seed=seed)


def _probe(
    loaded: Any,
    masks: Mapping[str, Subnetwork],
    general: str | None,
    with_questions: bool,
    report: Report,
) -> Probe:
    """Return what asks the model, after a check that the masks are its own."""
    from prosopon.analysis import Probe
    from prosopon.evaluation.held_out import general_text
    from prosopon.models import find_sites
    from prosopon.runtime.membership import check_belongs

    sites = find_sites(loaded.model)
    for one in masks.values():
        check_belongs(one, sites)
    texts: list[Encoded] = []
    if with_questions:
        _, texts, _ = general_text(loaded, general, 64, report)
    return Probe(loaded.model, loaded.tokenizer, texts)


def _show(analysis: Analysis, written: Sequence[Path]) -> None:
    for section in analysis.sections:
        if section.id in SHOWN:
            _table(section)
    unasked = analysis.numbers.get("faithfulness_not_asked")
    if unasked:
        say(f"no questions for {', '.join(unasked)}: faithfulness not measured")
    page, *others = written
    say(f"written: {page!s}, with {len(others) - 1} figures and analysis.json")


def _table(section: Section) -> None:
    say(section.title, "bold")
    table = Table()
    for place, heading in enumerate(section.headings):
        words = [*heading.split(), *(row[place] for row in section.rows)]
        table.add_column(heading, min_width=max(map(len, words)))
    for row in section.rows:
        table.add_row(*row)
    # Headings wrap between words, numbers never: on a narrow terminal the table is wider than it.
    needed = Measurement.get(out, out.options.update(max_width=WIDEST), table)
    table.width = min(needed.maximum, max(needed.minimum, out.width))
    out.print(table, crop=False)
    out.print(section.text)
