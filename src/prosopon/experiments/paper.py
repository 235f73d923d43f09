"""The protocol of Ye et al. 2026 (arXiv 2602.07164), and what we add to it."""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from prosopon.data.contrast import Contrast, file_contrast
from prosopon.data.examples import Persona
from prosopon.data.mbti import POLES
from prosopon.data.readers import READERS
from prosopon.data.readers.reading import read_file
from prosopon.data.readers.rows import read_rows
from prosopon.data.splits import prompt_hashes
from prosopon.errors import DataError, OptionError
from prosopon.experiments.plan import OptionSets

SUFFIXES = (".jsonl", ".json", ".csv")
AXES = ("IE", "NS", "FT", "JP")
LETTERS = {axis[end]: axis[1 - end] for axis in AXES for end in (0, 1)}
"""The other end of the axis of every letter of a type."""

OTHER_END = {POLES[a]: POLES[b] for a, b in LETTERS.items()}
_CALLED = {
    "E": r"extr[ao]ver\w+", "I": r"introver\w+", "S": "sensing", "N": r"intuiti\w+",
    "T": "thinking", "F": "feeling", "J": r"judg\w+", "P": r"perc\w+",
}  # fmt: skip
"""What files of the two ends of an axis are called, at the end of their names."""

Part = Literal["ai-persona", "mbti", "role-play"]
JUDGE = 64  # prompts of a published training file that teach the judge


@dataclass(frozen=True)
class Protocol:
    """What a paper did.

    Attributes:
        source: The paper.
        models: Ids on the Hub.
        sets: Data sets with one line on each.
        calibration: Examples of each side.
        test: Test questions of a set.
        sparsity: Share pruned of every output row.
        arms: The paper's arms by our names.
        controls: Arms that we add.
        tasks: Tasks, the paper's first.
    """

    source: str
    models: tuple[str, ...]
    sets: dict[str, str]
    calibration: int
    test: int
    sparsity: float
    arms: tuple[str, ...]
    controls: tuple[str, ...]
    tasks: tuple[str, ...]


PAPER = Protocol(
    source="Ye et al., Your Language Model Secretly Contains Personality Subnetworks, ICLR 2026",
    models=("meta-llama/Llama-2-13b-hf", "meta-llama/Meta-Llama-3-8B", "Qwen/Qwen2.5-14B"),
    sets={
        "AI Persona": "power-seeking, wealth-seeking, hallucination: two-choice questions with a "
        "matching and a not-matching answer",
        "MBTI": "four opposite pairs, I/E, S/N, T/F, J/P",
        "RoleAgentBench": "Friends, Harry Potter, Sherlock, The Big Bang Theory, The Merchant of "
        "Venice (24 to 126 questions each)",
    },
    calibration=650,
    test=200,
    sparsity=0.3,
    arms=(
        "prompt-paper", "retrieval", "wanda", "sparsegpt", "contrastive-wanda",
        "contrastive-sparse", "lora",
    ),
    controls=(
        "base", "prompt", "random", "magnitude", "wanda-general", "opposite", "shortest",
        "always-yes", "always-a", "contrastive-taylor",
    ),
    tasks=("choice", "yes-no", "a-b", "free-text", "neutral", "facts", "perplexity"),
)  # fmt: skip
"""Published settings; what the paper leaves open is the released script's default."""

ADDED = (
    "the matching answer must win under four normalisations, not by the summed likelihood alone",
    "options are asked in both orders",
    "no persona system prompt stands under a mask (the released script adds one)",
    "free text, its degeneration, neutral ability and general perplexity beside every choice rate",
    "intervals over questions, paired tests with Holm's correction",
)


@dataclass(frozen=True)
class DataSet:
    """One data set of a folder, and where its parts are.

    Attributes:
        name: What it is called: the file's name without ``train`` or ``test``.
        train: What is learned from.
        test: What is asked; None keeps a quarter of ``train`` back.
        opposite: The other side; None where rows hold both answers.
        part: Which of the paper's data it is.
        group: The type's letter of an MBTI file, the script of a role; else nothing.
    """

    name: str
    train: str
    test: str | None = None
    opposite: str | None = None
    part: Part = "ai-persona"
    group: str = ""


