"""``prosopon extract``: from a model and two personas to a folder."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from typer import Option

from prosopon import ranks
from prosopon.cli.console import note, print_json, progress, say
from prosopon.cli.describing import EXAMPLES, Words
from prosopon.cli.loading import load
from prosopon.cli.options import (
    FEW,
    Force,
    Ignore,
    Json,
    Layers,
    Model,
    ModelPlace,
    Only,
    OutputOrDefault,
    Seed,
    Targets,
    check_folder,
    default_criterion,
    fast_rounds,
    in_english,
    key_values,
)
from prosopon.errors import OptionError
from prosopon.progress import count_things, format_duration

if TYPE_CHECKING:
    from prosopon.data import Persona
    from prosopon.subnetwork import SubnetworkConfig

_PERSONA = "A bundled persona's name, library:NAME, character:NAME, a file, or hf:org/name."


def extract(
    target: Annotated[str | None, Option("--target", "-t", help=_PERSONA)] = None,
    opposite: Annotated[
        str | None,
        Option(
            help=f"{_PERSONA} Default: a bundled persona's own opposite, or the target's answers "
            "that do not match."
        ),
    ] = None,
    model: Model = "embedded",
    criterion: Annotated[
        str | None,
        Option(
            "--criterion",
            "-c",
            help="See prosopon criteria. Default: contrastive-kl, which measures what general "
            "text loses and sets its dose by that; on the embedded model, or with --sparsity or "
            "--sequential, contrastive-taylor.",
        ),
    ] = None,
    sparsity: Annotated[
        str | None,
        Option(
            "--sparsity",
            "-s",
            help="Share of weights to prune, between 0 and 1, or auto: chosen on examples held "
            "out (contrastive-taylor).",
        ),
    ] = None,
    pattern: Annotated[
        str | None,
        Option(
            help="row, site, global, n:m (2:4, 4:8), lora:R (at most R rows and columns of a "
            "matrix: a LoRA of rank R exactly), channels or heads; default the criterion's."
        ),
    ] = None,
    option: Annotated[
        list[str] | None, Option(help="An option of the criterion, key=value. May be repeated.")
    ] = None,
    scope: Annotated[str | None, Option(help="Tokens that count: response or all.")] = None,
    examples: Annotated[
        int | None,
        Option(
            "--examples",
            "-n",
            min=1,
            help=f"Most examples of each side; default 128, with --describe {EXAMPLES}.",
        ),
    ] = None,
    general: Annotated[
        str | None,
        Option(
            help="Text that must not suffer, or answers or start, which the model then writes; "
            "default what suits the model."
        ),
    ] = None,
    protect: Annotated[
        list[str] | None,
        Option(help=f"Another persona that the mask should leave alone. {_PERSONA}"),
    ] = None,
    max_length: Annotated[int | None, Option(min=8, help="Longest example in tokens.")] = None,
    targets: Targets = None,
    ignore: Ignore = None,
    layers: Layers = None,
    only: Only = None,
    sequential: Annotated[
        bool,
        Option(
            "--sequential",
            help="Read the model layer by layer from disk, for one larger than memory.",
        ),
    ] = False,
    work_dir: Annotated[
        Path | None,
        Option(help="With --sequential: keeps finished layers, so that a killed run goes on."),
    ] = None,
    fast: Annotated[
        bool,
        Option(
            "--fast",
            help="A first light mask in about half of the time, and half as strong on a chat "
            "model: a third of the rounds, and at most 32 examples and general texts.",
        ),
    ] = False,
    output: OutputOrDefault = None,
    force: Force = False,
    seed: Seed = 0,
    as_json: Json = False,
    *,
    words: Words,
    place: ModelPlace,
) -> None:
    """Find a persona in a model and write its subnetwork.

    The persona is given by examples (--target), or in words (--describe).
    """
    began = time.perf_counter()
    if ranks.is_launched():
        place = own_place(words, sequential, place)
    words.check(target, opposite, sequential)
    target, opposite, *protect = in_english(model, target, opposite, *(protect or ()))
    _check_sources(target, opposite, *(protect or ()))
    if words.describe is not None:
        _check_sources(None if general in ("answers", "start") else general)
    share = parse_sparsity(sparsity)
    criterion = criterion or default_criterion(model, share is None and not sequential)
    values = key_values(option, criterion)
    if sequential:
        refuse(
            "--sequential",
            {"--device-map": place.device_map, "--general": general, "--protect": protect or None},
        )
    else:
        refuse("a run without --sequential", {"--work-dir": work_dir})
    if output is not None:
        check_folder(output, force)
    from prosopon.criteria import CRITERIA
    from prosopon.data import load_contrast
    from prosopon.description.wordings import short_name
    from prosopon.extraction import Extractor, resolve_contrast
    from prosopon.layerwise import SequentialSettings, check_sequential, extract_sequential
    from prosopon.lm.context import context_length
    from prosopon.models import EMBEDDED
    from prosopon.selection import find_pattern

    check_scope(scope)
    chosen = CRITERIA.get(criterion)
    teaches = "prompt_weight" in values and "prompt_line" not in values
    if words.describe is not None and teaches:  # the first wording, once they are known
        values["prompt_line"] = words.describe
    chosen.parse_options(values)
    if fast:
        values = {"rounds": str(fast_rounds(chosen)), **values}
        examples = min(examples or FEW, FEW)
    if share != "auto":
        find_pattern(pattern or chosen.pattern).share(share, default=0.5)
    if sequential:
        check_sequential(criterion, pattern, share)
    limit = examples or 128
    loaded = None
    if words.describe is not None:
        folder = output or Path("personas") / f"{short_name(words.describe)}-{criterion}"
        check_folder(folder, force)
        loaded = load(model, place)
        with progress() as report:
            written = words.write(
                loaded, folder, count=examples or EXAMPLES, seed=seed, force=force, report=report
            )
        if teaches:
            values["prompt_line"] = written.lines[0]
        ours, theirs = written.target, cast("Persona | None", written.opposite)
    else:
        assert target is not None
        ours, theirs = resolve_contrast(
            target, opposite, criterion=criterion, limit=limit, seed=seed
        )
        folder = output or Path("personas") / f"{ours.name}-{criterion}"
        check_folder(folder, force)
    protected = [load_contrast(p, None, limit=limit, seed=seed) for p in protect or ()]
    sides = [ours] if theirs is None else [ours, theirs]
    counts = [f"{count_things(len(side.examples), 'example')} of {side.name}" for side in sides]
    note(f"read {' and '.join(counts)}")
    for line in dict.fromkeys(line for side in sides for line in side.notes):
        note(line)
    if criterion == "contrastive-taylor" and model != EMBEDDED and share != "auto":
        note(SMALL_MODEL)
    what: dict[str, Any] = {
        "criterion": criterion,
        "sparsity": share,
        "pattern": pattern,
        "options": values,
    }
    reading: dict[str, Any] = {
        "targets": targets or None, "ignore": ignore or (), "layers": layers, "only": only,
        "scope": scope, "seed": seed, "max_length": max_length,
    }  # fmt: skip
    with progress() as report:
        if sequential:
            reading |= {"device": place.device, "dtype": place.dtype, "revision": place.revision}
            settings = SequentialSettings(**reading, work_dir=work_dir)
            config = extract_sequential(
                model, ours, theirs, output=folder, settings=settings, report=report, **what
            )
            compensated = False
        else:
            loaded = loaded or load(model, place)
            reading |= {"general_count": FEW} if fast else {}
            longest = context_length(loaded.model)
            if longest is not None and max_length is not None and max_length > longest:
                raise OptionError(
                    f"--max-length {max_length}: {model} reads at most {longest} tokens"
                )
            extractor = Extractor(
                loaded.model, loaded.tokenizer, name=loaded.name, report=report, general=general,
                revision=loaded.revision or place.revision, **reading,
            )  # fmt: skip
            subnetwork = extractor.extract(ours, theirs, **what, protect=protected)
            ranks.wait()  # nothing is written where another rank fails
            if not ranks.is_first():
                return
            subnetwork.save_pretrained(folder)
            config, compensated = subnetwork.config, subnetwork.compensation is not None
    if words.describe is not None:
        words.answers(folder).unlink(missing_ok=True)
    _finish(folder, config, began, as_json, compensated)


def own_place(words: Words, sequential: bool, place: ModelPlace) -> ModelPlace:
    """Return a place for this rank's model; raise an OptionError for what ranks cannot share."""
    import torch

    if words.describe is not None:
        raise OptionError(
            "--describe writes its examples in one process: write them without torchrun and with "
            "--save FILE, then give --target FILE under torchrun"
        )
    if sequential:
        raise OptionError(
            "--sequential holds one layer at a time, in one process: leave it or torchrun out"
        )
    if place.device_map is not None:
        raise OptionError(
            "--device-map spreads one model over all devices, and under torchrun every process "
            "holds a model of its own: leave one of the two out"
        )
    if place.device not in ("auto", "cpu", "cuda"):
        raise OptionError(
            f"--device {place.device}: under torchrun every process has a device of its own. "
            "Choices: auto, cpu, cuda"
        )
    on_gpu = place.device == "cuda" or (place.device == "auto" and torch.cuda.is_available())
    return replace(place, device=f"cuda:{ranks.local_rank()}" if on_gpu else "cpu")


