"""What schemathesis makes up is bent towards requests that reach the engine; see fuzz_server.py."""

from __future__ import annotations

import os
from typing import Any

import schemathesis

NAMES = os.environ["FUZZ_NAMES"].split(",")
"""Personas that are loaded."""


def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Name models and personas that are there in three bodies of four."""
    body = case.body
    if not isinstance(body, dict) or not isinstance(text := body.get("model"), str):
        return
    choice = len(text) % 4
    if choice < 3:
        body["model"] = ["base", f"base:{NAMES[0]}", "embedded"][choice]
    persona = body.get("persona")
    if not isinstance(persona, dict) or choice == 3:
        return
    if isinstance(name := persona.get("name"), str):
        persona["name"] = NAMES[len(name) % len(NAMES)]
    if isinstance(blend := persona.get("blend"), dict) and blend:
        persona["blend"] = dict(zip(NAMES, blend.values(), strict=False))


schemathesis.hook(before_call)
