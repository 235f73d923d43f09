"""Selection as one would write it on paper: sort everything, one weight at a time."""

from __future__ import annotations

import math

import torch


def kept(total, sparsity):
    return math.floor((1 - sparsity) * total + 1e-9)


def keep_best(entries, count):
    """Return the positions of the ``count`` best (score, tie, position) entries."""
    ordered = sorted(entries, key=lambda entry: (-entry[0], -entry[1], entry[2]))
    return {position for _, _, position in ordered[:count]}


def select(scores, sparsity, pattern, ties=None):
    entries = []
    for index, (name, score) in enumerate(scores.items()):
        for i in range(score.shape[0]):
            for j in range(score.shape[1]):
                tie = float(ties[name][i, j]) if ties else 0.0
                entries.append((float(score[i, j]), tie, (index, i, j)))
    group = {
        "row": lambda position: position[:2],
        "site": lambda position: position[:1],
        "global": lambda position: (),
    }[pattern]
    best = set()
    for key in {group(entry[2]) for entry in entries}:
        rivals = [entry for entry in entries if group(entry[2]) == key]
        best |= keep_best(rivals, kept(len(rivals), sparsity))
    masks = {name: torch.zeros(score.shape, dtype=torch.bool) for name, score in scores.items()}
    names = list(scores)
    for index, i, j in best:
        masks[names[index]][i, j] = True
    return masks
