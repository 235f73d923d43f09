"""Light masks: a few weights in a thousand, found by gradients and priced by curvature.

- ``mask``: from examples to a mask.
- ``path``, ``candidates``: how a mask grows, round by round.
- ``free_text``: what the masked model writes, as a term of the objective.
- ``auto``, ``validation``: ``--sparsity auto``.
- ``pruning``: weights at zero for a while.
"""

from prosopon.extraction.light.mask import light_mask
from prosopon.extraction.light.path import LightPath
from prosopon.extraction.light.pruning import temporary_pruning

__all__ = ["LightPath", "light_mask", "temporary_pruning"]
