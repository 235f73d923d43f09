"""Run by test_sequential.py: a sequential extraction that says each layer and waits for a line."""

from __future__ import annotations

import sys
from pathlib import Path

from prosopon.data import load_persona
from prosopon.layerwise import SequentialSettings, extract_sequential


def main(model, work, output):
    def report(stage, done, total):
        if stage == "reading layer by layer":
            sys.stdout.write(f"{done} {total}\n")
            sys.stdout.flush()
            sys.stdin.readline()

    extract_sequential(
        model,
        load_persona("bold", limit=6),
        load_persona("cautious", limit=6),
        output=Path(output),
        criterion="contrastive-wanda",
        settings=SequentialSettings(work_dir=Path(work)),
        report=report,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
