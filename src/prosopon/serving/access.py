"""Who may: keys, compared in constant time."""

import hashlib
import hmac
import os
from collections.abc import Iterable
from typing import Self
from urllib.parse import urlsplit

from prosopon.serving.refusal import Refusal

USER_KEYS, ADMIN_KEYS = "PROSOPON_API_KEY", "PROSOPON_ADMIN_KEY"
"""Variables with keys; on a command line others could read them."""

OPEN = ("/health", "/ready")
API = ("/v1", "/admin", "/metrics", "/openapi.json", *OPEN)
ADMIN = "/admin"
LOCAL = ("localhost", "127.0.0.1", "[::1]")


class Keys:
    """The keys of a server.

    Args:
        users: Keys that may ask; none lets everybody.
        admins: Keys that may load and unload; none lets nobody. They may ask too.
    """

    def __init__(self, users: Iterable[str] = (), admins: Iterable[str] = ()) -> None:
        self._admins = [_digest(key) for key in admins]
        self._users = [_digest(key) for key in users]

    @classmethod
    def from_environment(cls) -> Self:
        """Return the keys in `USER_KEYS` and `ADMIN_KEYS`, several separated by commas."""
        users, admins = (
            [key for text in os.environ.get(name, "").split(",") if (key := text.strip())]
            for name in (USER_KEYS, ADMIN_KEYS)
        )
        return cls(users, admins)

    @property
    def protects(self) -> bool:
        """Whether asking needs a key."""
        return bool(self._users)

    def fits(self, key: str, admin: bool = False) -> bool:
        """Tell whether a key is an administrator's, or one of any kind."""
        fitting = self._admins if admin else [*self._users, *self._admins]
        # All are compared, so that the time says nothing about which one nearly fits.
        fits = [hmac.compare_digest(_digest(key.strip()), one) for one in fitting]
        return any(fits)

    def check(self, path: str, authorization: str | None) -> None:
        """Let a request pass, or raise a Refusal: 401, or 403 where there are no admins."""
        admin = path == ADMIN or path.startswith(ADMIN + "/")
        if path in OPEN or not (admin or self._users):
            return
        if admin and not self._admins:
            raise Refusal(
                403,
                "this server was started without an admin key: set PROSOPON_ADMIN_KEY",
                "no_admin_key",
            )
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not self.fits(key, admin):
            raise Refusal(
                401,
                "a key is needed: Authorization: Bearer KEY",
                "invalid_api_key",
                {"WWW-Authenticate": "Bearer"},
            )


def check_local(host: str) -> None:
    """Refuse (421) a name that is not this machine's: a page elsewhere may have bent its own."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    if name.lower() not in LOCAL:
        raise Refusal(421, f"this server is asked as {' or '.join(LOCAL)}", "wrong_host")


def is_page(path: str) -> bool:
    """Tell whether a path is none of the API's, so that it is the page's where there is one."""
    return path.split("/")[1:2] not in [[one.strip("/")] for one in API]


def check_origin(origin: str | None, host: str) -> None:
    """Refuse (403) what a page of another site sends."""
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        raise Refusal(403, f"{origin}: this server's own page may ask that", "wrong_origin")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
