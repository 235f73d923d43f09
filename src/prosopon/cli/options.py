"""Options that several commands share."""

import errno
import functools
import inspect
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from typer import Argument, Option

from prosopon import ranks
from prosopon.cli import console
from prosopon.errors import OptionError, UnknownNameError

if TYPE_CHECKING:
    from prosopon.criteria import Criterion
    from prosopon.experiments import Source

T = TypeVar("T")

OLD_NAMES = {"out": "output", "task-file": "plugin"}
"""Options of earlier versions, which still work, and what they are called now."""


def expand_home(text: str) -> Path:
    """Return a path; ``~`` is the home folder here too where no shell has replaced it."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # no such user: a folder may be called so
        return Path(text)


Model = Annotated[
    str,
    Option("--model", "-m", help="embedded, smollm2, a folder, a GGUF file, or an id on the Hub."),
]
Device = Annotated[str, Option(help="auto, cpu, cuda or mps.")]
Json = Annotated[bool, Option("--json", help="Print JSON on stdout instead of text.")]
Quiet = Annotated[bool, Option("--quiet", "-q", help="No progress and no notes.")]
Verbose = Annotated[bool, Option("--verbose", "-v", help="Say also where an error came from.")]
Seed = Annotated[int, Option(help="Seeds whatever is drawn.")]
Targets = Annotated[
    list[str] | None,
    Option(help="Sites to use, a glob (*.mlp.*, q_proj) or re:REGEX. May be repeated."),
]
Ignore = Annotated[list[str] | None, Option(help="Sites to leave out. May be repeated.")]
Layers = Annotated[
    str | None, Option(help="Decoder layers to use, for instance 2-5,7; the first is 0.")
]
Only = Annotated[str | None, Option(help="Use one part of the layers: attention or mlp.")]
LIST = "Separated by commas."
Opposite = Annotated[str | None, Option(help="Its opposite; as for extract.")]
PromptLine = Annotated[str | None, Option(help="System line of the prompt arm for --target.")]
Seeds = Annotated[str, Option(help=LIST)]
Temperature = Annotated[float, Option(min=0.0, help="Of free answers; 0 is greedy.")]
MaxNewTokens = Annotated[int, Option(min=1, help="Longest free answer.")]
ArmOption = Annotated[list[str] | None, Option(help="arm.key=value. May be repeated.")]
General = Annotated[
    str | None,
    Option(help="General text, a quarter held out, or answers or start; default sampled."),
]
OpenQuestions = Annotated[
    str | None,
    Option(
        help="Bank of open questions that free text is asked besides: an axis, a TOML file, or "
        "none; default the axis that the names belong to, on chat models."
    ),
]
Retry = Annotated[bool, Option("--retry", help="Run cells again that failed before.")]
_OUTPUT = Option(
    "--output", "-o", help="Where the result goes.", parser=expand_home, metavar="PATH"
)
Output = Annotated[Path, _OUTPUT]
OutputOrDefault = Annotated[Path | None, _OUTPUT]
Force = Annotated[bool, Option("--force", help="Replace what --output holds.")]
MASK = "A persona's name, a folder, a pack, pack#name, or hf:org/name."
Mask = Annotated[str, Argument(help=MASK, metavar="PERSONA")]
Masks = Annotated[list[str], Argument(help=f"{MASK} Of one model.", metavar="PERSONA...")]
OwnModel = Annotated[
    str | None,
    Option(
        "--model",
        "-m",
        help="embedded, smollm2, a folder, a GGUF file, or an id on the Hub; default the persona's "
        "own.",
    ),
]


@dataclass(frozen=True)
class ModelPlace:
    """Where a model comes from and where it is put: of every command that loads one."""

    revision: Annotated[str | None, Option(help="Branch, tag or commit on the Hub.")] = None
    device: Device = "auto"
    dtype: Annotated[
        str, Option(help="auto (as the model is stored), float32, bfloat16, float16.")
    ] = "auto"
    device_map: Annotated[
        str | None, Option(help="Spread over devices with accelerate, for instance auto.")
    ] = None


@dataclass(frozen=True)
class People:
    """Who is compared: bundled personas, or any one instead."""

    personas: Annotated[
        str | None,
        Option(
            "--personas",
            "--persona",
            "-p",
            help=f"The library's; on the embedded model its own. {LIST} Or all.",
        ),
    ] = None
    target: Annotated[
        str | None, Option("--target", "-t", help="Instead: any persona, on any model.")
    ] = None
    opposite: Opposite = None
    prompt: PromptLine = None
    general: General = None
    open_questions: OpenQuestions = None

    def source(self, model: str, description: str = "") -> "Source":
        """Return where the contrasts come from, for a model."""
        from prosopon.experiments import Source

        names = tuple(split_personas(self.personas, model)) if self.personas else ()
        if names and self.opposite:
            raise OptionError("--opposite needs --target; the opposites of --personas are known")
        return Source(names, self.target, self.opposite, self.prompt, description, self.general)


@dataclass(frozen=True)
class Everywhere:
    """What every command has."""

    plugin: Annotated[
        list[str] | None, Option(help="Python file with a criterion, arm, task or reader of yours.")
    ] = None
    quiet: Quiet = False
    verbose: Verbose = False


def everywhere(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command its groups of options, and those that all have: see :class:`Everywhere`.

    A parameter whose type is a dataclass is a group: its fields are options.
    """
    signature = inspect.signature(command, eval_str=True)
    own = signature.parameters
    groups = {name: p.annotation for name, p in own.items() if is_dataclass(p.annotation)}
    parameters = [
        option
        for name, parameter in own.items()
        for option in (_fields(groups[name]) if name in groups else [parameter])
    ]
    parameters += _fields(Everywhere)

    @functools.wraps(command)
    def run(**values: Any) -> None:
        with ranks.join():
            if ranks.is_launched() and command.__name__ != "extract":
                raise OptionError(
                    f"torchrun starts many processes, and only extract shares work among them: "
                    f"start {command.__name__.replace('_', '-')} without it"
                )
            console.volume.quiet |= not ranks.is_first()
            obey(_take(Everywhere, values))
            for name, value in values.items():
                check_text(value)
                if name in ("output", "folder") and isinstance(value, Path):
                    check_writable(value)
            command(**{name: _take(kind, values) for name, kind in groups.items()}, **values)

    keywords = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    run.__dict__["__signature__"] = signature.replace(parameters=keywords)
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in keywords}
    del run.__dict__["__wrapped__"]
    return run


