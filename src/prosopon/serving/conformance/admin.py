"""Loading and unloading a persona on a running server: ours, and vLLM's."""

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Protocol

from prosopon.serving.conformance.client import ModelServer, ServerError


class Admin(Protocol):
    """Whoever may load and unload on a server."""

    @property
    def sources(self) -> Mapping[str, str]:
        """What each persona can be loaded from; others are not loaded anew."""

    def load(self, persona: str, source: str) -> None:
        """Load what lies in a source under a persona's name."""

    def unload(self, persona: str) -> None:
        """Forget a persona."""


class OwnAdmin:
    """The routes of ``prosopon serve``.

    Args:
        server: The server.
        key: Its admin key.

    Raises:
        ServerError: It has no such routes, or refuses the key.
    """

    def __init__(self, server: ModelServer, key: str) -> None:
        self._server, self._key = server, key
        listed = server.call("GET", "/admin/personas", key=key)
        if not isinstance(listed, dict) or "sources" not in listed:
            raise ServerError(f"{server.root}/admin/personas: not a list of personas")
        self.sources: Mapping[str, str] = {
            name: name for name in listed["sources"] if name in listed["loaded"]
        }

    def load(self, persona: str, source: str) -> None:
        """See :meth:`Admin.load`."""
        body = {"source": source, "name": persona}
        self._server.call("POST", "/admin/personas", body, self._key)

    def unload(self, persona: str) -> None:
        """See :meth:`Admin.unload`."""
        self._server.call("DELETE", f"/admin/personas/{persona}", key=self._key)


class AdapterAdmin:
    """vLLM's routes for LoRA adapters, which need ``VLLM_ALLOW_RUNTIME_LORA_UPDATING=1``.

    Args:
        server: The server.
        folder: The folder, on the server's machine, that holds a folder for every persona.
        personas: Their names.
        model_name: Returns what the server calls a persona.
    """

    def __init__(
        self, server: ModelServer, folder: str, personas: list[str],
        model_name: Callable[[str], str],
    ) -> None:  # fmt: skip
        self._server, self._model_name = server, model_name
        self.sources: Mapping[str, str] = {
            name: str(PurePosixPath(folder) / name) for name in personas
        }

    def load(self, persona: str, source: str) -> None:
        """See :meth:`Admin.load`."""
        body = {"lora_name": self._model_name(persona), "lora_path": source}
        self._server.call("POST", "/v1/load_lora_adapter", body)

    def unload(self, persona: str) -> None:
        """See :meth:`Admin.unload`."""
        body = {"lora_name": self._model_name(persona)}
        self._server.call("POST", "/v1/unload_lora_adapter", body)
