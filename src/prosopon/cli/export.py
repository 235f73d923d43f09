"""``prosopon export``: a persona as files that other software loads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from prosopon.cli.console import print_json, say
from prosopon.cli.loading import load
from prosopon.cli.options import Device, DeviceMap, Dtype, Json, Model, Revision, key_values


def export(
    persona: Annotated[Path, typer.Argument(help="Folder of a subnetwork.")],
    format: Annotated[
        str, typer.Option("--format", "-f", help="checkpoint, structured, shira, lora or gguf.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")],
    model: Model = "embedded",
    strength: Annotated[
        float, typer.Option("--strength", help="Above 0, at most 1: how much of the mask.")
    ] = 1.0,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            help="An option of the format, key=value: rank and seed (lora), max_shard_size "
            "(checkpoint, structured). May be repeated.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace what an earlier export wrote to --output.")
    ] = False,
    revision: Revision = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    device_map: DeviceMap = None,
    as_json: Json = False,
) -> None:
    """Export a persona to a checkpoint, an adapter or a GGUF file."""
    from prosopon.export import FORMATS, export_persona
    from prosopon.export.staging import check_output
    from prosopon.subnetwork import Subnetwork

    # Everything that can be refused is refused before the model is loaded.
    kind = FORMATS.get(format)
    kind.parse_options(key_values(option))
    kind.check_packages()
    check_output(output, force)
    subnetwork = Subnetwork.from_pretrained(persona)
    loaded = load(model, device=device, dtype=dtype, device_map=device_map, revision=revision)
    result = export_persona(
        loaded.model,
        loaded.tokenizer,
        subnetwork,
        format=format,
        output=output,
        strength=strength,
        options=key_values(option),
        force=force,
        base_model=loaded.name,
        revision=loaded.revision or revision,
    )
    print_json(result) if as_json else _show(result)


def _show(result: dict[str, Any]) -> None:
    lines = [
        f"{result['persona']}: {result['pruned']:,} of {result['total']:,} weights, as "
        f"{result['format']}, {result['bytes'] / 1e6:.1f} MB",
        *result.get("notes", []),
    ]
    if found := result.get("divergence"):
        lines.append(
            f"Divergence from the persona: {found['adapter']:.4f} nats a token; the base model's "
            f"is {found['base']:.4f} ({found['tokens']} tokens of {found['prompts']} prompts)."
        )
    for line in [*lines, f"written to {result['folder']}"]:
        say(line)
