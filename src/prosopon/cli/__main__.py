"""``python -m prosopon.cli``."""

from prosopon.cli import main

main()
