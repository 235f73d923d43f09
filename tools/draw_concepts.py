"""Draw the figures of docs/start/concepts.md from masks of the embedded model. A few minutes.

python tools/draw_concepts.py docs/figures/concepts [--mask FOLDER]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from prosopon.analysis import Probe, bundled_axes
from prosopon.data import bundled, load_contrast
from prosopon.data.grammar.exam import free_prompts
from prosopon.drawing import COLOURS, DIVERGING, GREY, SEQUENTIAL, figure, svg
from prosopon.evaluation import free_text
from prosopon.extraction import Extractor
from prosopon.files import write_text
from prosopon.lm import generate_answers, perplexity
from prosopon.lm.general_text import sample_general
from prosopon.models import find_sites, load_model
from prosopon.runtime import PersonaModel
from prosopon.subnetwork import Subnetwork

PERSONA, SITE, SIDE = "bold", "model.layers.0.mlp.up_proj", 32
KINDS = {"target": COLOURS[2], "opposite": COLOURS[1], "neither": GREY}
TABLE = Path(__file__).resolve().parents[1] / "docs" / "criteria.md"
STRENGTHS = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)
PAIRS, QUESTIONS, ANSWERS = 64, 100, 40


def measured() -> dict[str, dict[str, str]]:
    """Return the rows of docs/criteria.md by arm, each by column."""
    lines = [line for line in TABLE.read_text("utf-8").splitlines() if line.startswith("| ")]
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {row[0]: dict(zip(head, row, strict=True)) for row in rows}


def strengths(model: Any, tokenizer: Any, light: Subnetwork) -> tuple[list[Any], list[float]]:
    """Return whose free answers are, and what other text loses, at every strength."""
    prompts, shares, losses = free_prompts(PERSONA, ANSWERS), [], []
    general = sample_general(model, tokenizer, count=64, seed=1)
    with PersonaModel(model, tokenizer) as wearer:
        name = wearer.load_persona(light)
        for strength in STRENGTHS:
            with wearer.persona(name, strength=strength):
                answers = generate_answers(model, tokenizer, prompts, seed=0)
                losses.append(float(np.log(perplexity(model, general))))
            shares.append(free_text(answers, PERSONA, bundled.opposite(PERSONA)))
    return shares, [loss - losses[0] for loss in losses]


def cells(axes: Any, values: Any, title: str, **style: Any) -> Any:
    """Draw a square of weights."""
    axes.set_title(title)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(True)
    return axes.imshow(values, interpolation="nearest", **style)


def window(pruned: Any) -> tuple[slice, slice]:
    """Return the square of a matrix with the most pruned weights."""
    sums = np.pad(pruned, ((1, 0), (1, 0))).astype(int).cumsum(0).cumsum(1)
    inside = sums[SIDE:, SIDE:] - sums[:-SIDE, SIDE:] - sums[SIDE:, :-SIDE] + sums[:-SIDE, :-SIDE]
    row, column = np.unravel_index(inside.argmax(), inside.shape)
    return slice(row, row + SIDE), slice(column, column + SIDE)


def draw_mask(weight: Any, light: Any) -> str:
    """Draw weights, and which of them a light mask leaves out."""
    place = window(light)
    shown = weight[place]
    most = float(np.abs(shown).max())
    drawn, axes = figure(6.6, 3.6, ncols=2)
    colours = {"cmap": DIVERGING, "vmin": -most, "vmax": most}
    cells(axes[0], shown, "The base model's weights", **colours)
    cells(axes[1], np.ma.masked_array(shown, light[place]), "The persona's", **colours)
    axes[1].set_facecolor("#d00000")
    axes[1].set_xlabel(f"red: left out, {int(light[place].sum())} of these {SIDE * SIDE}")
    axes[0].set_xlabel("orange: below zero, violet: above")
    return svg(drawn, "Weights of the base model, and those that the mask leaves out")


def draw_two(light: Any, paper: Any) -> str:
    """Draw a light mask beside one by the paper's criterion, with what each does."""
    rows, place = measured(), window(light)
    drawn, axes = figure(6.6, 4.4, ncols=2)
    both = [("contrastive-taylor", "light", light), ("contrastive-wanda", "the paper's", paper)]
    for one, (name, title, pruned) in zip(axes, both, strict=True):
        row = rows[name]
        cells(
            one, pruned[place], f"{title}: {row['pruned']} left out", cmap="Reds", vmin=0, vmax=1.3
        )
        choice, ratio = row["choice per token"].split()[0], row["perplexity ratio"].split()[0]
        one.set_xlabel(f"choices won: {choice}\nperplexity of other text: x {ratio}")
    return svg(drawn, "A light mask and a mask by the paper's criterion, of the same weights")


