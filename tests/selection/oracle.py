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


def select_n_of_m(scores, n, m, ties=None):
    masks = {}
    for name, score in scores.items():
        masks[name] = torch.zeros(score.shape, dtype=torch.bool)
        for i in range(score.shape[0]):
            for start in range(0, score.shape[1], m):
                block = [
                    (float(score[i, j]), float(ties[name][i, j]) if ties else 0.0, j)
                    for j in range(start, start + m)
                ]
                for j in keep_best(block, n):
                    masks[name][i, j] = True
    return masks


def select_units(scores, sparsity, groups, ties=None):
    """Groups as lists of (site, axis, [indices of unit 0, of unit 1, ...])."""
    masks = {name: torch.ones(score.shape, dtype=torch.bool) for name, score in scores.items()}
    for parts in groups:
        entries = []
        for unit in range(len(parts[0][2])):
            totals = []
            for source in (scores, ties):
                total = 0.0
                for site, axis, indices in parts if source else ():
                    for line in indices[unit]:
                        values = source[site][line] if axis == 0 else source[site][:, line]
                        total += sum(float(value) for value in values)
                totals.append(total)
            entries.append((*totals, unit))
        best = keep_best(entries, kept(len(entries), sparsity))
        for site, axis, indices in parts:
            for unit in set(range(len(entries))) - best:
                for line in indices[unit]:
                    if axis == 0:
                        masks[site][line] = False
                    else:
                        masks[site][:, line] = False
    return masks
