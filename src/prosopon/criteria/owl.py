"""OWL: how much each layer is pruned, by how many outliers its weights hold.

Yin et al. 2024, arXiv 2310.05175: the outliers of a decoder layer are the weights whose Wanda
score exceeds M times the layer's mean. A layer's share of kept weights rises with its share of
outliers, within lambda of the share asked.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch

from prosopon.errors import OptionError

if TYPE_CHECKING:
    from torch import Tensor

Key = TypeVar("Key", bound=Hashable)


def outlier_share(scores: "Sequence[Tensor]", multiple: float) -> float:
    """Return the share of a layer's scores above ``multiple`` times their mean, in [0, 1].

    Args:
        scores: Wanda scores of the layer's sites, ``[out, in]`` each; they count as one list.
        multiple: OWL's M.
    """
    count = sum(score.numel() for score in scores)
    mean = sum(float(score.double().sum()) for score in scores) / count
    return sum(int((score > multiple * mean).sum()) for score in scores) / count


def layer_sparsities(
    shares: Mapping[Key, float], sizes: Mapping[Key, int], sparsity: float, spread: float
) -> dict[Key, float]:
    """Return the sparsity of every layer; their mean, weighted by size, is ``sparsity``.

    Args:
        shares: Share of outliers of each layer.
        sizes: Number of weights of each layer.
        sparsity: Share of all weights to prune.
        spread: OWL's lambda: the shares of the layers lie within an interval of ``2 * spread``.

    Raises:
        OptionError: A layer would be pruned whole, or not at all.
    """
    names = list(shares)
    values = torch.tensor([shares[name] for name in names], dtype=torch.float64)
    weights = torch.tensor([sizes[name] for name in names], dtype=torch.float64)
    low, high = values.min(), values.max()
    if high == low:  # nothing tells the layers apart
        return dict.fromkeys(names, sparsity)
    dense = 2 * spread * (values - low) / (high - low)
    dense = dense - (dense * weights).sum() / weights.sum() + (1 - sparsity)
    sparsities = {name: 1 - float(value) for name, value in zip(names, dense, strict=True)}
    for name, value in sparsities.items():
        if not 0 < value < 1:
            raise OptionError(
                f"option owl={spread} would prune a share of {value:.3f} of layer {name} at "
                f"sparsity {sparsity}: give a smaller owl"
            )
    return sparsities
