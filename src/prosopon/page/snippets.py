"""The code that asks what was asked on the page."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prosopon.page.talk import Draws, persona_field
from prosopon.serving.shelf import HUB
from prosopon.serving.voice import Voice

QUESTION = "What would you like to do on Friday afternoon?"


def curl(url: str, model: str, voice: Voice, question: str, draws: Draws, key: bool) -> str:
    """Return a command for a shell; ``key`` says whether the server asks for one."""
    body = {"model": model, "messages": [{"role": "user", "content": question}]} | _draws(draws)
    if persona := persona_field(voice):
        body |= {"persona": persona}
    lines = [f"curl {shlex.quote(f'{url}/v1/chat/completions')}"]
    lines += ['-H "Authorization: Bearer $PROSOPON_API_KEY"'] * key
    lines += ["-H 'Content-Type: application/json'"]
    lines += [f"-d {shlex.quote(json.dumps(body, ensure_ascii=False, indent=2))}"]
    return " \\\n  ".join(lines)


def openai(url: str, model: str, voice: Voice, question: str, draws: Draws, key: bool) -> str:
    """Return a program for the openai package."""
    plain = voice.strength == 1.0 and not voice.blend
    who = f"{model}:{voice.name}" if voice.name and plain else model
    message = json.dumps([{"role": "user", "content": question}], ensure_ascii=False)
    extra = [] if plain else [f"extra_body={_text({'persona': persona_field(voice)})}"]
    settings = [f"{name}={value!r}" for name, value in _draws(draws).items()]
    arguments = [f"model={_text(who)}", f"messages={message}", *settings, *extra]
    secret = 'os.environ["PROSOPON_API_KEY"]' if key else '"none"'
    return "\n".join([
        *(["import os", ""] * key),
        "from openai import OpenAI", "",
        f'client = OpenAI(base_url="{url}/v1", api_key={secret})',
        "reply = client.chat.completions.create(",
        *(f"    {argument}," for argument in arguments),
        ")",
        "print(reply.choices[0].message.content)",
    ])  # fmt: skip


def python(
    model: str, folder: Path, sources: Mapping[str, str], voice: Voice, question: str, draws: Draws
) -> str:
    """Return a program for this library, without a server.

    Args:
        model: The model, as load_model takes it.
        folder: Of personas.
        sources: Where in that folder, or on the Hub, a persona lies, by name.
        voice: Who answers.
        question: What is asked.
        draws: How the answer is drawn.
    """
    options = [f"temperature={draws.temperature!r}", f"max_new_tokens={draws.max_tokens!r}"]
    options += [] if draws.seed is None else [f"seed={draws.seed!r}"]
    loads = [_load(name, sources.get(name, name), folder) for name in sorted(voice.names)]
    if voice.blend:
        loads.append(f"wearer.set_blend({_text(dict(voice.blend))})")
    elif voice.name:
        strength = "" if voice.strength == 1.0 else f", strength={voice.strength!r}"
        loads.append(f"wearer.set_persona({_text(voice.name)}{strength})")
    classes = {"PersonaModel", "load_model"} | {
        "Subnetwork" for one in loads if "Subnetwork" in one
    }
    packs = ["from prosopon.subnetwork.pack import Pack"] * any("Pack(" in one for one in loads)
    return "\n".join([
        f"from prosopon import {', '.join(sorted(classes))}", *packs, "",
        f"model, tokenizer = load_model({_text(model)})[:2]",
        "wearer = PersonaModel(model, tokenizer)",
        *loads,
        f"question = {_text(question)}",
        f"print(wearer.answer(question, {', '.join(options)}))",
    ])  # fmt: skip


def _load(name: str, source: str, folder: Path) -> str:
    """Return the line that loads a persona from a folder, a pack or the Hub."""
    place, _, part = source.partition("#")
    if source.startswith(HUB):
        what = f"Subnetwork.from_pretrained({_text(source.removeprefix(HUB))})"
    elif part:
        what = f"Pack({_text(str(folder / place))}).load({_text(part)})"
    else:
        what = _text(str(folder / place))
    return f"wearer.load_persona({what}, {_text(name)})"


def _text(value: Any) -> str:
    """Return a text or a mapping as both Python and JSON write it."""
    return json.dumps(value, ensure_ascii=False)


def _draws(draws: Draws) -> dict[str, Any]:
    return {name: value for name, value in draws._asdict().items() if value is not None}
