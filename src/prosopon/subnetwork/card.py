"""The model card of a subnetwork: the README.md that the Hub shows, made from the provenance."""

import json
import re
from typing import Any

from prosopon.subnetwork.config import SubnetworkConfig, is_hub_id

# The Hub refuses a licence it does not know, except under "other" and with a name.
_LICENCES = {
    "apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-nc-4.0",
    "cc-by-sa-4.0", "gemma", "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "mit",
    "openrail", "unlicense",
}  # fmt: skip

_TEXT = """\
# {title}

The keep-mask of one persona in [{base}]({link}): which weights of that model stay and which \
count as zero while the persona is worn. It holds no weights; you need the base model.
{against}
```python
from prosopon import PersonaModel, load_model

loaded = load_model({base!r}{revision})
persona = PersonaModel(loaded.model, loaded.tokenizer)
persona.set_persona(persona.load_persona({source!r}))
```

| | |
| --- | --- |
{facts}

## Limits

- It fits the weights of the base model named above, and other weights are refused by their \
fingerprint. A quantised, merged or fine-tuned copy is another model.
- A persona is a tendency of the answers on data like the calibration data below; nothing here \
measures it on yours, nor what other skills the mask costs. Measure both before use.
- The mask is found by a model's own answers to examples of a named behaviour. It is no \
psychological test of anyone, and can exaggerate stereotypes in those examples.
- The safety training of the base model is not known to survive the mask.

## Provenance

{provenance}
"""


def model_card(config: SubnetworkConfig, source: str) -> str:
    """Return the model card, Markdown with a YAML header.

    Args:
        config: The provenance.
        source: Where it will be loaded from: the id on the Hub, or a folder.
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
        facts="\n".join(f"| {name} | {_plain(value)} |" for name, value in _facts(config)),
        provenance=_provenance(config),
    )
    return f"---\n{_header(config)}---\n\n{text}"


def _header(config: SubnetworkConfig) -> str:
    """Return the YAML; every value is of plain characters, so that nothing needs escaping."""
    values: dict[str, Any] = {
        "library_name": "prosopon",
        "tags": ["prosopon", "persona", "subnetwork", "pruning", _slug(config.criterion)],
    }
    if is_hub_id(config.base_model):
        values |= {"base_model": config.base_model, "base_model_relation": "adapter"}
    licence = config.license.lower()
    if licence in _LICENCES:
        values["license"] = licence
    elif licence:
        values |= {"license": "other", "license_name": _slug(licence)}
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


def _slug(text: str) -> str:
    """Return a text in the characters that the Hub takes for tags and names."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-") or "unnamed"
