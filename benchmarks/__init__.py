"""Speed and memory, as ratios against a named baseline in the same run. ``make bench`` runs all.

- ``base``: what a benchmark is, the registry, timing in turns, the head of every record.
- ``models``: random models and texts.
- ``collecting``, ``cost``, ``selecting``, ``memory``, ``switching`` and others: the benchmarks, a
  file for each area.

A new file is imported by ``__main__``.
"""
