"""``prosopon inspect``: what a subnetwork's folder or a pack of personas holds."""

from collections import defaultdict
from pathlib import Path
from typing import Any

from rich.table import Table

from prosopon.cli.console import out, print_json, say
from prosopon.cli.masks import find_mask, load_mask
from prosopon.cli.options import Json, Mask


def inspect(persona: Mask, as_json: Json = False) -> None:
    """Show where a subnetwork came from and where its pruned weights sit; or what a pack holds."""
    source = find_mask(persona)
    place = source.place
    if isinstance(place, Path) and place.is_file() and source.persona is None:
        _show_pack(place, as_json)
        return
    from prosopon.subnetwork import MASKS_NAME

    subnetwork = load_mask(source)
    config = subnetwork.config.model_dump(mode="json")
    masks = Path(place) / MASKS_NAME
    summary = {
        "pruned": subnetwork.pruned,
        "total": subnetwork.total,
        "pruned_share": subnetwork.pruned_share,
        "masks_bytes": masks.stat().st_size if masks.is_file() else None,
        "by_layer": _by_layer(subnetwork),
    }
    if as_json:
        print_json({"config": config, "summary": summary})
    else:
        _show(config, summary)


def _by_layer(subnetwork: Any) -> list[dict[str, Any]]:
    from prosopon.models import layer_index, role

    counts: dict[tuple[int, str], list[int]] = defaultdict(lambda: [0, 0])
    for name, keep in subnetwork.keep.items():
        layer = layer_index(name)
        cell = counts[-1 if layer is None else layer, role(name)]
        cell[0] += int((~keep).sum())
        cell[1] += keep.numel()
    return [
        {"layer": layer if layer >= 0 else None, "role": kind, "pruned": pruned, "total": total}
        for (layer, kind), (pruned, total) in sorted(counts.items())
    ]


def _show(config: dict[str, Any], summary: dict[str, Any]) -> None:
    facts = Table(show_header=False, box=None)
    facts.add_column(style="bold")
    facts.add_column()
    for key in ("persona", "opposite", "base_model", "criterion", "pattern", "sparsity", "seed"):
        facts.add_row(key.replace("_", " "), str(config[key]))
    facts.add_row("options", ", ".join(f"{k}={v}" for k, v in config["options"].items()))
    calibration = config["calibration"]
    facts.add_row(
        "calibration",
        f"{calibration['target_count']} examples, {calibration['opposite_count']} of the opposite, "
        f"{calibration['general_count']} general texts, scope {calibration['scope']}",
    )
    if origin := calibration["origin"]:
        versus = origin["versus"] or "the model's own answers"
        facts.add_row("described as", f"{origin['description']}, versus {versus}")
        facts.add_row(
            "examples by",
            f"{origin['writer']}: {origin['pairs_kept']} of {origin['pairs_written']} pairs",
        )
    facts.add_row(
        "pruned", f"{summary['pruned']:,} of {summary['total']:,} ({summary['pruned_share']:.3%})"
    )
    facts.add_row("strengths", "any from 0 to 1" if config["ranked"] else "one")
    facts.add_row("encoding", _size(config, summary))
    out.print(facts)
    table = Table("layer", "role", "pruned", "share")
    for row in summary["by_layer"]:
        table.add_row(
            "-" if row["layer"] is None else str(row["layer"]),
            row["role"],
            f"{row['pruned']:,}",
            f"{row['pruned'] / row['total']:.3%}",
        )
    out.print(table)


def _size(config: dict[str, Any], summary: dict[str, Any]) -> str:
    """Return encoding and bytes as one line."""
    line = f"{config['encoding']}, format version {config['format_version']}"
    size = summary["masks_bytes"]
    if size is None:
        return line
    if config["ranked"] and summary["pruned"]:  # a byte a pruned weight, not compressed
        ranking = summary["pruned"]
        line += f"; the ranking takes {ranking:,} bytes, the masks alone {size - ranking:,}, "
        line += f"{(size - ranking) / ranking:.2f} a pruned weight"
    share = f", {size / summary['pruned']:.2f} a pruned weight" if summary["pruned"] else ""
    return f"{line}; {size:,} bytes, {size / summary['total']:.4f} a weight{share}"


def _show_pack(path: Path, as_json: bool) -> None:
    """Print what a pack holds."""
    from prosopon.subnetwork import Pack

    index = Pack(path).index
    weights = sum(record.total for record in index.sites.values())
    if as_json:
        sites = len(index.sites)
        summary = {"weights": weights, "sites": sites, "bytes": path.stat().st_size}
        print_json({"pack": index.model_dump(mode="json", exclude={"sites"}), "summary": summary})
        return
    say(
        f"{path.name}: {len(index.personas)} personas of {index.base_model}, {weights:,} weights "
        f"in {len(index.sites)} sites; the shared mask takes {index.shared.bytes:,} bytes "
        f"({index.shared.encoding})"
    )
    table = Table("persona", "criterion", "pruned", "changed", "encoding", "bytes", "a weight")
    for name, persona in index.personas.items():
        table.add_row(
            name,
            persona.criterion,
            f"{persona.pruned / weights:.3%}",
            f"{persona.changed / weights:.3%}",
            persona.record.encoding + (", ranked" if persona.ranked else ""),
            f"{persona.record.bytes:,}",
            f"{persona.record.bytes / weights:.4f}",
        )
    out.print(table)
