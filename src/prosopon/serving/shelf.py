"""The folder that personas are loaded from, and which no name leads out of."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from prosopon.errors import SubnetworkError, UnknownNameError
from prosopon.files import sha256_file
from prosopon.subnetwork.config import is_hub_id

if TYPE_CHECKING:
    from prosopon.subnetwork import Subnetwork

CONFIG = "subnetwork_config.json"
PACK = ".pack"
HUB = "hf:"


class Shelf:
    """The folders of personas, and the packs, that lie directly in a folder.

    Raises:
        SubnetworkError: There is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser()
        if not self.folder.is_dir():
            raise SubnetworkError(f"{folder}: no such folder of personas; make one with extract")

    @property
    def sources(self) -> list[str]:
        """Names of what can be loaded, sorted."""
        return sorted(path.name for path in self.folder.iterdir() if _kind(path))

    def read(self, source: str) -> "Iterator[tuple[str, Subnetwork]]":
        """Yield the personas of a source, by name.

        Args:
            source: A folder on the shelf, which is called as its persona; a pack there, or
                ``pack#name``; or ``hf:org/name``.

        Raises:
            UnknownNameError: There is no such source, or no such persona in the pack.
            SubnetworkError: It is damaged, or the Hub does not give it.
        """
        from prosopon.subnetwork import Subnetwork
        from prosopon.subnetwork.pack import Pack

        if source.startswith(HUB):
            place = source.removeprefix(HUB)
            if not is_hub_id(place) or Path(place).exists():
                raise SubnetworkError(f"{source}: no id on the Hub, such as hf:org/name")
            mask = Subnetwork.from_pretrained(place)
            yield mask.config.persona, mask
            return
        name, _, persona = source.partition("#")
        path = self._find(name)
        if path.is_dir():
            if persona:
                raise SubnetworkError(f"{source}: {name} is a folder, which holds one persona")
            yield name, Subnetwork.from_pretrained(path)
            return
        pack = Pack(path)
        for one in [persona] if persona else pack.names:
            yield one, pack.load(one)

    def digest(self, source: str) -> str:
        """Return a SHA-256 of the files of a source on the shelf.

        Raises:
            UnknownNameError: There is no such source.
        """
        path = self._find(source.partition("#")[0])
        files = sorted(one for one in path.iterdir() if one.is_file()) if path.is_dir() else [path]
        rows = "".join(f"{one.name} {sha256_file(one)}\n" for one in files)
        return hashlib.sha256(rows.encode()).hexdigest()

    def _find(self, name: str) -> Path:
        """Return the path of a source; whatever leads elsewhere is unknown."""
        if name not in self.sources:
            raise UnknownNameError("persona", name, self.sources)
        path = (self.folder / name).resolve()
        if path.parent != self.folder.resolve():
            raise SubnetworkError(f"{name}: is a link that leads out of the folder of personas")
        return path


def _kind(path: Path) -> bool:
    """Tell whether a path looks like a persona's folder or a pack."""
    return (path / CONFIG).is_file() or (path.suffix == PACK and path.is_file())
