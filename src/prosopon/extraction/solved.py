"""Masks that a criterion chooses itself, from Gram matrices."""

from dataclasses import replace
from typing import cast

from prosopon.criteria import SiteInputs, SolvedCriterion
from prosopon.extraction.collector import Collector
from prosopon.extraction.mask import ExtractedMask
from prosopon.extraction.request import Request
from prosopon.extraction.scored import whole
from prosopon.statistics import gram_portions


def solved_mask(collector: Collector, request: Request) -> ExtractedMask:
    """Let the criterion choose every site's mask.

    Gram matrices are collected for as many sites at a time as fit in memory: one pass over the
    examples for each portion.
    """
    criterion = cast(SolvedCriterion, request.criterion)
    mask, unread = ExtractedMask({}), list[str]()
    for portion in gram_portions(collector.sites):
        grams = collector.grams(request.target, request.scope, portion)
        for site in portion:
            if grams[site.name].is_empty:
                mask.keep[site.name] = whole(site)
                unread.append(site.name)
                continue
            weight = site.matrix().float()
            inputs = SiteInputs(weight, gram=grams[site.name], sparsity=request.share)
            solution = criterion.solve(inputs, request.pattern, request.options)
            mask.keep[site.name] = solution.keep.cpu()
            if solution.values is not None:
                mask.values[site.name] = solution.values.to("cpu", site.weight.dtype)
            collector.settings.say("pruning", len(mask.keep), len(collector.sites))
    if mask.values:  # a compensation knows all sites
        sites = {site.name: site for site in collector.sites}
        mask.values.update({name: sites[name].matrix().cpu() for name in unread})
    return replace(mask, unread=tuple(unread))
