"""The page itself: its parts, and how it stands on a server. Needs gradio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from prosopon.errors import ProsoponError, UnknownNameError
from prosopon.page import markup, snippets
from prosopon.page.inside import heat, shared
from prosopon.page.making import Maker
from prosopon.page.pieces import COPY, QUIET, choice
from prosopon.page.talk import Exchange, explain
from prosopon.page.talking import SEATS, TalkPart
from prosopon.page.workshop import MakePart
from prosopon.serving.voice import Voice

if TYPE_CHECKING:
    from fastapi import FastAPI

    from prosopon.serving.access import Keys
    from prosopon.serving.service import Service

ADMIN = "admin"
"""Who signs in under this name, with an administrator's key, may make personas."""

FOLDER = Path(__file__).parent
FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "monospace"]
SIGN_IN = (
    f"Any name, and one of this server's keys as the password. As {ADMIN}, with an administrator's "
    "key, you may make personas too."
)


class Page:
    """The page of a server.

    Args:
        service: What answers.
        keys: Of the server; with them people sign in.
        model: The model as load_model takes it, for the code that is shown.
        place: Words of a command line that name the model, for the making of personas.
        sources: Names of the personas that come with the package and fit the model.
        questions: That are offered to begin with.
    """

    def __init__(
        self, service: Service, keys: Keys, model: str, place: Sequence[str],
        sources: Sequence[str], questions: Sequence[str],
    ) -> None:  # fmt: skip
        self._service, self._keys, self._model = service, keys, model
        self._offered = [*questions, snippets.QUESTION][0]
        names = service.personas
        with gr.Blocks(title=f"{service.name} - prosopon", analytics_enabled=False) as self.blocks:
            head = gr.HTML(markup.header(service.name, names))
            with gr.Tabs(elem_id="parts") as tabs:
                with gr.Tab("Talk", id="talk"):
                    talk = self._talk = TalkPart(service, questions)
                with gr.Tab("Make"):
                    make = MakePart(Maker(service, place), sources, self._admits)
                with gr.Tab("Look inside") as inside:
                    whose = choice("Persona", names, next(iter(names), None))
                    where = gr.HTML(elem_id="where")
                with gr.Tab("Code") as code:
                    seats = ["base", *(f"persona {number}" for number in SEATS)]
                    who = gr.Radio(seats, value=seats[1], label="Who answers, as set under Talk")
                    box = gr.HTML(js_on_load=COPY)
            lists = [head, *talk.seats, *talk.parts]
            self.blocks.load(self.open, None, lists, **QUIET)
            make.done(self.refresh, None, lists, **QUIET)
            make.talk.click(
                lambda name: [gr.update(selected="talk"), gr.update(value=name)],
                make.name, [tabs, talk.seats[0]], **QUIET,
            )  # fmt: skip
            inside.select(self.choose, whose, [whose, where], **QUIET)
            whose.input(self.look_inside, whose, where, **QUIET)
            for event in (code.select, who.input):
                event(self.code, [who, talk.turns, *talk.controls], box, **QUIET)

    def mount(self, app: FastAPI) -> Callable[[], None]:
        """Put the page at the root of an application; returns what ends its open streams."""
        signed: dict[str, Any] = {}
        if self._keys.protects:
            signed = {"auth": self._signs_in, "auth_message": SIGN_IN}
        theme = gr.themes.Base(neutral_hue="stone", font=FONT, font_mono=MONO, radius_size="lg")
        gr.mount_gradio_app(
            app, self.blocks, "/", ssr_mode=False, footer_links=[], run_history=False, pwa=False,
            theme=theme, css=(FOLDER / "page.css").read_text("utf-8"),
            favicon_path=str(FOLDER / "mask.svg"), **signed,
        )  # fmt: skip
        inner: Any = app.routes[-1]
        end: Callable[[], None] = inner.app.stop_event.set
        return end

    def _signs_in(self, name: str, key: str) -> bool:
        return self._keys.fits(key, admin=name == ADMIN)

    def _admits(self, request: gr.Request) -> bool:
        return not self._keys.protects or request.username == ADMIN

    def open(self, request: gr.Request) -> list[Any]:
        """Return what the page begins with; its address may name personas: ``?persona=bold``."""
        names, wanted = self._service.personas, request.query_params.getlist("persona")
        unknown = next((name for name in wanted if name not in names), None)
        problem = "" if unknown is None else explain(UnknownNameError("persona", unknown, names))
        lists = self.refresh()[1:]
        for chosen, name in zip(lists, self._talk.first(wanted), strict=False):
            chosen["value"] = name
        return [markup.header(self._service.name, names, problem), *lists]

    def refresh(self) -> list[Any]:
        """Return the head of the page and the lists, with the personas that are loaded now."""
        head = markup.header(self._service.name, self._service.personas)
        seats = [gr.update(choices=self._talk.names()) for _ in SEATS]
        return [head, *seats, *(gr.update(choices=self._talk.names(False)) for _ in SEATS)]

    async def choose(self, name: str | None) -> list[Any]:
        """Return the list of personas and the inside of the one that is chosen."""
        names = self._service.personas
        name = name if name in names else next(iter(names), None)
        return [gr.update(choices=names, value=name), await self.look_inside(name)]

    async def look_inside(self, name: str | None) -> str:
        """Return where a mask lies and what it shares."""
        if not name:
            return markup.notice("No persona is loaded yet. Make one first.", "status")
        try:
            config = self._service.config(name)
            rows = await asyncio.to_thread(shared, self._service, name)
        except ProsoponError as problem:
            return markup.notice(explain(problem))
        return markup.inside(config, heat(config), rows)

    def code(self, request: gr.Request, who: str, turns: list[Exchange], *controls: Any) -> str:
        """Return the code that asks what was asked last."""
        voices, draws = self._talk.read(controls)
        voice = voices.get(int(who[-1]) if who[-1].isdigit() else 0, Voice())
        question = turns[-1].question if turns else self._offered
        url = f"{request.url.scheme}://{request.url.netloc}"
        shelf, name, key = self._service.shelf, self._service.name, self._keys.protects
        folder = shelf.folder if shelf else Path("personas")
        sources = self._service.sources
        return (
            markup.code("openai client", snippets.openai(url, name, voice, question, draws, key))
            + markup.code("curl", snippets.curl(url, name, voice, question, draws, key))
            + markup.code(
                "Python, without a server",
                snippets.python(self._model, folder, sources, voice, question, draws),
            )
        )
