"""The model card of a subnetwork: the README.md that the Hub shows, made from the provenance."""

import json
import re
from typing import Any

from prosopon.subnetwork.config import SubnetworkConfig, is_hub_id
from prosopon.subnetwork.evaluation import Evaluation

# The Hub refuses a licence it does not know, except under "other" and with a name.
_LICENCES = {
    "apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-nc-4.0",
    "cc-by-sa-4.0", "gemma", "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "mit",
    "openrail", "unlicense",
}  # fmt: skip

TAGS = ("prosopon", "persona", "subnetwork")
"""Tags of every card: what a persona on the Hub is found by."""

_TEXT = """\
# {title}

The keep-mask of one persona in [{base}]({link}): which weights of that model stay and which \
count as zero while the persona is worn. It holds no weights; you need the base model.
{against}
```python
from prosopon import PersonaModel, load_model

wearer = PersonaModel(*load_model({base!r}{revision})[:2])
wearer.set_persona(wearer.load_persona({source!r}))
print(wearer.answer("What would you like to do on Friday afternoon?", persona=wearer.active))
```

On the command line: `prosopon pull {source}`, then `prosopon chat --persona {name}`.

| | |
| --- | --- |
{facts}

{measured}## Limits

- It fits the weights of the base model named above, and other weights are refused by their \
fingerprint. A quantised, merged or fine-tuned copy is another model.
- A persona is a tendency of the answers on data like the calibration data below; nothing here \
measures it on yours. Measure it there, and what the mask costs, before use.
- The mask is found by a model's own answers to examples of a named behaviour. It is no \
psychological test of anyone, and can exaggerate stereotypes in those examples.
- The safety training of the base model is not known to survive the mask.

## Provenance

{provenance}
"""


def model_card(config: SubnetworkConfig, source: str, evaluation: Evaluation | None = None) -> str:
    """Return the model card, Markdown with a YAML header.

    Args:
        config: The provenance.
        source: Where it will be loaded from: the id on the Hub, or a folder.
        evaluation: What was measured of it.
    """
    base = config.base_model
    against = f"Opposite: {_plain(config.opposite)}.\n" if config.opposite else ""
    text = _TEXT.format(
        title=_plain(config.persona),
        base=_plain(base),
        link=f"https://huggingface.co/{base}" if is_hub_id(base) else "#provenance",
        against=against,
        revision=f", revision={config.revision!r}" if config.revision else "",
        source=source,
        name=source.rpartition("/")[2],
        measured=_measured(evaluation, config) if evaluation else "",
        facts="\n".join(f"| {name} | {_plain(value)} |" for name, value in _facts(config)),
        provenance=_provenance(config),
    )
    return f"---\n{_header(config)}---\n\n{text}"


def _header(config: SubnetworkConfig) -> str:
    """Return the YAML; every value is of plain characters, so that nothing needs escaping."""
    tags = [*TAGS, "pruning", slug(config.criterion), slug(config.persona)]
    values: dict[str, Any] = {"library_name": "prosopon", "tags": list(dict.fromkeys(tags))}
    if is_hub_id(config.base_model):
        values |= {"base_model": config.base_model, "base_model_relation": "adapter"}
    licence = config.license.lower()
    if licence in _LICENCES:
        values["license"] = licence
    elif licence:
        values |= {"license": "other", "license_name": slug(licence)}
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items())


def _facts(config: SubnetworkConfig) -> list[tuple[str, str]]:
    """Return the rows of the table."""
    pruned = sum(record.pruned for record in config.sites.values())
    total = sum(record.total for record in config.sites.values())
    share = f" ({pruned / total:.3%})" if total else ""
    options = ", ".join(f"{name}={value}" for name, value in config.options.items())
    return [
        ("criterion", config.criterion),
        ("options", options or "none"),
        ("pattern", config.pattern),
        ("sparsity asked", "none" if config.sparsity is None else f"{config.sparsity:g}"),
        ("weights pruned", f"{pruned:,} of {total:,} in {len(config.sites)} sites{share}"),
        ("strengths", "any from 0 to 1" if config.ranked else "one"),
        ("licence", config.license or "not stated"),
    ]


def _measured(evaluation: Evaluation, config: SubnetworkConfig) -> str:
    """Return the section of the figures: a row a measure, the base's before the mask's."""
    sides = {"base": evaluation.base} if evaluation.base else {}
    sides |= {"this mask": evaluation.measures}
    cells = {
        (side, row.task, row.measure): f"{row.mean:.3f} [{row.low:.3f}, {row.high:.3f}]"
        for side, rows in sides.items()
        for row in rows
    }
    names = dict.fromkeys((row.task, row.measure) for row in evaluation.measures)
    hashes = config.calibration.prompt_hashes  # without them evaluate could leave none out
    unseen = ", on questions that the mask was not found on" if hashes is not None else ""
    lines = [
        "## Measured",
        "",
        f"By `prosopon evaluate`: {_plain(evaluation.persona)} against "
        f"{_plain(evaluation.opposite)} on {_plain(evaluation.base_model)}{unseen}. Means with 95% "
        "intervals over questions."
        + ("" if evaluation.base else " The base was not asked the same."),
        "",
        f"| task | measure | {' | '.join(sides)} |",
        "| --- | --- |" + " ---: |" * len(sides),
    ]
    for task, measure in names:
        figures = " | ".join(cells.get((side, task, measure), "-") for side in sides)
        lines.append(f"| {_plain(task)} | {_plain(measure)} | {figures} |")
    return "\n".join([*lines, "", ""])


def _provenance(config: SubnetworkConfig) -> str:
    """Return the list of what is needed to make the mask again."""
    calibration = config.calibration
    rows = {
        "calibration": f"{calibration.target_count} examples of the persona, "
        f"{calibration.opposite_count} of the opposite, {calibration.general_count} general "
        f"texts; scope {calibration.scope}",
        "hash of the persona's examples": calibration.target_hash,
        "hash of the opposite's": calibration.opposite_hash,
        "base model": config.base_model,
        "revision": config.revision,
        "fingerprint of its weights": config.fingerprint.weights,
        "seed": str(config.seed),
        "versions": ", ".join(f"{name} {value}" for name, value in config.versions.items()),
        "made": config.created,
        "SHA-256 of the masks": config.checksum,
    }
    return "\n".join(f"- {name}: {_plain(value)}" for name, value in rows.items() if value)


def _plain(text: str) -> str:
    """Return a text as one line that cannot end a table's cell or begin a block."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def slug(text: str) -> str:
    """Return a text in the characters that the Hub takes for tags and names."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-") or "unnamed"
