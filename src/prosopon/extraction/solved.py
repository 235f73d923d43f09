"""Masks that a criterion chooses itself, from Gram matrices."""

from typing import cast

from prosopon.criteria import SiteInputs, SolvedCriterion
from prosopon.extraction.collector import Collector
from prosopon.extraction.mask import ExtractedMask
from prosopon.extraction.request import Request
from prosopon.statistics import gram_portions


def solved_mask(collector: Collector, request: Request) -> ExtractedMask:
    """Let the criterion choose every site's mask.

    Gram matrices are collected for as many sites at a time as fit in memory: one pass over the
    examples for each portion.
    """
    criterion = cast(SolvedCriterion, request.criterion)
    mask = ExtractedMask({})
    for portion in gram_portions(collector.sites):
        grams = collector.grams(request.target, request.scope, portion)
        for site in portion:
            weight = site.matrix().float()
            inputs = SiteInputs(weight, gram=grams[site.name], sparsity=request.share)
            solution = criterion.solve(inputs, request.pattern, request.options)
            mask.keep[site.name] = solution.keep.cpu()
            if solution.values is not None:
                mask.values[site.name] = solution.values.to("cpu", site.weight.dtype)
            collector.settings.say("pruning", len(mask.keep), len(collector.sites))
    return mask
