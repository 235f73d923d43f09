"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from prosopon.errors import OptionError

Model = Annotated[
    str, typer.Option("--model", "-m", help="embedded, a folder, or an id on the Hub.")
]
Revision = Annotated[
    str | None, typer.Option("--revision", help="Branch, tag or commit on the Hub.")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]
Dtype = Annotated[
    str, typer.Option("--dtype", help="auto (as the model is stored), float32, bfloat16, float16.")
]
DeviceMap = Annotated[
    str | None,
    typer.Option("--device-map", help="Spread over devices with accelerate, for instance auto."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of text.")]
Seed = Annotated[int, typer.Option("--seed", help="Seeds whatever is drawn.")]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--targets",
        help="Sites to use, a glob (*.mlp.*, q_proj) or re:REGEX. May be repeated.",
    ),
]
Ignore = Annotated[
    list[str] | None, typer.Option("--ignore", help="Sites to leave out. May be repeated.")
]
Layers = Annotated[
    str | None,
    typer.Option("--layers", help="Decoder layers to use, for instance 2-5,7; the first is 0."),
]
Only = Annotated[
    str | None, typer.Option("--only", help="Use one part of the layers: attention or mlp.")
]
LIST = "Separated by commas."
Personas = Annotated[
    str | None,
    typer.Option("--personas", help=f"Bundled personas on the embedded model. {LIST} Or all."),
]
Instead = Annotated[
    str | None, typer.Option("--target", "-t", help="Instead: any persona, on any model.")
]
Opposite = Annotated[str | None, typer.Option("--opposite", help="Its opposite; as for extract.")]
PromptLine = Annotated[
    str | None, typer.Option("--prompt", help="System line of the prompt arm for --target.")
]
TaskFile = Annotated[
    list[Path] | None,
    typer.Option("--task-file", help="Python file with a task of yours. May be repeated."),
]
Seeds = Annotated[str, typer.Option("--seeds", help=LIST)]
MaxNewTokens = Annotated[int, typer.Option("--max-new-tokens", min=1, help="Longest free answer.")]
ArmOption = Annotated[
    list[str] | None, typer.Option("--option", help="arm.key=value. May be repeated.")
]
General = Annotated[
    str | None,
    typer.Option("--general", help="General text, a quarter held out; default sampled."),
]
Retry = Annotated[bool, typer.Option("--retry", help="Run cells again that failed before.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Folder to write.")]


def key_values(given: Sequence[str] | None) -> dict[str, str]:
    """Parse ``--option key=value`` pairs.

    Raises:
        OptionError: A pair without ``=``, or a key given twice.
    """
    pairs: dict[str, str] = {}
    for item in given or ():
        key, sign, value = item.partition("=")
        if not sign or not key:
            raise OptionError(f"--option {item!r}: write it as key=value")
        if key in pairs:
            raise OptionError(f"--option {key!r} is given twice")
        pairs[key] = value
    return pairs
