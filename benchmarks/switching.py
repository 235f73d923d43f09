"""Switching personas in the live weights against copying every weight."""

from __future__ import annotations

from benchmarks.base import Row, benchmark, compare

SWITCHES = 20


@benchmark("light-switch", "runtime", "switching between two light masks / copying all weights")
def light_switch(repeats: int) -> list[Row]:
    """The embedded model, two light masks, twenty switches."""
    from prosopon.data import bundled
    from prosopon.extraction import Extractor
    from prosopon.models import load_model
    from prosopon.runtime import PersonaModel

    model, tokenizer = load_model("embedded", device="cpu")[:2]
    extractor = Extractor(model, tokenizer, name="embedded")
    masks = [
        extractor.extract(bundled.load(a), bundled.load(b), options={"rounds": 2})
        for a, b in (("extravert", "introvert"), ("bold", "cautious"))
    ]
    spare = [site.matrix().clone() for site in extractor.sites]

    def copy_all() -> None:
        for _ in range(SWITCHES):
            for site, values in zip(extractor.sites, spare, strict=True):
                site.matrix().copy_(values)

    with PersonaModel(model, tokenizer) as wearer:
        names = [wearer.load_persona(mask) for mask in masks]

        def switch() -> None:
            for number in range(SWITCHES):
                wearer.set_persona(names[number % 2])

        row = compare(
            f"{SWITCHES} light switches",
            switch,
            f"{SWITCHES} copies of all sites",
            copy_all,
            repeats,
            model="embedded",
        )
        wearer.disable()
    return [row]