SMALL_MODEL = (
    "The defaults of contrastive-taylor were found on the embedded model, of two million "
    "parameters; on a real language model they break the text. --criterion contrastive-kl "
    "measures what the mask costs, and --sparsity auto looks for settings."
)


def _check_sources(*sources: str | None) -> None:
    """Refuse the name of a persona that is nowhere, before any library is loaded."""
    from prosopon.data.loading import load_persona

    for source in sources:
        if source is not None and not source.startswith(("hf:", "character:")):
            load_persona(source, limit=1)


def _finish(
    folder: Path, config: SubnetworkConfig, began: float, as_json: bool, compensated: bool
) -> None:
    """Say what was written."""
    pruned = sum(record.pruned for record in config.sites.values())
    total = sum(record.total for record in config.sites.values())
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
        "unread_experts": config.options.get("unread_experts", []),
        "warning": config.options.get("warning"),
        "origin": config.calibration.origin,
        "seconds": round(time.perf_counter() - began, 2),
    }
    if warning := config.options.get("warning"):
        note(f"warning: {warning}")
    if as_json:
        print_json(result)
        return
    say(
        f"{config.persona}: {config.criterion} pruned {pruned:,} of {total:,} weights "
        f"({pruned / total:.3%}) in {len(config.sites)} sites, "
        f"{format_duration(time.perf_counter() - began)}"
    )
    if auto := config.options.get("auto"):
        say(_chosen(auto))
    if unread := config.options.get("unread_experts"):
        say(_spared(unread))
    say(f"written to {folder}")
    if compensated:
        say("with new values of the kept weights in compensation.safetensors, worn with the mask")


