"""Write a folder shaped as the data of Ye et al. 2026, from data that may be used.

python tools/paper_data.py paper-data [--shared ../shared]

AI Persona comes from the human-written questions of Perez et al. 2022, which have no set on
hallucination; the labels are theirs: the matching answer declines power or wealth. The energy
axis is Machine Mindset's; the other three axes, and the script, are sentences of our own that
come with the package. `prosopon reproduce paper --run --data paper-data` reads the folder.
"""

import argparse
import csv
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from prosopon.data import load_persona, read_examples
from prosopon.data.characters import load_character, names
from prosopon.data.mbti import POLES

SETS = {
    "power-seeking": "power-seeking-inclination",
    "wealth-seeking": "wealth-seeking-inclination",
}
AXES = (
    ("energy", "extraversion", "E", "introversion", "I"),
    ("information", "sensing", "S", "intuition", "N"),
    ("decision", "thinking", "T", "feeling", "F"),
    ("execution", "judging", "J", "perceiving", "P"),
)
"""Machine Mindset's names of an axis and its ends, each with its letter of a type."""

TRAIN, TEST = 650, 200  # rows, at most; a quarter is tested where there are fewer
ASKED = 240  # characters of a question with its options, at most
LONGEST = 160  # characters of any other question, and of an answer, at most
_OPTION = re.compile(r"^ *\(([A-Z])\) *(.+?) *$", re.MULTILINE)

Row = tuple[str, str, str]


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    given = parser.parse_args()
    write_folder(given.folder, given.shared / "data")


def write_folder(folder: Path, data: Path) -> None:
    """Write every file of the authors' shape.

    Args:
        folder: Where to; made where it is missing.
        data: Folder with ``machine-mindset`` and ``model-written-evals``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in SETS.items():
        path = data / "model-written-evals" / "advanced-ai-risk" / f"{source}.jsonl"
        rows = two_option_rows(path.read_text("utf-8").splitlines())
        asked = min(TEST, len(rows) // 4)
        test, train = rows[:asked], rows[asked : asked + TRAIN]
        for part, columns, chosen in (("train", 3, train), ("test", 3, test), ("infer", 2, test)):
            write_csv(folder / f"{name}_{part}.csv", chosen, columns)
    for axis, *ends in AXES:
        names, letters = ends[::2], ends[1::2]
        paths = [data / "machine-mindset" / f"{axis}_{name}.jsonl" for name in names]
        sides = [
            read_examples(path) if path.exists() else load_persona(POLES[letter]).examples
            for path, letter in zip(paths, letters, strict=True)
        ]
        rows = [
            (ours.prompt[-1].content, cut(ours.response), cut(theirs.response))
            for ours, theirs in zip(*sides, strict=True)
            if ours.prompt == theirs.prompt
        ]
        rows = [row for row in rows if all(row) and len(row[0]) <= LONGEST and row[1] != row[2]]
        for place, name in enumerate(names, 1):
            texts = [{"instruction": row[0], "input": "", "output": row[place]} for row in rows]
            write_json(folder / f"en_{axis}_{name}.json", texts)
    write_json(folder / "three-neighbours" / "reaction.json", reactions())


def two_option_rows(lines: Iterable[str]) -> list[Row]:
    """Return (question, matching, not_matching) of two-option rows, options as texts."""
    rows = []
    for line in lines:
        row = json.loads(line)
        options = dict(_OPTION.findall(row["question"]))
        match, other = (
            row[f"answer_{kind}_behavior"].strip().strip("()")
            for kind in ("matching", "not_matching")
        )
        question = row["question"].removeprefix("Question:").removesuffix("Answer:").strip()
        if {match, other} != set(options) or not 0 < len(question) <= ASKED:
            continue
        if options[match] != options[other]:
            rows.append((question, options[match], options[other]))
    return list(dict.fromkeys(rows))


def cut(text: str) -> str:
    """Return the whole sentences of a text that fit; nothing where the first does not."""
    short = text[: LONGEST + 1]
    ends = [match.end() for match in re.finditer(r"[.!?](?=\s|$)", short)]
    return short[: ends[-1]] if ends else ""


def reactions() -> list[dict[str, object]]:
    """Return what each bundled character says to each prompt, among what the others say."""
    characters = [load_character(name) for name in names()]
    replies = [dict(character.lines) for character in characters]
    letters = "ABCDEFG"[: len(characters)]
    return [
        {
            "source_role": "Traveller",
            "target_role": character.name,
            "question": asked,
            "multi_choices": dict(zip(letters, (own[asked] for own in replies), strict=True)),
            "gt_answer": letter,
        }
        for character, letter in zip(characters, letters, strict=True)
        for asked, _ in character.lines
    ]


def write_csv(path: Path, rows: Sequence[Row], columns: int) -> None:
    """Write a table with the authors' columns, the first so many of them."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("question", "matching", "not_matching")[:columns])
        table.writerows(row[:columns] for row in rows)


def write_json(path: Path, rows: Sequence[object]) -> None:
    """Write a list of objects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=0), "utf-8")


if __name__ == "__main__":
    main()
