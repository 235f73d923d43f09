"""A persona's mask as a command is given it: by name, as a folder, in a pack, or on the Hub.

Finding one reads no tensor and loads no library, so that a wrong name is refused at once.
"""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from prosopon.cli.options import expand_home
from prosopon.errors import OptionError, SubnetworkError

if TYPE_CHECKING:
    from prosopon.subnetwork import Subnetwork

CONFIG = "subnetwork_config.json"
HUB = "hf:"
PLACES = ("personas", "demo-artifacts")
"""Folders in which a persona's name is looked for: where extract and demo write."""
PREFERRED = "contrastive-taylor"
"""The criterion that a name alone means where there are masks of several."""

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


class MaskSource(NamedTuple):
    """Where masks are."""

    text: str  # what the command was given
    place: Path | str  # a folder, a pack's file, or an id on the Hub
    # one persona of a pack; None for all of them, or where there is no pack
    persona: str | None = None
    base_model: str | None = None  # the model that a folder's mask belongs to, where it says so


def find_mask(text: str) -> MaskSource:
    """Return where the masks are that a text means; an error says what is there instead."""
    path = expand_home(text)
    if text.startswith(HUB):
        return MaskSource(text, text.removeprefix(HUB))
    if _is(path, "dir"):
        return _folder(text, path)
    if _is(path, "file"):
        return MaskSource(text, path)
    pack, sign, persona = text.rpartition("#")
    if sign and _is(expand_home(pack), "file"):
        return MaskSource(text, expand_home(pack), persona)
    if _ID.fullmatch(text):
        return MaskSource(text, text)
    return _by_name(text)


def choose_model(model: str | None, sources: Sequence[MaskSource]) -> str:
    """Return the model to load: the one that is named, or the masks' own."""
    names = list(dict.fromkeys(source.base_model for source in sources if source.base_model))
    if model is not None or not names:
        return model or "embedded"
    if len(names) > 1:
        raise OptionError(f"the personas belong to different models: {', '.join(names)}")
    if Path(names[0]).is_absolute() and not Path(names[0]).exists():
        raise OptionError(
            f"{sources[0].text}: its model lay in {names[0]}, which is not here: give --model"
        )
    return names[0]


def load_masks(sources: Sequence[MaskSource]) -> dict[str, Subnetwork]:
    """Read masks and name them: by persona, with the criterion where that is not enough."""
    from prosopon.subnetwork import Subnetwork
    from prosopon.subnetwork.pack import Pack

    masks: list[tuple[MaskSource, str, Subnetwork]] = []
    for source in sources:
        if isinstance(source.place, Path) and source.place.is_file():
            pack = Pack(source.place)
            chosen = pack.names if source.persona is None else (source.persona,)
            masks += [(source, name, pack.load(name)) for name in chosen]
        else:
            mask = Subnetwork.from_pretrained(source.place)
            masks.append((source, mask.config.persona, mask))
    count = Counter(name for _, name, _ in masks)
    named: dict[str, Subnetwork] = {}
    for source, persona, mask in masks:
        ways = (f"{persona} ({mask.config.criterion})", f"{persona} ({Path(source.place).name})")
        names = [persona] if count[persona] == 1 else [name for name in ways if name not in named]
        if not names or any(mask == other for other in named.values()):
            raise OptionError(
                f"{source.text}: there is another mask of {persona}; give one of them"
            )
        named[names[0]] = mask
    return named


def load_mask(source: MaskSource) -> Subnetwork:
    """Read one mask; a pack of several is refused."""
    masks = load_masks([source])
    if len(masks) > 1:
        choices = ", ".join(masks)
        raise OptionError(f"{source.text}: a pack of several, write {source.text}#NAME: {choices}")
    return next(iter(masks.values()))


def _folder(text: str, folder: Path) -> MaskSource:
    if not (folder / CONFIG).is_file():
        raise SubnetworkError(f"{folder}: no persona's folder: there is no {CONFIG} in it")
    return MaskSource(text, folder, base_model=_read(folder).get("base_model"))


def _by_name(text: str) -> MaskSource:
    """Find a mask by its persona's name among those that extract and demo have written."""
    folders = sorted(
        config.parent for place in PLACES for config in Path(place).glob(f"*/{CONFIG}")
    )
    personas = {folder: _read(folder) for folder in folders}
    matches = [
        folder
        for folder, config in personas.items()
        if text in (config.get("persona"), folder.name)
    ]
    if len(matches) > 1:
        matches = [f for f in matches if personas[f].get("criterion") == PREFERRED] or matches
    if len(matches) == 1:
        return _folder(text, matches[0])
    if matches:
        raise OptionError(f"{text!r} means several: give one of {', '.join(map(str, matches))}")
    names = sorted({str(config.get("persona")) for config in personas.values()})
    close = difflib.get_close_matches(text, names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise SubnetworkError(
        f"{text}: no such folder or pack, and no persona in {' or '.join(PLACES)} is called so."
        f"{hint} Choices: {', '.join(names) or '(none)'}; prosopon extract makes one"
    )


def _read(folder: Path) -> dict[str, str]:
    """Return the provenance of a folder; what is wrong with it is said when it is loaded."""
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}


def _is(path: Path, kind: str) -> bool:
    """Tell what a path is; one that cannot be is nothing."""
    try:
        return path.is_dir() if kind == "dir" else path.is_file()
    except (OSError, ValueError):
        return False
