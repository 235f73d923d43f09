"""What the page shows, as HTML: every text of a user, a model or a file is escaped here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from prosopon.drawing import NONE
from prosopon.page.inside import Heat, Shared
from prosopon.page.making import MakingStep
from prosopon.page.talk import Answer, Exchange, title
from prosopon.progress import count_things, format_duration

if TYPE_CHECKING:
    from prosopon.subnetwork import SubnetworkConfig

STRONG = 4.0
"""Times the mask's own share from which on a cell of the heat map has its full colour."""

WIDE = 14
"""Most layers whose cells have room for numbers."""


def header(model: str, personas: Sequence[str], problem: str = "") -> str:
    """Return the head of the page: the model, how many personas it has, and what is wrong."""
    count = count_things(len(personas), "persona")
    alert = notice(problem) if problem else ""
    return (
        f'<div class="head">{_MASK}<span class="word">prosopon</span>'
        f'<span class="model">{escape(model)}</span><span class="count">{count}</span></div>{alert}'
    )


# The icon's mask in the ink of the page.
_MASK = (
    '<svg viewBox="4 6 24 21" aria-hidden="true"><path fill="currentColor" fill-rule="evenodd" '
    'd="M6 9c6-2 14-2 20 0 1 9-3 16-10 16S5 18 6 9zM12 12.7a2.6 1.8 0 1 0 .01 0zM20 12.7a2.6 1.8 0 '
    '1 0 .01 0zM11.600 19.400c2.700 2.600 6.100 2.600 8.800 0-2.700 4-6.100 4-8.800 0z"/></svg>'
)


def notice(text: str, kind: str = "alert") -> str:
    """Return a box that says what is wrong, or with kind ``status`` what is right."""
    return f'<p class="notice {kind}" role="{kind}">{escape(text)}</p>'


def conversation(turns: Sequence[Exchange]) -> str:
    """Return the questions, each with the answers to it side by side."""
    if not turns:
        return (
            '<div class="empty"><h2>One question, several people</h2><p>The base model answers '
            "beside up to three personas of it. Same weights, same question; a persona leaves a "
            "few of the weights out.</p></div>"
        )
    busy = any(not answer.is_done for answer in turns[-1].answers.values())
    body = "".join(map(_turn, turns))
    state = f'role="log" aria-live="polite" aria-busy="{str(busy).lower()}"'
    return f'<div class="talk" {state}>{body}</div>'


def _turn(turn: Exchange) -> str:
    cards = "".join(_answer(seat, answer) for seat, answer in sorted(turn.answers.items()))
    return (
        f'<article><p class="question">{escape(turn.question)}</p>'
        f'<div class="answers n{len(turn.answers)}">{cards}</div></article>'
    )


def _answer(seat: int, answer: Answer) -> str:
    text = f"<p>{escape(answer.text)}{'' if answer.is_done else _CARET}</p>"
    if answer.is_done and not answer.text:
        text = "" if answer.problem else '<p class="silent">(no words)</p>'
    note = ""
    if answer.is_done and answer.tokens:
        note = f"{count_things(answer.tokens, 'token')}, {format_duration(answer.seconds)}"
    return (
        f'<section class="answer seat{seat}"><h3>{escape(title(answer.voice))}</h3>{text}'
        + (notice(answer.problem) if answer.problem else "")
        + f"<footer>{note}</footer></section>"
    )


_CARET = '<span class="caret" aria-hidden="true"></span>'


def progress(name: str, step: MakingStep, seconds: float) -> str:
    """Return how far the making of a persona is."""
    share = 0.0 if step.share is None else step.share
    percent = "" if step.share is None else f" <b>{share:.0%}</b>"
    passed = format_duration(seconds) if seconds >= 1 else ""
    left = f", {escape(step.left)} left in this step" if step.left else ""
    moving = "" if step.share is not None else " moving"
    return (
        f'<div class="making"><h3>Making {escape(name)}</h3>'
        f'<div class="bar{moving}" role="progressbar" aria-label="{escape(step.stage)}" '
        f'aria-valuemin="0" aria-valuemax="100" aria-valuenow="{round(100 * share)}">'
        f'<span style="width:{share:.1%}"></span></div>'
        f"<p>{escape(step.stage)}{percent}{left}"
        f'<span class="right">{passed}</span></p></div>'
    )


