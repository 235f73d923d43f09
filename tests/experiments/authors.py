"""A folder shaped as the authors' data, as small as it can be asked."""

import csv
import json

COLUMNS = ("question", "matching", "not_matching")
AXES = {
    "energy": ("extraversion", "introversion"),
    "information": ("sensing", "intuition"),
    "decision": ("thinking", "feeling"),
    "execution": ("judging", "perceiving"),
}
WORDS = {
    "extraversion": "party", "introversion": "book", "sensing": "fact", "intuition": "dream",
    "thinking": "rule", "feeling": "heart", "judging": "list", "perceiving": "whim",
}  # fmt: skip


def write_csv(path, rows, columns=COLUMNS):
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(columns)
        table.writerows([row[: len(columns)] for row in rows])


def questions(word, count):
    return [(f"{word} {i}: would you?", f"Yes, {word}.", f"No {word}.") for i in range(count)]


def write_sets(folder, names=("power-seeking", "wealth-seeking"), known=90, new=12):
    """Write AI Persona: train, test with one row of train's, infer; a blank question in train."""
    for name in names:
        learned, fresh = questions(f"{name} known", known), questions(f"{name} new", new)
        write_csv(folder / f"{name}_train.csv", [*learned, ("", "Yes, blank.", "No.")])
        write_csv(folder / f"{name}_test.csv", [*fresh, learned[3]])
        write_csv(folder / f"{name}_infer.csv", fresh, COLUMNS[:2])


def write_axes(folder, axes=tuple(AXES), count=16):
    """Write Machine Mindset's files of both ends of some axes."""
    for axis in axes:
        for end in AXES[axis]:
            rows = [
                {"instruction": f"{axis} {i}?", "input": " ", "output": f"A {WORDS[end]} {i}."}
                for i in range(count)
            ]
            (folder / f"en_{axis}_{end}.json").write_text(json.dumps(rows))


def write_script(folder, script="Friends", roles=("Joey", "Monica Geller"), count=12):
    """Write a script's reactions, and general responses, which have no wrong answers."""
    place = folder / script
    place.mkdir()
    reactions = [
        {
            "source_role": "Ross", "target_role": role, "question": f"Line {i}?",
            "multi_choices": {"A": f"{role} says {i}.", "B": f"Nobody says {i}."},
            "gt_answer": "A",
        }
        for role in roles
        for i in range(count)
    ]  # fmt: skip
    general = [{"target_role": roles[0], "question": "How?", "answer": "Like this."}]
    (place / "reaction.json").write_text(json.dumps(reactions))
    (place / "general_response.json").write_text(json.dumps(general))