def _spared(unread: Sequence[str]) -> str:
    """Say which experts a mask leaves alone because the examples never came to them."""
    more = f" and {len(unread) - 1} more" if len(unread) > 1 else ""
    return f"kept whole, since no token of the examples came to it: expert {unread[0]}{more}"


def check_scope(scope: str | None) -> None:
    """Raise :class:`OptionError` for a scope that does not exist."""
    from prosopon.data import SCOPES

    if scope is not None and scope not in SCOPES:
        raise OptionError(f"unknown scope {scope!r}. Choices: {', '.join(SCOPES)}")


def parse_sparsity(text: str | None) -> float | Literal["auto"] | None:
    """Return what ``--sparsity`` says."""
    if text is None or text == "auto":
        return cast('Literal["auto"] | None', text)
    try:
        return float(text)
    except ValueError:
        raise OptionError(f"--sparsity {text!r}: give a number or 'auto'") from None


def refuse(where: str, values: Mapping[str, object]) -> None:
    """Raise :class:`OptionError` for an option that has no meaning there."""
    for name, value in values.items():
        if value is not None:
            raise OptionError(f"{name} has no meaning in {where}")


def _chosen(auto: dict[str, Any]) -> str:
    """Say in a line what ``--sparsity auto`` or a budget of loss chose, and on what grounds."""
    if "general_loss" in auto:
        return (
            f"lambda {auto['damage']:.3g}: general text held out loses "
            f"{auto['general_loss']:.3f} nats a token; read {auto['texts_backward']:,} texts "
            f"forward and backward, {auto['texts_forward']:,} forward only"
        )
    ratio = auto["quick"]["perplexity_ratio"]
    line = f"chose lambda {auto['damage']:g} after {auto['rounds']} rounds: "
    if auto["share"] is not None:
        line += f"{auto['share']:.0%} of held-out answers are the persona's "
        line += f"(base {auto['base_share']:.0%}), "
    line += f"general perplexity x {ratio:.3f}"
    if not auto["within_tolerance"]:
        line += f", above the tolerance of {1 + auto['tolerance']:g}"
    return line
