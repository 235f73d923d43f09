"""A server among several with the same personas: none of them changes alone.

Which personas those are is handed to every replica, also to those that start later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from prosopon.errors import OptionError, PersonaError
from prosopon.models import fingerprint
from prosopon.serving.engine import EngineKind
from prosopon.serving.refusal import Refusal
from prosopon.serving.service import Service, served_name
from prosopon.serving.shelf import HUB, Shelf

if TYPE_CHECKING:
    from prosopon.runtime import PersonaModel
    from prosopon.subnetwork import Subnetwork


class ReplicaSettings(BaseModel):
    """``args`` of the application: what every replica does, as the options of ``serve`` say."""

    model_config = ConfigDict(extra="forbid")

    model: str = "embedded"  # embedded, a folder that every machine has, or an id on the Hub
    personas: str | None = None  # folder of personas, absolute, the same on every machine
    name: str | None = None  # what clients call the model; default its own name
    revision: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    rows: int = 8
    queue: int = 64
    mixing: bool = True
    engine: EngineKind = "static"
    cache_tokens: int | None = None
    max_tokens: int = 1024
    timeout: float = 120.0
    max_body: int = 1 << 20
    grace: float = 20.0  # seconds that running answers have when a replica stops

    def resolve(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Return what every replica gets: settings, and the digests of what lies on the shelf.

        Raises:
            OptionError: The folder is not absolute, or the name cannot be one.
            SubnetworkError: There is no such folder.
        """
        pins: dict[str, str] = {}
        if self.personas is not None:
            if not Path(self.personas).is_absolute():
                raise OptionError(
                    f"args.personas {self.personas}: give it absolute; replicas run elsewhere"
                )
            shelf = Shelf(Path(self.personas))
            pins = {source: shelf.digest(source) for source in shelf.sources}
        return self.model_dump() | {"name": served_name(self.name, self.model)}, pins


class ReplicaService(Service):
    """A service that holds the personas of its application and changes none by itself.

    Args:
        pins: Digest of every source on the shelf when the application was deployed. A replica
            that starts later finds the same, or says what changed.
        service: As :class:`~prosopon.serving.service.Service` has it.
    """

    def __init__(self, *service: Any, pins: Mapping[str, str], **engine: Any) -> None:
        super().__init__(*service, **engine)
        self._pins, self._sources = pins, dict[str, list[str]]()
        self._digests: dict[str, str] = {}  # of what was read last, by the folder's or pack's name

    def hold(self, sources: Sequence[str] | None) -> None:
        """Load and unload until exactly these sources are here (None: all), or change nothing.

        Raises:
            ProsoponError: One of them cannot be loaded.
        """
        wanted, fresh = list(self._pins) if sources is None else sources, dict[str, list[str]]()
        try:
            for source in wanted:
                if source not in self._sources:
                    fresh[source] = super().load(source)
        except BaseException:
            for names in fresh.values():
                self._forget(names)
            raise
        for source in [one for one in self._sources if one not in wanted]:
            self._forget(self._sources.pop(source))
        self._sources |= fresh

    def _forget(self, names: Sequence[str]) -> None:
        for name in names:
            super().unload(name)

    def load(self, source: str, name: str | None = None) -> list[str]:
        """Refuse (409): the other replicas would not have it."""
        raise _for_all()

    def unload(self, name: str) -> None:
        """Refuse (409): the other replicas would still have it."""
        raise _for_all()

    def describe(self) -> dict[str, Any]:
        """Return what is held; the base's weights are read anew for the fingerprint."""

        def read(wearer: PersonaModel) -> str:
            wearer.set_persona(None)
            return fingerprint(wearer.sites).weights

        now = self.engine.load(read).result()
        digests = {source: self._digests[source.partition("#")[0]] for source in self._sources}
        return {
            "personas": sorted(self.personas),
            "digests": digests,
            "fingerprint": now,
            "intact": now == self.fingerprint,
            "engine": self.engine.description,
            "prompt_tokens": {"all": self.engine.prompt_tokens, "read_before": self.engine.shared},
        }

    def _read(self, source: str) -> list[tuple[str, Subnetwork]]:
        if source.startswith(HUB):
            raise PersonaError(
                f"{source}: replicas could get different versions of it: pull it into the folder"
            )
        masks, folder = super()._read(source), source.partition("#")[0]
        assert self.shelf is not None  # or nothing could be read
        self._digests[folder] = now = self.shelf.digest(folder)
        if now != self._pins.get(folder, now):
            raise PersonaError(
                f"{folder}: was changed after the application was deployed, and other replicas "
                "may hold what it was: give what is new another name"
            )
        return masks


def _for_all() -> Refusal:
    return Refusal(
        409,
        "this server has several replicas, and one alone must not change: write the personas into "
        "user_config of the application's file and run serve deploy",
        "many_replicas",
    )
