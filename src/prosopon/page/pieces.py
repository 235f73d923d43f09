"""Pieces that the parts of the page are put together from. Needs gradio."""

from __future__ import annotations

from typing import Any

import gradio as gr

NOBODY = "nobody"
"""Who sits on an empty seat."""

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
"""How every function of the page is called: without gradio's own spinner and API."""

LIVE: dict[str, Any] = QUIET | {"concurrency_limit": None}
"""The same for what streams: as many at once as ask; the engine says when it is too much."""

# Beyond this machine and without TLS a browser has no clipboard, but the old way still works.
COPY = """element.addEventListener('click', event => {
  const button = event.target.closest('button.copy');
  if (!button) return;
  const code = button.closest('figure').querySelector('code');
  const say = word => {
    button.textContent = word; setTimeout(() => button.textContent = 'Copy', 1500); };
  if (navigator.clipboard)
    navigator.clipboard.writeText(code.textContent).then(() => say('Copied'), () => say('Failed'));
  else {
    getSelection().selectAllChildren(code);
    say(document.execCommand('copy') ? 'Copied' : 'Failed');
  }
});"""
"""What the buttons of copied code do."""


def share(label: str, value: float) -> Any:
    """Return a slider from 0 to 1."""
    return gr.Slider(0.0, 1.0, value, step=0.05, label=label, buttons=[])


def count(label: str, low: int, high: int, value: int) -> Any:
    """Return a slider of whole numbers."""
    return gr.Slider(low, high, min(value, high), step=1, label=label, buttons=[])


def choice(label: str, choices: list[str], value: str | None, **settings: Any) -> Any:
    """Return a list to choose from."""
    return gr.Dropdown(choices, value=value, label=label, filterable=False, **settings)


def example_file(label: str) -> Any:
    """Return where a file of examples is put."""
    kinds = [".jsonl", ".json", ".csv", ".txt"]
    return gr.File(label=label, height=132, file_types=kinds, elem_classes=["drop"])


def buttons(busy: bool) -> list[Any]:
    """Return the states of a button that starts something, and of the one that stops it."""
    return [gr.update(visible=not busy), gr.update(visible=busy)]
