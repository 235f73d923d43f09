"""The same server in many replicas: a Ray Serve application around the FastAPI application.

Every replica holds the model and all personas, so any of them can answer anything. Which personas
those are is said by the application's ``user_config``, which Ray hands to every replica, also to
those that start later (:mod:`prosopon.serving.replica`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray import serve
from ray.exceptions import RayActorError

from prosopon.errors import OptionError
from prosopon.models import load_model
from prosopon.runtime import PersonaModel
from prosopon.serving.access import Keys
from prosopon.serving.app import make_app
from prosopon.serving.gate import Gate
from prosopon.serving.logs import start_logs
from prosopon.serving.refusal import Refusal
from prosopon.serving.replica import ReplicaService, ReplicaSettings
from prosopon.serving.service import Limits
from prosopon.serving.shelf import Shelf


class Replica:
    """One model with all personas. Ray starts, watches, stops and scales it."""

    def __init__(self, settings: dict[str, Any], pins: dict[str, str]) -> None:
        own = ReplicaSettings(**settings)
        start_logs(sys.stderr, logging.INFO)
        loaded = load_model(own.model, device=own.device, dtype=own.dtype, revision=own.revision)
        self._settings = own
        self._service = ReplicaService(
            PersonaModel(loaded.model, loaded.tokenizer),
            own.name, Shelf(Path(own.personas)) if own.personas else None,
            Limits(own.max_tokens, own.timeout),
            pins=pins, rows=own.rows, queue=own.queue, mixing=own.mixing, kind=own.engine,
            cache_tokens=own.cache_tokens,
        )  # fmt: skip
        self._service.engine.start()

    def __serve_build_asgi_app__(self) -> Gate:
        """Return what Ray passes requests to."""
        keys, app = Keys.from_environment(), make_app(self._service)

        @app.get("/admin/replicas")
        async def replicas() -> list[dict[str, Any]]:
            """Describe all replicas: their personas, and whether their base is as it was."""
            application = serve.get_replica_context().app_name
            handle = serve.get_deployment_handle("Replica", application)
            try:
                answers: list[dict[str, Any]] = await handle.broadcast("describe").results_async()
            except RayActorError as problem:
                raise Refusal(
                    503, "a replica has just died, and Ray starts another: ask again",
                    "replica_died", {"Retry-After": "5"},
                ) from problem  # fmt: skip
            return answers

        return Gate(
            app, keys, self._service.metrics, self._settings.max_body, local=not keys.protects
        )

    async def reconfigure(self, config: dict[str, Any]) -> None:
        """Hold the personas that the application's ``user_config`` names."""
        names = config.get("personas")
        if set(config) != {"personas"} or not isinstance(names, list | None):
            raise OptionError(f"user_config {config}: it is personas: null for all, or a list")
        await asyncio.to_thread(self._service.hold, names)

    async def describe(self) -> dict[str, Any]:
        """Return which replica this is, and what it holds."""
        state = await asyncio.to_thread(self._service.describe)
        name = serve.get_replica_context().replica_id.unique_id
        return {"replica": name, "process": os.getpid()} | state

    def check_health(self) -> None:
        """Raise where the engine is dead, so that Ray starts another replica."""
        if not self._service.engine.is_alive:
            raise RuntimeError("the engine is dead; see the log")

    def __del__(self) -> None:
        if service := getattr(self, "_service", None):  # the model may not have loaded
            service.engine.close(self._settings.grace)


DEPLOYMENT = serve.deployment(serve.ingress()(Replica))


def build(args: Mapping[str, Any]) -> serve.Application:
    """Return the application, as ``import_path`` of a Serve config names it.

    Args:
        args: Fields of :class:`ReplicaSettings`.

    Raises:
        ProsoponError: See :meth:`~prosopon.serving.replica.ReplicaSettings.resolve`.
    """
    return DEPLOYMENT.bind(*ReplicaSettings.model_validate(args).resolve())