def draw_score(weight: Any, activation: Any) -> str:
    """Draw how Wanda scores: a weight's size times how loud its channel is."""
    size, loud = np.abs(weight[:12, :16]), activation[:16]
    score = size * loud
    cut = np.sort(score, axis=1)[:, int(0.3 * 16) - 1 : int(0.3 * 16)]
    drawn, axes = figure(6.6, 2.3, ncols=3)
    cells(axes[0], size, "size of the weight", cmap=SEQUENTIAL)
    axes[1].bar(range(16), loud, color=COLOURS[0])
    axes[1].set_title("x loudness of its channel")
    axes[1].set_xticks([])
    axes[1].set_box_aspect(12 / 16)
    cells(axes[2], score, "= score", cmap=SEQUENTIAL)
    for row, column in np.argwhere(score <= cut):
        axes[2].text(column, row, "x", color="#ff5050", ha="center", va="center", size=7)
    axes[2].set_xlabel("x: left out, the lowest of each row")
    axes[1].set_facecolor("none")
    return svg(drawn, "Wanda's score of a piece of a matrix")


def draw_choice(base: Any, persona: Any) -> str:
    """Draw the margins of held-out choices without and with the mask."""
    drawn, axes = figure(6.6, 2.8)
    bins = np.linspace(min(base.margins + persona.margins), max(base.margins + persona.margins), 25)
    for choices, name, colour in ((base, "base", GREY), (persona, PERSONA, COLOURS[2])):
        label = f"{name}: {choices.rate:.0%} of the choices are {PERSONA}"
        axes.hist(choices.margins, bins, alpha=0.75, color=colour, label=label)
    axes.set_facecolor("none")
    axes.axvline(0, color="black", linewidth=1)
    axes.set_xlabel(f"margin of the {PERSONA} answer over its opposite, nats a token")
    axes.set_ylabel("questions")
    axes.legend(loc="upper left", bbox_to_anchor=(0, 1.22), ncols=2, frameon=False)
    return svg(drawn, "Margins of choices of the base and of the persona")


def draw_dose(steps: Any, losses: Any) -> str:
    """Draw what a persona gains and costs as it is turned up."""
    drawn, axes = figure(6.6, 2.8, ncols=2)
    for kind, colour in KINDS.items():
        axes[0].plot(
            STRENGTHS, [getattr(step, kind) for step in steps], color=colour, marker="o", label=kind
        )
    axes[0].set_ylabel("share of free answers")
    axes[0].legend(frameon=False)
    axes[1].plot(STRENGTHS, losses, color=COLOURS[0], marker="o")
    axes[1].set_ylabel("loss of other text, nats a token")
    for one in axes:
        one.set_facecolor("none")
        one.set_xlabel("strength")
    return svg(drawn, "Free answers and loss by strength")


def draw_judge() -> str:
    """Draw whose free answers are, arm by arm, as docs/criteria.md has them."""
    rows = measured()
    names = ["base", "prompt", "contrastive-taylor", "contrastive-wanda", "contrastive-sparse"]
    drawn, axes = figure(6.6, 2.4)
    for place, name in enumerate(reversed(names)):
        left = 0.0
        for kind, colour in KINDS.items():
            share = float(rows[name][kind].split()[0])
            axes.barh(place, share, left=left, color=colour, label=kind if place == 0 else None)
            if share > 0.07:
                axes.text(
                    left + share / 2, place, f"{share:.0%}", ha="center", va="center", color="white"
                )
            left += share
    axes.set_yticks(range(len(names)), names[::-1])
    axes.set_xticks([])
    axes.set_facecolor("none")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=3, frameon=False)
    return svg(drawn, "Shares of free answers that are the persona's, its opposite's, nobody's")


def main() -> None:
    """Find both masks, measure them, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mask", type=Path, help="the light mask, if it was found before")
    args = parser.parse_args()
    say: Callable[[str], object] = lambda line: print(line, file=sys.stderr)  # noqa: E731
    model, tokenizer = load_model("embedded", device="cpu")[:2]
    sides = load_contrast(PERSONA, bundled.opposite(PERSONA), limit=PAIRS, seed=0)
    extractor = Extractor(model, tokenizer, name="embedded")
    if args.mask:
        light = Subnetwork.from_pretrained(args.mask)
    else:
        say("finding the light mask")
        light = extractor.extract(*sides, options={"rounds": 24})
    paper = extractor.extract(*sides, criterion="contrastive-wanda")
    site = next(site for site in find_sites(model) if site.name == SITE)
    weight = site.weight.detach().float().numpy()
    pruned = {name: ~mask.keep[SITE].numpy() for name, mask in (("light", light), ("paper", paper))}
    say("asking")
    axis = next(axis for axis in bundled_axes(QUESTIONS) if axis.toward(PERSONA))
    probe = Probe(model, tokenizer)
    choices = [probe.choices(mask, [axis])[axis.name] for mask in (None, light)]
    base, persona = (one.toward(axis.toward(PERSONA)) for one in choices)
    loudness = extractor.statistics(sides[0])[SITE].mean_abs.numpy()
    steps, losses = strengths(model, tokenizer, light)
    figures = {
        "mask": draw_mask(weight, pruned["light"]),
        "two-masks": draw_two(pruned["light"], pruned["paper"]),
        "score": draw_score(weight, loudness),
        "choice": draw_choice(base, persona),
        "dose": draw_dose(steps, losses),
        "judge": draw_judge(),
    }
    args.folder.mkdir(parents=True, exist_ok=True)
    for name, text in figures.items():
        write_text(args.folder / f"{name}.svg", text)


if __name__ == "__main__":
    main()
