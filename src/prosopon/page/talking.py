"""The part of the page where people talk. Needs gradio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import gradio as gr

from prosopon.page import markup
from prosopon.page.pieces import LIVE, NOBODY, QUIET, buttons, choice, count, share
from prosopon.page.talk import BLEND, Answer, Draws, Exchange, ask, seat, stop
from prosopon.serving.voice import Voice

if TYPE_CHECKING:
    from prosopon.serving.service import Service

SEATS = (1, 2, 3)


class TalkPart:
    """Three seats for personas, a conversation, a blend, and how answers are drawn.

    Args:
        service: What answers.
        questions: That are offered to begin with.

    Attributes:
        turns: The conversation.
        seats: Who sits where, a list to choose from for every seat.
        parts: The personas of the blend, the same.
        controls: All that :meth:`read` reads.
    """

    def __init__(self, service: Service, questions: Sequence[str]) -> None:
        self._service = service
        self.turns = gr.State([])
        self.seats: list[Any] = []
        self.parts: list[Any] = []
        strengths, weights = [], []
        with gr.Row(elem_id="seats"):
            for number, name in zip(SEATS, self.first([]), strict=True):
                with gr.Column(elem_classes=["seat", f"seat{number}"], min_width=200):
                    label = f"Persona {number}"
                    self.seats.append(choice(label, self.names(), name, elem_classes=["who"]))
                    strengths.append(share(f"Strength {number}", 1.0))
        self._shown = gr.HTML(markup.conversation([]), elem_id="shown")
        with gr.Row(elem_id="offers") as self._offers:
            offers = [gr.Button(question, size="sm") for question in questions]
        with gr.Row(elem_id="composer"):
            self._question = gr.Textbox(
                label="Your question", show_label=False, container=False, max_lines=6,
                placeholder="Ask them all...", autofocus=True,
            )  # fmt: skip
            self._send = gr.Button("Ask", variant="primary", scale=0)
            self._stop = gr.Button("Stop", scale=0, visible=False)
            clear = gr.Button("Start over", scale=0)
        with gr.Row(elem_id="more"):
            with gr.Accordion("Blend", open=False):
                gr.Markdown(f"Choose *{BLEND}* as a persona to hear it.")
                for number in SEATS:
                    with gr.Row(elem_classes=["part"]):
                        label = f"Part {number}"
                        self.parts.append(choice(label, self.names(False), NOBODY, min_width=120))
                        weights.append(share(f"Weight {number}", 0.5))
            with gr.Accordion("Answers", open=False):
                most = service.limits.max_tokens
                draws = [
                    gr.Slider(0.0, 2.0, 0.7, step=0.05, label="Temperature", buttons=[]),
                    count("Longest answer (tokens)", 1, most, 128),
                    gr.Number(1, label="Seed (empty: another answer every time)", precision=0),
                ]
        self.controls = [*self.seats, *strengths, *self.parts, *weights, *draws]
        self._wire([(button.click, button) for button in offers], strengths, clear)

    def _wire(self, offers: list[Any], strengths: list[Any], clear: Any) -> None:
        inputs, shown = [self.turns, *self.controls], [self._shown, self.turns]
        pair, everything = [self._send, self._stop], [self._question, self._offers]
        asks = [(self._send.click, self._question), (self._question.submit, self._question)]
        running = [
            event(self.send, [source, *inputs], [*shown, *pair, *everything], **LIVE)
            for event, source in [*asks, *offers]
        ]
        running += [
            event(self.again(number), inputs, [*shown, *pair], trigger_mode="always_last", **LIVE)
            for number, name, strength in zip(SEATS, self.seats, strengths, strict=True)
            for event in (name.input, strength.input)
        ]
        self._stop.click(self.stop, self.turns, [*shown, *pair], cancels=running, **QUIET)
        clear.click(self.clear, None, [*shown, *pair, *everything], cancels=running, **QUIET)

    def names(self, blend: bool = True) -> list[str]:
        """Return who can be chosen, with the blend or without."""
        return [NOBODY, *self._service.personas, *([BLEND] * blend)]

    def first(self, wanted: Sequence[str]) -> list[str]:
        """Return who sits where at first: those that are wanted and here, else the first two."""
        here = self._service.personas
        chosen = [name for name in wanted if name in here] or here[:2]
        return [*chosen, *[NOBODY] * len(SEATS)][: len(SEATS)]

    def read(self, controls: Sequence[Any]) -> tuple[dict[int, Voice], Draws]:
        """Return who sits where, and how answers are drawn."""
        names, strengths, parts, weights = (controls[i : i + 3] for i in range(0, 12, 3))
        temperature, longest, seed = controls[12:]
        blend = {
            name: round(weight, 2)
            for name, weight in zip(parts, weights, strict=True)
            if name != NOBODY and weight > 0
        }
        voices = {0: Voice()}
        for number, name, strength in zip(SEATS, names, strengths, strict=True):
            if voice := seat(None if name == NOBODY else name, strength, blend):
                voices[number] = voice
        return voices, Draws(temperature, int(longest), None if seed is None else int(seed))

    async def send(
        self, question: str, turns: list[Exchange], *controls: Any
    ) -> AsyncIterator[Any]:
        """Let everybody answer a question."""
        if not question.strip():
            yield [gr.skip()] * 6
            return
        voices, draws = self.read(controls)
        turns.append(Exchange(question.strip(), {n: Answer(voice) for n, voice in voices.items()}))
        rest = ["", gr.update(visible=False)]
        async for state in self._answer(turns, list(voices), draws):
            yield [*state, *rest]
            rest = [gr.skip(), gr.skip()]

    def again(self, number: int) -> Callable[..., AsyncIterator[Any]]:
        """Return what lets one seat answer the last question again, as it is set now."""

        async def answer(turns: list[Exchange], *controls: Any) -> AsyncIterator[Any]:
            voices, draws = self.read(controls)
            busy = any(not one.is_done for turn in turns[-1:] for one in turn.answers.values())
            if not turns or busy or number not in voices:
                yield [gr.skip()] * 4
                return
            turns[-1].answers[number] = Answer(voices[number])
            async for state in self._answer(turns, [number], draws):
                yield state

        return answer

    async def _answer(
        self, turns: list[Exchange], seats: Sequence[int], draws: Draws
    ) -> AsyncIterator[list[Any]]:
        async with aclosing(ask(self._service, turns, seats, draws)) as states:
            async for _ in states:
                yield [markup.conversation(turns), turns, *buttons(busy=True)]
        yield [markup.conversation(turns), turns, *buttons(busy=False)]

    def stop(self, turns: list[Exchange]) -> list[Any]:
        """Show what is there of the answers; gradio cancels what writes them."""
        if turns:
            stop(turns[-1])
        return [markup.conversation(turns), turns, *buttons(busy=False)]

    def clear(self) -> list[Any]:
        """Begin another conversation."""
        return [markup.conversation([]), [], *buttons(busy=False), "", gr.update(visible=True)]
