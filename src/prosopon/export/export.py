"""Exporting: attach, wear, write into a staged folder, restore, put the folder in its place."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prosopon.errors import ExportError, OptionError
from prosopon.export.base import FORMATS, Format, Job
from prosopon.export.folders import PROVENANCE, check_output, stage_folder
from prosopon.files import write_json, write_text
from prosopon.subnetwork import Subnetwork, portable_name
from prosopon.subnetwork.config import is_hub_id
from prosopon.version import __version__

if TYPE_CHECKING:
    from torch import nn

FORMAT_VERSION = 1
"""Version of ``prosopon.json``."""

CARD = "README.md"
"""The file of the card: what a folder is, how it was made and how it is loaded."""


def export_persona(
    model: "nn.Module",
    tokenizer: Any,
    source: str | Path | Subnetwork,
    *,
    format: str,
    output: str | Path,
    strength: float = 1.0,
    options: Mapping[str, Any] | None = None,
    force: bool = False,
    base_model: str | None = None,
    revision: str | None = None,
) -> dict[str, Any]:
    """Write a persona in a format that other software loads.

    The model is put back bit for bit before this returns or raises. The folder appears as a
    whole at the end, or not at all.

    Args:
        model: The base model of the persona, with its weights in memory; no other PersonaModel
            may be attached to it.
        tokenizer: Its tokenizer, which checkpoints and GGUF files include.
        source: A subnetwork, or the folder of one.
        format: A name in :data:`~prosopon.export.FORMATS`.
        output: Folder to write.
        strength: Above 0, at most 1; below 1 the subnetwork must be ranked.
        options: Options of the format.
        force: Replace ``output`` if an earlier export wrote it.
        base_model: What to call the base model in the files; default what the subnetwork says.
        revision: Its revision; default what the subnetwork says.

    Returns:
        What was written, as JSON: folder, format, persona, strength, bytes, number of pruned
        weights and what the format has to say.

    Raises:
        UnknownNameError: There is no such format.
        OptionError: An option has no meaning, or ``output`` may not be replaced.
        SubnetworkError: The subnetwork is damaged, belongs to another model, is not ranked, or
            has new values for its kept weights and a strength below 1 is asked for.
        PersonaError: Another PersonaModel is attached to the model.
        ExportError: The format cannot hold this persona or model, or nothing can be written.
    """
    kind, folder = FORMATS.get(format), Path(output).expanduser()
    parsed = kind.parse_options(options or {})
    kind.check_packages()
    check_output(folder, force)
    if not 0.0 < strength <= 1.0:
        raise OptionError(f"strength {strength:g}: must be above 0 and at most 1")
    whole = source if isinstance(source, Subnetwork) else Subnetwork.from_pretrained(source)
    subnetwork = whole if strength == 1.0 else whole.at_strength(strength)
    if not subnetwork.pruned:
        raise ExportError(
            f"subnetwork {whole.config.persona!r} prunes nothing at strength {strength:g}: the "
            "export would be the base model; raise the strength"
        )
    from prosopon.runtime import attach

    with attach(model, tokenizer, subnetwork) as wearer:
        if any(site.quantised for site in wearer.sites):
            raise ExportError(
                "the model is quantised, and no weight of it can be masked; export from "
                f"{whole.config.base_model!r}, and quantise what was written"
            )
        name = wearer.load_persona(subnetwork)
        called = base_model or whole.config.base_model
        job = Job(
            wearer, name, subnetwork, tokenizer, called, revision or whole.config.revision, parsed
        )
        with stage_folder(folder, force=force) as staging:
            report = _describe(kind, job, strength) | kind.write(job, staging)
            _annotate(staging, kind, job, report)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {"folder": str(folder), "bytes": size} | report


def _describe(kind: Format, job: Job, strength: float) -> dict[str, Any]:
    """Return what can be said of every export."""
    return {
        "format": kind.name,
        "persona": job.subnetwork.config.persona,
        "base_model": portable_name(job.base_model),
        "revision": job.revision,
        "strength": strength,
        "compensated": job.subnetwork.compensation is not None,
        "pruned": job.subnetwork.pruned,
        "total": job.subnetwork.total,
        "options": job.options.model_dump(mode="json"),
    }


def _annotate(folder: Path, kind: Format, job: Job, report: dict[str, Any]) -> None:
    """Write the provenance and the card; the sites' own records would be most of the file."""
    origin = job.subnetwork.config.model_dump(mode="json", exclude={"sites", "checksum"})
    origin["base_model"] = portable_name(origin["base_model"])
    record = {"format_version": FORMAT_VERSION, "prosopon": __version__}
    write_json(folder / PROVENANCE, record | {"export": report, "subnetwork": origin})
    write_text(folder / CARD, model_card(kind, job, report))


def model_card(kind: Format, job: Job, report: dict[str, Any]) -> str:
    """Return the card as Markdown with the front matter that the Hub reads; it names no licence."""
    config = job.subnetwork.config
    opposite = f", told apart from **{config.opposite}**" if config.opposite else ""
    share = report["pruned"] / report["total"]
    base = portable_name(job.base_model)
    origin = (
        f"Persona **{config.persona}**{opposite}, of the base model `{base}`: "
        f"{report['pruned']:,} of {report['total']:,} weights ({share:.3%}) are "
        f"removed, found by `{config.criterion}`; no weight was trained"
        + (", but kept ones have new values to make up for them" if report["compensated"] else "")
        + f". Strength {report['strength']:g}."
    )
    notes = report.get("notes", [])
    loading = kind.loading.format(base=base, folder="path/to/this/folder")
    parts = [
        _front_matter(kind, job),
        f"# {config.persona}\n",
        origin + "\n",
        f"Format: `{kind.name}`, {kind.summary}.\n",
        "## Loading\n",
        f"```python\n{loading}\n```\n",
        *(["## Notes\n", *(f"- {note}" for note in notes), ""] if notes else []),
        "The licence and the limits of the base model apply. `prosopon.json` says how the "
        "persona was found.\n",
    ]
    return "\n".join(parts)


def _front_matter(kind: Format, job: Job) -> str:
    """Return the YAML block; JSON strings are YAML strings."""
    lines = ["library_name: " + ("peft" if "peft" in kind.packages else "transformers")]
    if is_hub_id(job.base_model):
        lines.append(f"base_model: {json.dumps(job.base_model)}")
    lines += ["pipeline_tag: text-generation", "tags:", "- prosopon", "- persona"]
    return "\n".join(["---", *lines, "---", ""])
