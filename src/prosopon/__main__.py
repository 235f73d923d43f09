"""``python -m prosopon``."""

from prosopon.cli import main

main()