def _fields(group: Any) -> list[inspect.Parameter]:
    return list(inspect.signature(group, eval_str=True).parameters.values())


def _take(group: Any, values: dict[str, Any]) -> Any:
    """Take the options of a group out of ``values``."""
    return group(**{field.name: values.pop(field.name) for field in fields(group)})


def obey(options: Everywhere) -> None:
    """Do what the options say that all commands have."""
    console.volume.quiet |= options.quiet
    console.volume.verbose |= options.verbose
    for path in options.plugin or ():
        from prosopon.plugins import load_plugin

        load_plugin(expand_home(path))


def check_text(value: Any) -> None:
    """Raise :class:`OptionError` for a text that no file can hold: a name that is not UTF-8."""
    for item in value if isinstance(value, list) else [value]:
        try:
            str(item).encode()
        except UnicodeEncodeError:
            raise OptionError(f"{item}: this name is not UTF-8: give the file another") from None


def check_writable(path: Path) -> None:
    """Raise :class:`OptionError` where no result can be written, before any work is done."""
    try:
        if "\0" in str(path):
            raise ValueError("a null character in the name")
        place = next(part for part in (path, *path.absolute().parents) if part.exists())
        if not place.is_dir() and place != path:
            raise NotADirectoryError(errno.ENOTDIR, f"{place} is a file")
        with tempfile.TemporaryFile(dir=place if place.is_dir() else place.parent):
            pass
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise OptionError(f"{path}: cannot be written: {reason}") from None


def check_folder(folder: Path, force: bool) -> None:
    """Raise :class:`OptionError` where a folder would be written over without ``--force``."""
    check_writable(folder)
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"{folder}: is a file, not a folder; give another --output")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise OptionError(
            f"{folder}: is not empty; give --force to replace it, or another --output"
        )


FEW = 32
"""Examples, and general texts, of ``--fast``."""


def fast_rounds(criterion: "Criterion") -> int:
    """Return a third of the rounds of a light criterion.

    Raises:
        OptionError: Another criterion.
    """
    from prosopon.criteria import LightCriterion

    if not isinstance(criterion, LightCriterion):
        raise OptionError(f"--fast is for light criteria; {criterion.name!r} reads its texts once")
    return max(1, int(criterion.options().rounds) // 3)


def default_criterion(model: str, free: bool) -> str:
    """Return the criterion of a run that names none: one that chooses its dose by itself."""
    from prosopon.models import EMBEDDED

    return "contrastive-kl" if model != EMBEDDED and free else "contrastive-taylor"


def split_list(text: str, convert: Callable[[str], T]) -> list[T]:
    """Return the values of a comma-separated list, each once."""
    return list(dict.fromkeys(convert(part.strip()) for part in text.split(",") if part.strip()))


def whole_numbers(name: str, text: str) -> tuple[int, ...]:
    """Return the whole numbers of a list option, each once."""
    try:
        return tuple(split_list(text, int))
    except ValueError:
        raise OptionError(f"{name} {text!r}: whole numbers, separated by commas") from None


def numbers(name: str) -> Callable[[str], float]:
    """Return a converter of the numbers of a list option."""

    def convert(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise OptionError(f"{name} {text!r}: numbers, separated by commas") from None

    return convert


def in_english(model: str, *sources: str | None) -> list[Any]:
    """Return the sources for a model: bare names are the library's on any but the embedded one."""
    from prosopon.data.library import natural

    if model == "embedded":
        return list(sources)
    natural_ones = [source and natural(source) for source in sources]
    for old, new in zip(sources, natural_ones, strict=True):
        if old != new:
            console.note(f"{old}: of the library, {new}, in natural English")
    return natural_ones


def split_personas(text: str, model: str = "embedded") -> list[str]:
    """Return the personas that ``--personas`` names: the embedded model's, or the library's."""
    from prosopon.data import bundled, library

    choices = bundled.names() if model == "embedded" else library.names()
    if text.strip().lower() == "all":
        return choices
    names = [name.removeprefix(library.PREFIX) for name in split_list(text, str)]
    for name in names or [""]:
        if name not in choices:
            raise UnknownNameError("persona", name, choices)
    return names


def key_values(texts: Sequence[str] | None, owner: str | None = None) -> dict[str, str]:
    """Parse ``--option key=value``; ``owner.key=value`` says the same of the owner."""
    pairs: dict[str, str] = {}
    for item in texts or ():
        key, sign, value = item.partition("=")
        whose, dot, rest = key.rpartition(".")
        if not sign or not rest or (dot and not whose):
            raise OptionError(f"--option {item!r}: write it as key=value")
        if whose and whose != owner:
            raise OptionError(f"--option {item!r}: {whose!r} does not take part here")
        if rest in pairs:
            raise OptionError(f"--option {rest!r} is given twice")
        pairs[rest] = value
    return pairs
