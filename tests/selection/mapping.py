"""Selection from scores by name, as tests write them."""

from prosopon import selection


def select(scores, sparsity=None, *, ties=None, **how):
    """Return the masks of ``scores``, and of ``ties`` where there are any."""
    sites = [
        selection.Scored(name, score, (ties or {}).get(name)) for name, score in scores.items()
    ]
    return selection.select(sites, sparsity, **how)
