"""``prosopon lm-eval``: lm-evaluation-harness with a model that wears a persona."""

import typer

CONTEXT = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "allow_interspersed_args": False,
    "help_option_names": [],
}
"""Everything, ``--help`` too, is the harness's own business."""


def lm_eval(context: typer.Context) -> None:
    """Run lm_eval, which then knows the model prosopon; all arguments are lm_eval's own."""
    from prosopon.harness import main

    main(context.args)
