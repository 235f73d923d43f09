"""The server: uvicorn around the application, and its orderly end."""

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

from prosopon.errors import OptionError
from prosopon.serving.access import Keys
from prosopon.serving.app import make_app
from prosopon.serving.gate import Gate
from prosopon.serving.service import Service

SLACK = 10
"""Seconds that refusals have to get out, after the grace is over."""


@dataclass(frozen=True)
class Address:
    """Where a server listens, and what it takes."""

    host: str = "127.0.0.1"
    port: int = 8000  # 0 for any that is free
    body_bytes: int = 1 << 20  # largest body of a request
    grace: float = 30.0  # seconds that running answers have when the server stops

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def check(self, keys: Keys) -> None:
        """Refuse (OptionError) to let other machines ask without a key."""
        if not (self.is_loopback or keys.protects):
            raise OptionError(
                f"--host {self.host}: other machines could ask without a key; set "
                "PROSOPON_API_KEY, or listen on 127.0.0.1"
            )


class Server(uvicorn.Server):
    """Serves a service until it is told to stop.

    Then it takes no more requests; what runs has ``grace`` seconds, and what is not done by then
    gets a 503.

    Args:
        service: What is served.
        address: Where.
        keys: Who may ask.
        listening: Called with the address, such as ``http://127.0.0.1:8000``, when it is open.
        mount: Puts a page beside the routes, and returns what ends its open streams.

    Raises:
        OptionError: Other machines could reach it, and no key is asked for.
    """

    def __init__(
        self, service: Service, address: Address, keys: Keys,
        listening: Callable[[str], None] = lambda url: None,
        mount: Callable[[FastAPI], Callable[[], None]] | None = None,
    ) -> None:  # fmt: skip
        address.check(keys)
        self._service, self._address, self._listening = service, address, listening
        local = address.is_loopback and not keys.protects
        app = make_app(service, keys.protects)
        self._end_page = mount(app) if mount else lambda: None
        gate = Gate(
            app,
            keys,
            service.metrics,
            address.body_bytes,
            local=local,
            page=mount is not None,
            methods=app.methods,
        )
        super().__init__(
            uvicorn.Config(
                gate, host=address.host, port=address.port, log_config=None, access_log=False,
                lifespan="on" if mount else "off", ws="none", server_header=False,
                timeout_graceful_shutdown=int(address.grace) + SLACK,
            )
        )  # fmt: skip

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve; afterwards the engine has stopped and the base model is back."""
        self._service.engine.start()
        try:
            super().run(sockets)
        finally:
            self._service.engine.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the address and tell it."""
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._listening(f"http://{f'[{host}]' if ':' in host else host}:{port}")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish or fail what runs, and close."""
        self._service.engine.drain(self._address.grace)
        self._end_page()
        await super().shutdown(sockets)
