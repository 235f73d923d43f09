"""The part of the page where personas are made. Needs gradio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import gradio as gr

from prosopon.data import load_persona
from prosopon.errors import ProsoponError
from prosopon.page import markup
from prosopon.page.making import Maker, Recipe
from prosopon.page.pieces import COPY, LIVE, QUIET, buttons, choice, count, example_file
from prosopon.page.talk import explain
from prosopon.progress import count_things

BUNDLED, OWN = "A bundled one", "My own examples"
NO_ADMIN = "Sign in as admin, with an administrator's key, to make one."


class MakePart:
    """A form, what came of it, and how far it is.

    Args:
        maker: Makes them.
        sources: Names of the personas that come with the package.
        admits: Tells whether whoever sent a request may make one.

    Attributes:
        done: The event after a persona was made, or was not.
        talk: A button to talk to what was made.
        name: What that is called.
    """

    def __init__(
        self, maker: Maker, sources: Sequence[str], admits: Callable[[gr.Request], bool]
    ) -> None:
        self._maker, self._admits = maker, admits
        with gr.Row(elem_id="make"):
            with gr.Column(min_width=280):
                kind = gr.Radio([BUNDLED, OWN], value=BUNDLED, label="What it is made of")
                source = choice("Persona", list(sources), sources[0])
                with gr.Column(visible=False) as files:
                    target, read = example_file("Examples of the persona"), gr.HTML()
                    opposite, read_other = example_file("Examples of its opposite"), gr.HTML()
                name = gr.Textbox(
                    label="Name", placeholder="as the persona or the file", max_lines=1
                )
                examples = count("Most examples of each side", 2, 512, 64)
                fast = gr.Checkbox(
                    True, label="A quick first mask, in about half of the time, and half as strong"
                )
                go = gr.Button("Make it", variant="primary")
                halt = gr.Button("Stop", visible=False)
            with gr.Column(min_width=280):
                shown, command = (
                    gr.HTML(_BEGIN, elem_id="making"),
                    gr.HTML(js_on_load=COPY, elem_id="command"),
                )
                self.talk = gr.Button("Talk to it", visible=False)
        self.name = gr.State("")
        kind.change(
            lambda kind: [gr.update(visible=kind == BUNDLED), gr.update(visible=kind == OWN)],
            kind, [source, files], **QUIET,
        )  # fmt: skip
        for file, box in ((target, read), (opposite, read_other)):
            file.change(check_file, file, box, **QUIET)
        results = [shown, command, go, halt, self.talk, self.name]
        form = [kind, source, target, opposite, name, examples, fast]
        run = go.click(self.make, form, results, **LIVE)
        halt.click(self.halt, None, results, cancels=[run], **QUIET)
        self.done = run.then

    async def make(
        self, request: gr.Request, kind: str, source: str, target: str | None,
        opposite: str | None, name: str, examples: float, fast: bool,
    ) -> AsyncIterator[Any]:  # fmt: skip
        """Make a persona as the form says."""
        if kind == BUNDLED:
            target, opposite = source, None
        began, plain = time.monotonic(), Path(target or "").stem.rpartition(":")[2]
        try:
            if not self._admits(request):
                raise ProsoponError(NO_ADMIN)
            if not target:
                raise ProsoponError("Give a file with examples of the persona.")
            recipe = Recipe(name.strip() or plain, target, opposite, int(examples), fast)
            line = self._maker.command(recipe)
            async with aclosing(self._maker.make(recipe)) as steps:
                async for step in steps:
                    if step.result is None:
                        text = markup.progress(recipe.name, step, time.monotonic() - began)
                        yield _state(text, line, busy=True)
                    else:
                        yield _state(markup.ready(step.result), line, name=recipe.name)
        except Exception as problem:
            yield _state(markup.notice(without_folders(explain(problem), target, opposite)))

    def halt(self) -> list[Any]:
        """Say that it was stopped; gradio cancels what makes it."""
        return _state(markup.notice("Stopped; nothing was written.", "status"))


async def check_file(path: str | None) -> str:
    """Say what a file holds, or in which line it is wrong."""
    if path is None:
        return ""
    try:
        persona = await asyncio.to_thread(load_persona, path)
    except ProsoponError as problem:
        return markup.notice(without_folders(explain(problem), path))
    return markup.notice(f"{count_things(len(persona.examples), 'example')} read.", "status")


def without_folders(text: str, *paths: str | None) -> str:
    """Call uploaded files by their names, without the folders they were put in."""
    for path in map(Path, filter(None, paths)):
        if path.is_absolute():
            text = text.replace(f"{path.parent}/", "")
    return text


_BEGIN = (
    '<div class="empty"><h2>A persona from examples</h2><p>The weights that argue against it are '
    "looked for beside the server, so everybody can go on talking. A file holds a text a line, or "
    "prompts and answers as JSON lines; the opposite answers the same questions otherwise."
    "</p></div>"
)


def _state(text: str, line: str = "", busy: bool = False, name: str = "") -> list[Any]:
    """Return what stands beside the form: the text, the command, the buttons and the name."""
    command = line and markup.code("The same as a command", line)
    return [text, command, *buttons(busy), gr.update(visible=bool(name)), name]