def ready(result: Mapping[str, Any]) -> str:
    """Return what was made, from what extract says of it."""
    pruned, total = result["pruned"], result["total"]
    return notice(
        f"{result['persona']} is ready: {pruned:,} of {total:,} weights left out "
        f"({pruned / total:.2%}), {format_duration(result['seconds'])}.",
        "status",
    )


def code(label: str, text: str) -> str:
    """Return code with a button that copies it."""
    return (
        f'<figure class="code"><figcaption>{escape(label)}<button type="button" class="copy" '
        f'aria-label="Copy: {escape(label)}">Copy</button></figcaption>'
        f'<pre tabindex="0"><code>{escape(text)}</code></pre></figure>'
    )


def inside(config: SubnetworkConfig, heat: Heat, rows: Sequence[Shared]) -> str:
    """Return where a mask lies, and what it shares with others."""
    return (
        f"{summary(config)}<h3>Where it lies</h3>{heat_map(heat)}"
        f"<h3>What it shares with others</h3>{shares(rows)}"
    )


def summary(config: SubnetworkConfig) -> str:
    """Return a mask in a sentence."""
    pruned = sum(site.pruned for site in config.sites.values())
    total = sum(site.total for site in config.sites.values())
    against = f", told apart from {config.opposite}" if config.opposite else ""
    count = count_things(config.calibration.target_count, "example")
    return (
        f'<p class="lead"><b>{escape(config.persona)}</b>{escape(against)}: '
        f"{pruned:,} of {total:,} weights left out ({pruned / total:.2%}), found by "
        f"{escape(config.criterion)} on {count}.</p>"
    )


def heat_map(heat: Heat) -> str:
    """Return the map of a mask: parts by layers, darker where it is denser."""
    wide = len(heat.layers) > WIDE
    heads = "".join(f'<th scope="col">{_layer(layer)}</th>' for layer in heat.layers)
    rows = "".join(
        f'<tr><th scope="row">{escape(part)}</th>'
        + "".join(
            _cell(part, layer, value, wide)
            for layer, value in zip(heat.layers, values, strict=True)
        )
        + "</tr>"
        for part, values in zip(heat.parts, heat.values, strict=True)
    )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Where the mask lies">'
        f'<table class="heat{" wide" * wide}"><thead><tr><th>layer</th>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
        '<p class="note">Density of the mask in every matrix; 1.0 is the mask\'s average.</p>'
    )


def _layer(layer: int | None) -> str:
    return NONE if layer is None else str(layer)


def _cell(part: str, layer: int | None, value: float | None, wide: bool) -> str:
    if value is None:
        return '<td class="none"></td>'
    depth = min(value / STRONG, 1.0)
    words = f"{escape(part)}, layer {_layer(layer)}: {value:.2f}"
    text = f'<span class="unseen">{value:.1f}</span>' if wide else f"{value:.1f}"
    deep = ' class="deep"' if depth > 0.7 else ""
    return f'<td{deep} style="--depth:{depth:.0%}" title="{words}">{text}</td>'


def shares(rows: Sequence[Shared]) -> str:
    """Return what a mask shares with others, as bars with a mark where chance would be."""
    if not rows:
        return '<p class="lead">There is no other mask to compare it with.</p>'
    lines = "".join(_share(row) for row in rows)
    return (
        '<ul class="shares"><li class="key">Of its weights, the other mask leaves out too '
        f'<span><i class="chance"></i> by chance</span></li>{lines}</ul>'
    )


def _share(row: Shared) -> str:
    if row.problem:
        return f"<li><b>{escape(row.name)}</b>{notice(row.problem)}</li>"
    words = f"{row.share:.1%} of its weights, by chance {row.chance:.1%}"
    return (
        f'<li><b>{escape(row.name)}</b><span class="track" role="img" aria-label="{words}">'
        f'<i class="share" style="width:{row.share:.2%}"></i>'
        f'<i class="chance" style="left:{row.chance:.2%}"></i></span>'
        f"<em>{row.share:.1%}</em></li>"
    )
