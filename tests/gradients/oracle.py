"""The whole gradient of the persona objective, for tests that look at all of it."""

from prosopon.gradients import objective_terms, sum_gradients


def objective_gradients(model, sites, material, objective, *, max_tokens=2048):
    """Return dL/dW of every site and the loss L."""
    terms = objective_terms(model, material, objective, max_tokens=max_tokens)
    return sum_gradients(sites, terms)
