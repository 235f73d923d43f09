"""The same server in many replicas: a Ray Serve application around the FastAPI application.

Every replica holds the model and all personas, so any of them can answer anything. Which personas
those are is said by the application's ``user_config``, which Ray hands to every replica, also to
those that start later; no replica is asked to change alone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict
from ray import serve

from prosopon.errors import OptionError, PersonaError
from prosopon.models import fingerprint, load_model
from prosopon.runtime import PersonaModel
from prosopon.serving.access import Keys
from prosopon.serving.app import make_app
from prosopon.serving.gate import Gate
from prosopon.serving.logs import start_logs
from prosopon.serving.refusal import Refusal
from prosopon.serving.service import Limits, Service, served_name
from prosopon.serving.shelf import HUB, Shelf

if TYPE_CHECKING:
    from prosopon.subnetwork import Subnetwork


class Settings(BaseModel):
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
    max_tokens: int = 1024
    timeout: float = 120.0
    max_body: int = 1 << 20
    grace: float = 20.0  # seconds that running answers have when a replica stops


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
        self.digests: dict[str, str] = {}  # of what was read last, by the folder's or pack's name

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

    def _read(self, source: str) -> list[tuple[str, Subnetwork]]:
        if source.startswith(HUB):
            raise PersonaError(
                f"{source}: replicas could get different versions of it: pull it into the folder"
            )
        masks, folder = super()._read(source), source.partition("#")[0]
        assert self.shelf is not None  # or nothing could be read
        self.digests[folder] = now = self.shelf.digest(folder)
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


class Replica:
    """One model with all personas. Ray starts, watches, stops and scales it."""

    def __init__(self, settings: dict[str, Any], pins: dict[str, str]) -> None:
        own = Settings(**settings)
        start_logs(sys.stderr, logging.INFO)
        loaded = load_model(own.model, device=own.device, dtype=own.dtype, revision=own.revision)
        self._settings = own
        self._service = ReplicaService(
            PersonaModel(loaded.model, loaded.tokenizer),
            own.name, Shelf(Path(own.personas)) if own.personas else None,
            Limits(own.max_tokens, own.timeout),
            pins=pins, rows=own.rows, queue=own.queue, mixing=own.mixing,
        )  # fmt: skip
        self._service.engine.start()

    def __serve_build_asgi_app__(self) -> Gate:
        """Return what Ray passes requests to."""
        keys, app = Keys.from_environment(), make_app(self._service)

        @app.get("/admin/replicas")
        async def replicas() -> list[dict[str, Any]]:
            """Describe all replicas: their personas, and whether their base is as it was."""
            answers: list[dict[str, Any]] = await (
                serve.get_deployment_handle("Replica", serve.get_replica_context().app_name)
                .broadcast("describe")
                .results_async()
            )
            return answers

        return Gate(
            app, keys, self._service.metrics, self._settings.max_body, local=not keys.protects
        )

    async def reconfigure(self, config: dict[str, Any]) -> None:
        """Hold the personas that the application's ``user_config`` names."""
        if set(config) != {"personas"}:
            raise OptionError(f"user_config {sorted(config)}: it has one key, personas")
        await asyncio.to_thread(self._service.hold, config["personas"])

    async def describe(self) -> dict[str, Any]:
        """Return what this replica holds; its base weights are read anew for the fingerprint."""
        service = self._service

        def read(wearer: PersonaModel) -> str:
            wearer.set_persona(None)
            return fingerprint(wearer.sites).weights

        now = await asyncio.wrap_future(service.engine.load(read))
        return {
            "replica": serve.get_replica_context().replica_id.unique_id,
            "process": os.getpid(),
            "personas": sorted(service.personas),
            "digests": service.digests,
            "fingerprint": now,
            "intact": now == service.fingerprint,
        }

    def check_health(self) -> None:
        """Raise where the engine is dead, so that Ray starts another replica."""
        if not self._service.engine.is_alive:
            raise RuntimeError("the engine is dead; see the log")

    def __del__(self) -> None:
        self._service.engine.close(self._settings.grace)


DEPLOYMENT = serve.deployment(serve.ingress()(Replica))


def build(args: Mapping[str, Any]) -> serve.Application:
    """Return the application, as ``import_path`` of a Serve config names it.

    Args:
        args: Fields of :class:`Settings`.

    Raises:
        OptionError: The folder is not absolute, or the name cannot be one.
        SubnetworkError: There is no such folder.
    """
    own, pins = Settings.model_validate(args), dict[str, str]()
    folder = own.personas
    if folder is not None:
        if not Path(folder).is_absolute():
            raise OptionError(f"args.personas {folder}: give it absolute, replicas run elsewhere")
        shelf = Shelf(Path(folder))
        pins = {source: shelf.digest(source) for source in shelf.sources}
    settings = own.model_dump() | {"name": served_name(own.name, own.model)}
    return DEPLOYMENT.bind(settings, pins)
