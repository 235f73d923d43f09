"""``prosopon extract``: from a model and two personas to a folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from prosopon.cli.console import out, print_json, progress
from prosopon.cli.loading import load
from prosopon.cli.options import (
    Device,
    DeviceMap,
    Dtype,
    Ignore,
    Json,
    Layers,
    Model,
    Only,
    Output,
    Revision,
    Seed,
    Targets,
    key_values,
)
from prosopon.errors import OptionError

if TYPE_CHECKING:
    from prosopon.data import Scope

_PERSONA = "A bundled persona's name, a file, or hf:org/name."


def extract(
    target: Annotated[str, typer.Option("--target", "-t", help=_PERSONA)],
    opposite: Annotated[
        str | None,
        typer.Option(
            "--opposite",
            help=f"{_PERSONA} Default: a bundled persona's own opposite, or the target's answers "
            "that do not match.",
        ),
    ] = None,
    model: Model = "embedded",
    criterion: Annotated[
        str, typer.Option("--criterion", "-c", help="See prosopon criteria.")
    ] = "contrastive-taylor",
    sparsity: Annotated[
        float | None,
        typer.Option("--sparsity", "-s", help="Share of weights to prune, between 0 and 1."),
    ] = None,
    pattern: Annotated[
        str | None, typer.Option("--pattern", help="row, site or global; default the criterion's.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", help="An option of the criterion, key=value. May be repeated."),
    ] = None,
    scope: Annotated[
        str | None, typer.Option("--scope", help="Tokens that count: response or all.")
    ] = None,
    examples: Annotated[
        int, typer.Option("--examples", "-n", min=1, help="Most examples of each side.")
    ] = 128,
    general: Annotated[
        str | None,
        typer.Option(
            "--general", help="Text that must not suffer; default sampled from the model."
        ),
    ] = None,
    max_length: Annotated[
        int | None, typer.Option("--max-length", min=8, help="Longest example in tokens.")
    ] = None,
    targets: Targets = None,
    ignore: Ignore = None,
    layers: Layers = None,
    only: Only = None,
    output: Output = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what --output holds.")] = False,
    seed: Seed = 0,
    revision: Revision = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    device_map: DeviceMap = None,
    as_json: Json = False,
) -> None:
    """Find a persona in a model and write its subnetwork."""
    from prosopon.criteria import CRITERIA
    from prosopon.extraction import Extractor, resolve_contrast

    began = time.perf_counter()
    check_scope(scope)
    CRITERIA.get(criterion).parse_options(key_values(option))
    ours, theirs = resolve_contrast(
        target, opposite, criterion=criterion, limit=examples, seed=seed
    )
    folder = output or Path("personas") / f"{ours.name}-{criterion}"
    check_output(folder, force)
    loaded = load(model, device=device, dtype=dtype, device_map=device_map, revision=revision)
    with progress() as report:
        extractor = Extractor(
            loaded.model,
            loaded.tokenizer,
            name=loaded.name,
            revision=loaded.revision or revision,
            targets=targets or None,
            ignore=ignore or (),
            layers=layers,
            only=only,
            scope=cast("Scope | None", scope),
            general=general,
            seed=seed,
            max_length=max_length,
            report=report,
        )
        subnetwork = extractor.extract(
            ours,
            theirs,
            criterion=criterion,
            sparsity=sparsity,
            pattern=pattern,
            options=key_values(option),
        )
    subnetwork.save_pretrained(folder)
    result = {
        "folder": str(folder),
        "persona": subnetwork.config.persona,
        "opposite": subnetwork.config.opposite,
        "criterion": criterion,
        "sites": len(subnetwork.keep),
        "pruned": subnetwork.pruned,
        "total": subnetwork.total,
        "pruned_share": subnetwork.pruned_share,
        "compensated": subnetwork.compensation is not None,
        "bytes": sum(file.stat().st_size for file in folder.iterdir()),
        "seconds": round(time.perf_counter() - began, 2),
    }
    print_json(result) if as_json else _show(result)


def check_scope(scope: str | None) -> None:
    """Raise :class:`OptionError` for a scope that does not exist."""
    from prosopon.data import SCOPES

    if scope is not None and scope not in SCOPES:
        raise OptionError(f"unknown scope {scope!r}. Choices: {', '.join(SCOPES)}")


def check_output(folder: Path, force: bool) -> None:
    """Raise :class:`OptionError` where a folder would be written over without ``--force``."""
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"{folder}: is a file, not a folder; give another --output")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise OptionError(
            f"{folder}: is not empty; give --force to replace it, or another --output"
        )


def _show(result: dict[str, Any]) -> None:
    out.print(
        f"[bold]{result['persona']}[/]: {result['criterion']} pruned {result['pruned']:,} of "
        f"{result['total']:,} weights ({result['pruned_share']:.3%}) in {result['sites']} sites, "
        f"{result['seconds']:.1f} s",
        soft_wrap=True,
        highlight=False,
    )
    out.print(f"written to {result['folder']}", soft_wrap=True, highlight=False, markup=False)
    if result["compensated"]:
        out.print(
            "with new values of the kept weights in compensation.safetensors; chat wears the mask "
            "alone, prosopon.runtime.Compensated both",
            soft_wrap=True,
            highlight=False,
        )
