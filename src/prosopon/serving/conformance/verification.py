"""All checks of a server, one after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from prosopon.errors import OptionError, UnknownNameError
from prosopon.serving.conformance.checks import (
    check_again,
    check_crowd,
    check_local,
    check_names,
    check_one_prompt,
    check_prefix,
    check_seeds,
    check_streams,
    learn_voices,
)
from prosopon.serving.conformance.client import ModelServer, ServerError, choose_route
from prosopon.serving.conformance.examiner import CheckSettings, Examiner
from prosopon.serving.conformance.reloads import check_reloads
from prosopon.serving.conformance.results import CheckResult, ServerReport

if TYPE_CHECKING:
    from prosopon.progress import Report
    from prosopon.serving.conformance.admin import Admin
    from prosopon.serving.conformance.local import LocalModel

NAME_FORMAT = "{base}:{persona}"

CHECKS: dict[str, Callable[[Examiner], Sequence[CheckResult]]] = {
    "crowd": check_crowd,
    "one-prompt": lambda examiner: [check_one_prompt(examiner)],
    "prefix": lambda examiner: [check_prefix(examiner)],
    "unknown-names": lambda examiner: [check_names(examiner)],
    "seeds": lambda examiner: [check_seeds(examiner)],
    "streams": lambda examiner: [check_streams(examiner)],
    "reloads": lambda examiner: [check_reloads(examiner)],
}
"""Checks by name; each voice alone, and against the local model, are always checked."""


class NameFormat:
    """What a server calls a persona: a text with ``{persona}``, and maybe ``{base}``.

    Raises:
        OptionError: It has no ``{persona}``, or another field.
    """

    def __init__(self, text: str = NAME_FORMAT) -> None:
        self._text = text
        try:
            named = self("b", "p") != self("b", "q")
        except (KeyError, ValueError, IndexError):
            named = False
        if not named:
            raise OptionError(f"--name-format {text!r}: give {{persona}}, and maybe {{base}}")

    def __call__(self, base: str, persona: str) -> str:
        """Return what the server calls a persona."""
        return self._text.format(base=base, persona=persona)


def verify_server(
    server: ModelServer,
    personas: Sequence[str],
    *,
    base: str | None = None,
    model_name: Callable[[str, str], str] | None = None,
    local: LocalModel | None = None,
    admin: Admin | None = None,
    settings: CheckSettings | None = None,
    checks: Sequence[str] = tuple(CHECKS),
    report: Report = lambda stage, done, total: None,
) -> ServerReport:
    """Ask a server in every way that is known to mix voices up, and say what came back wrong.

    Args:
        server: The server; its route is chosen here.
        personas: Names of the personas that it serves.
        base: What it calls the base; default the first model that it lists.
        model_name: Returns what it calls a persona, of base and persona; default
            ``base:persona``.
        local: The same model and personas here; without it only changes are seen.
        admin: Loads and unloads there; without it that is not tried.
        settings: How much is asked.
        checks: Which of :data:`CHECKS`.
        report: Progress.

    Raises:
        OptionError: There is no persona.
        UnknownNameError: There is no such check.
        ServerError: The server cannot be reached, or does not know a voice.
    """
    if not personas:
        raise OptionError("no persona to ask for: --personas holds no folder and no pack")
    for check in checks:
        if check not in CHECKS:
            raise UnknownNameError("check", check, CHECKS)
    model_name = model_name or NameFormat()
    listed = server.models()
    if base is None and not listed:
        raise ServerError(f"{server.root}: lists no model; say what it calls the base (--name)")
    base = base or listed[0]
    models = {None: base} | {name: model_name(base, name) for name in personas}
    notes: list[str] = []
    examiner = Examiner(
        server, models, model_name, settings or CheckSettings(), local, admin, report
    )
    try:
        choose_route(server, base, notes.append)
        notes += learn_voices(examiner)
    except ServerError as problem:
        if not problem.is_refusal:
            raise
        raise ServerError(
            f"{problem}; the server lists {', '.join(listed) or 'nothing'}: start it with these "
            "personas, or say how it calls them (--name, --name-format)",
            problem.status,
        ) from None
    results = [check_again(examiner)]
    if local is not None:
        results.append(check_local(examiner))
    else:
        notes.append(
            "without a local model a voice that is always wrong is not seen, and a prefix cache "
            "that mixes voices only where the order of asking shows"
        )
    for check in dict.fromkeys(checks):
        results += CHECKS[check](examiner)
    return ServerReport(
        server.root, base, list(personas), examiner.tolerance,
        examiner.local_tolerance if local is not None else None, results, notes,
    )  # fmt: skip
