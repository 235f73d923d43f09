"""``prosopon extract``: from a model and two personas to a folder."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from prosopon.cli.console import print_json, progress, say
from prosopon.cli.loading import load
from prosopon.cli.options import (
    Device,
    DeviceMap,
    Dtype,
    Force,
    Ignore,
    Json,
    Layers,
    Model,
    Only,
    OutputOrDefault,
    Revision,
    Seed,
    Targets,
    key_values,
)
from prosopon.errors import OptionError
from prosopon.progress import format_duration

if TYPE_CHECKING:
    from prosopon.data import Scope
    from prosopon.subnetwork import SubnetworkConfig

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
        str | None,
        typer.Option(
            "--sparsity",
            "-s",
            help="Share of weights to prune, between 0 and 1, or auto: chosen on examples held "
            "out (contrastive-taylor).",
        ),
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option(
            "--pattern",
            help="row, site, global, n:m (2:4, 4:8), channels or heads; default the criterion's.",
        ),
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
    protect: Annotated[
        list[str] | None,
        typer.Option(
            "--protect", help=f"Another persona that the mask should leave alone. {_PERSONA}"
        ),
    ] = None,
    max_length: Annotated[
        int | None, typer.Option("--max-length", min=8, help="Longest example in tokens.")
    ] = None,
    targets: Targets = None,
    ignore: Ignore = None,
    layers: Layers = None,
    only: Only = None,
    sequential: Annotated[
        bool,
        typer.Option(
            "--sequential",
            help="Read the model layer by layer from disk, for one larger than memory.",
        ),
    ] = False,
    work_dir: Annotated[
        Path | None,
        typer.Option(
            "--work-dir",
            help="With --sequential: keeps finished layers, so that a killed run goes on.",
        ),
    ] = None,
    output: OutputOrDefault = None,
    force: Force = False,
    seed: Seed = 0,
    revision: Revision = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    device_map: DeviceMap = None,
    as_json: Json = False,
) -> None:
    """Find a persona in a model and write its subnetwork."""
    from prosopon.criteria import CRITERIA
    from prosopon.data import load_contrast
    from prosopon.extraction import Extractor, resolve_contrast
    from prosopon.layerwise import SequentialSettings, check_sequential, extract_sequential
    from prosopon.selection import find_pattern

    began = time.perf_counter()
    check_scope(scope)
    CRITERIA.get(criterion).parse_options(key_values(option))
    share = parse_sparsity(sparsity)
    if share != "auto":
        find_pattern(pattern or CRITERIA.get(criterion).pattern).share(share, default=0.5)
    if sequential:
        check_sequential(criterion, pattern, share)
        refuse(
            "--sequential",
            {"--device-map": device_map, "--general": general, "--protect": protect or None},
        )
    else:
        refuse("a run without --sequential", {"--work-dir": work_dir})
    ours, theirs = resolve_contrast(
        target, opposite, criterion=criterion, limit=examples, seed=seed
    )
    protected = [load_contrast(p, None, limit=examples, seed=seed) for p in protect or ()]
    folder = output or Path("personas") / f"{ours.name}-{criterion}"
    check_output(folder, force)
    if sequential:
        settings = SequentialSettings(
            device=device,
            dtype=dtype,
            revision=revision,
            targets=targets or None,
            ignore=ignore or (),
            layers=layers,
            only=only,
            scope=cast("Scope | None", scope),
            seed=seed,
            max_length=max_length,
            work_dir=work_dir,
        )
        with progress() as report:
            config = extract_sequential(
                model,
                ours,
                theirs,
                output=folder,
                criterion=criterion,
                sparsity=cast("float | None", share),
                pattern=pattern,
                options=key_values(option),
                settings=settings,
                report=report,
            )
        _finish(folder, config, began, as_json)
        return
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
            sparsity=share,
            pattern=pattern,
            options=key_values(option),
            protect=protected,
        )
    subnetwork.save_pretrained(folder)
    _finish(folder, subnetwork.config, began, as_json, subnetwork.compensation is not None)


def _finish(
    folder: Path, config: SubnetworkConfig, began: float, as_json: bool, compensated: bool = False
) -> None:
    """Say what was written."""
    pruned = sum(record.pruned for record in config.sites.values())
    total = sum(rows * columns for rows, columns in (r.shape for r in config.sites.values()))
    result = {
        "folder": str(folder),
        "persona": config.persona,
        "opposite": config.opposite,
        "criterion": config.criterion,
        "sites": len(config.sites),
        "pruned": pruned,
        "total": total,
        "pruned_share": pruned / total,
        "compensated": compensated,
        "bytes": sum(file.stat().st_size for file in folder.iterdir()),
        "auto": config.options.get("auto"),
        "seconds": round(time.perf_counter() - began, 2),
    }
    print_json(result) if as_json else _show(result)


def check_scope(scope: str | None) -> None:
    """Raise :class:`OptionError` for a scope that does not exist."""
    from prosopon.data import SCOPES

    if scope is not None and scope not in SCOPES:
        raise OptionError(f"unknown scope {scope!r}. Choices: {', '.join(SCOPES)}")


def parse_sparsity(given: str | None) -> float | Literal["auto"] | None:
    """Return what ``--sparsity`` says.

    Raises:
        OptionError: Neither a number nor ``auto``.
    """
    if given is None or given == "auto":
        return cast('Literal["auto"] | None', given)
    try:
        return float(given)
    except ValueError:
        raise OptionError(f"--sparsity {given!r}: give a number or 'auto'") from None


def refuse(where: str, given: Mapping[str, object]) -> None:
    """Raise :class:`OptionError` for an option that has no meaning there."""
    for name, value in given.items():
        if value is not None:
            raise OptionError(f"{name} has no meaning in {where}")


def check_output(folder: Path, force: bool) -> None:
    """Raise :class:`OptionError` where a folder would be written over without ``--force``."""
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"{folder}: is a file, not a folder; give another --output")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise OptionError(
            f"{folder}: is not empty; give --force to replace it, or another --output"
        )


def _show(result: dict[str, Any]) -> None:
    say(
        f"{result['persona']}: {result['criterion']} pruned {result['pruned']:,} of "
        f"{result['total']:,} weights ({result['pruned_share']:.3%}) in {result['sites']} sites, "
        f"{format_duration(result['seconds'])}"
    )
    if auto := result["auto"]:
        say(_chosen(auto))
    say(f"written to {result['folder']}")
    if result["compensated"]:
        say("with new values of the kept weights in compensation.safetensors, worn with the mask")


def _chosen(auto: dict[str, Any]) -> str:
    """Say in a line what ``--sparsity auto`` chose, and on what grounds."""
    ratio = auto["quick"]["perplexity_ratio"]
    line = f"chose lambda {auto['damage']:g} after {auto['rounds']} rounds: "
    if auto["share"] is not None:
        line += f"{auto['share']:.0%} of held-out answers are the persona's "
        line += f"(base {auto['base_share']:.0%}), "
    line += f"general perplexity x {ratio:.3f}"
    if not auto["within_tolerance"]:
        line += f", above the tolerance of {1 + auto['tolerance']:g}"
    return line
