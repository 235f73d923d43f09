"""The card of an exported folder: what it is, how it was made and how it is loaded."""

from __future__ import annotations

import json
from typing import Any

from prosopon.export.base import Format, Job
from prosopon.subnetwork.config import is_hub_id, portable_name

CARD = "README.md"
"""The file of the card."""


def model_card(kind: Format, job: Job, report: dict[str, Any]) -> str:
    """Return the card as Markdown with the front matter that the Hub reads.

    A base model is named in the front matter only if its name can be an id on the Hub; no
    licence is claimed, because the base model's applies.
    """
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
    lines = ["library_name: " + ("peft" if kind.is_adapter else "transformers")]
    if is_hub_id(job.base_model):
        lines.append(f"base_model: {json.dumps(job.base_model)}")
    lines += ["pipeline_tag: text-generation", "tags:", "- prosopon", "- persona"]
    return "\n".join(["---", *lines, "---", ""])
