"""``prosopon export``: a persona as files that other software loads."""

from typing import Annotated, Any

from typer import Option

from prosopon.cli.console import print_json, say, status
from prosopon.cli.loading import load
from prosopon.cli.masks import choose_model, find_mask, load_mask
from prosopon.cli.options import Force, Json, Mask, ModelPlace, Output, OwnModel, key_values


def export(
    persona: Mask,
    format: Annotated[
        str,
        Option("--format", "-f", help="checkpoint, structured, shira, lora, gguf or gguf-lora."),
    ],
    output: Output,
    model: OwnModel = None,
    strength: Annotated[float, Option(help="Above 0, at most 1: how much of the mask.")] = 1.0,
    option: Annotated[
        list[str] | None,
        Option(
            help="An option of the format, key=value: rank and seed (lora, gguf-lora), "
            "base (gguf-lora), max_shard_size (checkpoint, structured). May be repeated."
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
    *,
    place: ModelPlace,
) -> None:
    """Export a persona to a checkpoint, an adapter or a GGUF file."""
    source = find_mask(persona)
    name = choose_model(model, [source])
    from prosopon.export import FORMATS, export_persona
    from prosopon.export.folders import check_output

    # Everything that can be refused is refused before the model is loaded.
    kind = FORMATS.get(format)
    options = key_values(option, kind.name)
    kind.parse_options(options)
    kind.check_packages()
    check_output(output, force)
    mask = load_mask(source)
    with status(f"loading {name}"):
        loaded = load(name, place)
    with status(f"writing {output}"):
        result = export_persona(
            loaded.model,
            loaded.tokenizer,
            mask,
            format=format,
            output=output,
            strength=strength,
            options=options,
            force=force,
            base_model=loaded.name,
            revision=loaded.revision or place.revision,
        )
    print_json(result) if as_json else _show(result)


def _show(result: dict[str, Any]) -> None:
    lines = [
        f"{result['persona']}: {result['pruned']:,} of {result['total']:,} weights, as "
        f"{result['format']}, {result['bytes'] / 1e6:.1f} MB",
        *result.get("notes", []),
    ]
    if gap := result.get("divergence"):
        lines.append(
            f"Divergence from the persona: {gap['adapter']:.4f} nats a token; the base model's "
            f"is {gap['base']:.4f} ({gap['tokens']} tokens of {gap['prompts']} prompts)."
        )
    for line in [*lines, f"written to {result['folder']}"]:
        say(line)