def find_sets(folder: Path, pairs: Sequence[str] = ()) -> tuple[list[DataSet], list[str]]:
    """Return the data sets of a folder, sorted by name, and what is left out.

    ``NAME_train`` and ``NAME_test`` are one set, as are ``NAME`` and ``NAME_test``. A test file
    without a not-matching answer (``NAME_infer``) is left out. Files without such answers that
    are called after the two ends of an MBTI axis (``en_energy_extraversion``) are two sets, each
    end against the other. RoleAgentBench's files, here or up to two folders down, are one set a
    role; the script is the name of the folder that they lie in, or of a file that lies here.

    Args:
        folder: The folder.
        pairs: ``TARGET=OPPOSITE``, files of the folder (``file#role`` for one role of a file)
            that are the two sides of a set.

    Raises:
        OptionError: It is no folder, or holds none; a pair is written otherwise.
    """
    if not folder.is_dir():
        raise OptionError(f"--data {folder}: there is no such folder")
    sets, sides = [], set[Path]()
    for pair in pairs:
        target, sign, opposite = pair.partition("=")
        if not (sign and target and opposite):
            raise OptionError(f"--pair {pair!r}: write it as TARGET=OPPOSITE")
        sources = [_source(folder, side) for side in (target, opposite)]
        sides |= {Path(source.partition("#")[0]) for source in sources}
        name = re.sub(r"[^\w-]+", "-", f"{target}-{opposite}")
        sets.append(DataSet(name, sources[0], opposite=sources[1]))
    poles = _pole_files(path for path in _data_files(folder) if path not in sides)
    for ours, theirs in LETTERS.items():
        if ours in poles and theirs in poles:
            one, other = poles[ours], poles[theirs]
            sets.append(DataSet(POLES[ours], str(one), None, str(other), "mbti", ours))
            sides.add(one)
    notes = list[str]()
    for path in _deep_files(folder):
        if roles := _roles(path):
            sets += _role_sets(folder, path, roles, notes)
            sides.add(path)
    groups: dict[str, dict[str, Path]] = {}
    for path in _data_files(folder):
        if path in sides:
            continue
        name, part = _name_and_part(path.stem)
        if part != "train" and not _has_both_answers(path):
            notes.append(f"{path.name}: left out: it has no not-matching answers")
        else:
            groups.setdefault(name, {})[part] = path
    for name, parts in groups.items():
        train, test = parts.get("train"), parts.get("test")
        if train is None:
            notes.append(f"{test}: left out: there is nothing to learn from beside it")
        else:
            sets.append(DataSet(name, str(train), None if test is None else str(test)))
    if not sets:
        raise OptionError(
            f"--data {folder}: holds no data set; one {', '.join(SUFFIXES)} file each, with "
            "questions and a matching and a not-matching answer, or --pair TARGET=OPPOSITE"
        )
    return sorted(sets, key=lambda one: one.name), notes


def set_contrast(data: DataSet, *, questions: int, line: str | None = None) -> "SetContrast":
    """Return the contrast of a data set, with the published split where there is one.

    Raises:
        DataError: A file cannot be used, or a part stays empty.
    """
    notes: list[str] = []
    sides = _read_sides(data.train, data.opposite, data.name, notes)
    if data.test is None:
        contrast = file_contrast(*sides, line=line, questions=questions)
        return SetContrast(contrast, tuple(notes))
    test = _read_sides(data.test, None, data.name, notes)
    contrast = file_contrast(*sides, line=line, questions=1, judge=JUDGE)
    contrast = dataclasses.replace(contrast, test=test)
    before = len(contrast.items())
    contrast = contrast.without(prompt_hashes(*contrast.calibration, *contrast.judge))
    seen = before - len(contrast.items())
    if seen:
        notes.append(f"{seen} of {before} test questions stand in the training file: left out")
    return SetContrast(contrast, tuple(notes))


@dataclass(frozen=True)
class SetContrast:
    """A data set's contrast.

    Attributes:
        contrast: The contrast.
        notes: What was left out of its files.
    """

    contrast: Contrast
    notes: tuple[str, ...]


