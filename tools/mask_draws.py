"""Compare the Wanda masks of an axis's two ends with those of two draws of one end's examples.

python tools/mask_draws.py paper-data --model smollm2 --examples 16

A difference between opposite personas is about the personas where it is larger than the
difference between two draws of the same one.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from prosopon.analysis.overlap import pair_overlap
from prosopon.data.contrast import Contrast
from prosopon.experiments.markdown import grid
from prosopon.experiments.paper import LETTERS, find_sets, set_contrast
from prosopon.extraction import Extractor
from prosopon.models import LoadedModel, load_model
from prosopon.subnetwork import Subnetwork

SPARSITY = 0.3
HEAD = ("pair", "all", "attention", "MLP", "cosine, first layer", "cosine, last layer")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--examples", type=int, default=16)
    given = parser.parse_args()
    sets = [one for one in find_sets(given.folder)[0] if one.part == "mbti"]
    contrasts = {one.group: set_contrast(one, questions=16).contrast for one in sets}
    rows = list(compare(load_model(given.model), contrasts, given.examples))
    print("\n".join(grid(HEAD, rows)))


def compare(
    loaded: LoadedModel, contrasts: dict[str, Contrast], examples: int
) -> Iterator[tuple[str, ...]]:
    """Yield rows: each axis's two ends on the same rows of their files, then two draws of each.

    Args:
        loaded: The model.
        contrasts: Of the poles, by the letters of the types.
        examples: Calibration examples of a mask.
    """
    extractor = Extractor(loaded.model, loaded.tokenizer, name=loaded.name)

    def mask(letter: str, seed: int) -> Subnetwork:
        sides = contrasts[letter].drawn(examples, seed)
        return extractor.without_statistics(seed).extract(
            *sides, criterion="wanda", sparsity=SPARSITY
        )

    for first, second in LETTERS.items():
        if first not in contrasts or second not in contrasts:
            continue
        ours = mask(first, 0)
        if list(LETTERS).index(first) < list(LETTERS).index(second):
            yield row(f"{first}-{second}", ours, mask(second, 0))
        yield row(f"{first}, two draws", ours, mask(first, 1))


def row(name: str, first: Subnetwork, second: Subnetwork) -> tuple[str, ...]:
    """Return how much two masks differ, as text."""
    pair = pair_overlap((name, name), first, second)
    shares = pair.differing()
    layers = [layer.cosine_kept or 0.0 for layer in pair.by["layer"].values()]
    parts = (f"{shares[kind]:.2%}" for kind in ("all", "attention", "mlp"))
    return name, *parts, f"{layers[0]:.4f}", f"{layers[-1]:.4f}"


if __name__ == "__main__":
    main()
