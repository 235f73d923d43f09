"""Making a persona beside the server: ``prosopon extract`` in a process of its own.

So the weights that answer are never touched, chats go on meanwhile, and a run that is stopped
leaves nothing. What was made is loaded by the engine between two batches, as any persona is.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from prosopon.errors import OptionError, PersonaError, ProsoponError
from prosopon.progress import PACE

if TYPE_CHECKING:
    from prosopon.serving.service import Service

NAME = re.compile(r"\w[\w .-]{0,59}")
SECONDS = "0.4"
"""Between two lines of progress."""

TICK = 1.0
"""Most seconds without a step."""

_LINE = re.compile(
    r"(?P<stage>[^;]+): (?P<done>\d+)/(?P<total>\d+) \(\d+%\)(?:, (?P<left>.+) left)?"
)


@dataclass(frozen=True)
class Recipe:
    """What a persona is made of."""

    name: str  # the folder it is written to, and what it is called
    target: str  # a bundled persona's name or a file
    opposite: str | None = None  # the same; None for the target's own
    examples: int = 64  # most of each side
    is_fast: bool = True  # about half of the time

    def words(self) -> list[str]:
        """Return the words of the command that makes it, from ``--target`` on."""
        opposite = ["--opposite", self.opposite] if self.opposite else []
        fast = ["--fast"] if self.is_fast else []
        return ["--target", self.target, *opposite, "--examples", str(self.examples), *fast]


class MakingStep(NamedTuple):
    """How far the making is."""

    stage: str
    share: float | None = None  # of the stage, in [0, 1]
    left: str = ""  # how long the stage will take, in words
    result: dict[str, Any] | None = None  # what extract says of the mask, in the last step


class Maker:
    """Makes personas for a server, one at a time.

    Args:
        service: The server's; it has a folder of personas.
        model: Words of the command line that name the model, as ``--model embedded``.
    """

    def __init__(self, service: Service, model: Sequence[str]) -> None:
        self._service, self._model = service, list(model)
        self.current: str | None = None  # what is being made

    def command(self, recipe: Recipe) -> str:
        """Return the command line that does the same."""
        folder = str(self._folder / recipe.name)
        words = [*self._model, *recipe.words(), "--output", folder]
        return f"prosopon extract {shlex.join(words)}"

    def check(self, recipe: Recipe) -> None:
        """Refuse what cannot be made, before anything is read.

        Raises:
            OptionError: The name cannot be a folder's, or is taken.
            PersonaError: Another one is being made.
        """
        name = recipe.name
        if not NAME.fullmatch(name) or name.endswith((".pack", ".", " ")) or name == "base":
            raise OptionError(
                f"{name!r} is no name for a persona: letters, digits, spaces, '.', '_' and '-', "
                "at most 60, and not 'base'"
            )
        if name in self._service.personas or (self._folder / name).exists():
            raise OptionError(f"a persona {name!r} is there already: give another name")
        if self.current is not None:
            raise PersonaError(f"{self.current!r} is being made; wait for it, or stop it")

    async def make(self, recipe: Recipe) -> AsyncGenerator[MakingStep, None]:
        """Make a persona and load it; closing the iterator ends the process.

        Raises:
            ProsoponError: What :meth:`check` refuses, or extract does, in extract's own words.
        """
        self.check(recipe)
        self.current = recipe.name
        try:
            step = MakingStep("starting")
            yield step
            words = [*self._model, *recipe.words(), "--output", str(self._folder / recipe.name)]
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "prosopon", "extract", *words, "--json",
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE, env=os.environ | {PACE: SECONDS},
            )  # fmt: skip
            assert process.stdout is not None
            assert process.stderr is not None
            # Read meanwhile: a full pipe would stop the process.
            answer, last = asyncio.create_task(process.stdout.read()), ""
            try:
                while True:
                    try:
                        line = await asyncio.wait_for(process.stderr.readline(), TICK)
                    except TimeoutError:
                        yield step  # time goes on
                        continue
                    if not line:
                        break
                    last = line.decode("utf-8", "replace").strip() or last
                    step = read_step(last) or step
                    yield step
                code = await process.wait()
            finally:
                with suppress(ProcessLookupError):
                    process.terminate()
                await process.wait()
                result = await answer
            if code != 0:
                said = last.removeprefix("error: ") or f"extract ended with code {code}"
                raise ProsoponError(said)
            yield MakingStep("loading between two batches", 1.0)
            await asyncio.to_thread(self._service.load, recipe.name)
            yield MakingStep("ready", 1.0, result=json.loads(result))
        finally:
            self.current = None

    @property
    def _folder(self) -> Path:
        if self._service.shelf is None:
            raise PersonaError("this server has no folder of personas to write to: --personas")
        return self._service.shelf.folder


def read_step(line: str) -> MakingStep | None:
    """Return the last stage that a line of progress tells of; None for any other line."""
    match = _LINE.fullmatch(line.split("; ")[-1])
    if match is None:
        return None
    done, total = int(match["done"]), int(match["total"])
    return MakingStep(match["stage"], done / total if total else 1.0, match["left"] or "")