def options(
    arms: Sequence[str], sparsity: float, own: Mapping[str, Mapping[str, str]]
) -> dict[str, OptionSets]:
    """Return the options that put every mask of the paper at its sparsity, and the user's own."""
    masks = ("random", "magnitude", "wanda", "sparsegpt", "contrastive-wanda", "contrastive-sparse")
    at_sparsity = {
        arm: {"sparsity": str(sparsity)} for arm in arms if arm in (*masks, "wanda-general")
    }
    if "opposite" in arms:
        at_sparsity["opposite"] = {"criterion": "contrastive-wanda", "sparsity": str(sparsity)}
    return {
        arm: ({**at_sparsity.get(arm, {}), **own.get(arm, {})},)
        for arm in dict.fromkeys((*at_sparsity, *own))
    }


def _read_sides(
    source: str, opposite: str | None, name: str, notes: list[str]
) -> tuple[Persona, Persona]:
    target = _read(source, name, notes)
    if opposite is None:
        return target, target.opposite()
    return target, _read(opposite, OTHER_END.get(name, f"not-{name}"), notes)


def _read(source: str, name: str, notes: list[str]) -> Persona:
    """Read a file, or one role of it; rows without a question are left out and said."""
    path, _, role = source.partition("#")
    result = read_file(path, role=role or None)
    notes += [note for note in result.notes if "left out" in note]
    return Persona(name, tuple(result.examples))


def _data_files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES]


def _pole_files(paths: Iterable[Path]) -> dict[str, Path]:
    """Return files of one answer a question by the letter of a type that they are called after."""
    poles = {}
    for path in paths:
        for letter, name in _CALLED.items():
            called = re.fullmatch(rf"(.*[-_ .])?{name}", path.stem, re.I) is not None
            if called and not _has_both_answers(path):
                poles[letter] = path
    return poles


def _deep_files(folder: Path) -> list[Path]:
    """Return the JSON files of a folder and of its folders, two down."""
    paths = [path for depth in ("*", "*/*", "*/*/*") for path in folder.glob(depth)]
    return sorted(path for path in paths if path.suffix in (".json", ".jsonl") and path.is_file())


def _role_sets(
    folder: Path, path: Path, roles: Iterable[str], notes: list[str]
) -> Iterator[DataSet]:
    """Yield a set for each role of a RoleAgentBench file that has wrong answers, too."""
    where = path.relative_to(folder).parts
    script = where[-2] if len(where) > 1 else path.stem
    for role in roles:
        if _has_both_answers(path, role):
            name = re.sub(r"[^\w-]+", "-", "-".join((*where[:-1], path.stem, role)))
            yield DataSet(name, f"{path}#{role}", None, None, "role-play", script)
        else:
            notes.append(f"{'/'.join(where)}#{role}: left out: it has no not-matching answers")


def _roles(path: Path) -> list[str]:
    """Return the roles of a RoleAgentBench file; none where it is another."""
    try:
        rows = [row.value for row in read_rows(path, path.suffix)]
    except DataError:
        return []
    if not rows or not READERS.get("role-agent-bench").sniff(rows[0]):
        return []
    return sorted({str(row.get("target_role", "")).strip() for row in rows} - {""})


def _source(folder: Path, side: str) -> str:
    """Return the path of a side, with its role; the suffix may be left out."""
    name, mark, role = side.strip().partition("#")
    candidates = [folder / name, *(folder / f"{name}{suffix}" for suffix in SUFFIXES)]
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        choices = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
        raise OptionError(f"--pair: there is no {name!r} in {folder}; it holds {choices}")
    return f"{path}{mark}{role}"


def _name_and_part(stem: str) -> tuple[str, str]:
    match = re.fullmatch(r"(.+?)[-_. ]?(train|calibration|test|infer|inference)", stem, re.I)
    if match is None:
        return stem, "train"
    part = match[2].lower()
    return match[1], "train" if part in ("train", "calibration") else "test"


def _has_both_answers(path: Path, role: str | None = None) -> bool:
    try:
        examples = read_file(path, role=role).examples
    except DataError:
        return False
    return bool(examples) and all(example.alternative is not None for example in examples)


def describe(protocol: Protocol) -> dict[str, Any]:
    """Return the protocol and what is added, as JSON values."""
    return {**vars(protocol), "added": list(ADDED)}
