"""``python -m prosopon.harness``: the command line of lm_eval, with the model ``prosopon``."""

import sys

from prosopon.errors import ProsoponError
from prosopon.harness import main

if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ProsoponError as problem:
        sys.stderr.write(f"error: {' '.join(str(problem).split())}\n")
        sys.exit(2)
