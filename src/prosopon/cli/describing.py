"""The options of ``extract`` for a persona that is given in words."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from prosopon.cli.console import note
from prosopon.cli.options import check_writable, expand_home
from prosopon.errors import OptionError

if TYPE_CHECKING:
    from prosopon.description import CalibrationSet
    from prosopon.models import LoadedModel
    from prosopon.progress import Report

EXAMPLES = 48
"""Pairs that a description gets where nobody says how many."""


@dataclass(frozen=True)
class Words:
    """A persona in words, of which a model writes the examples."""

    describe: Annotated[
        str | None,
        Option(
            help="Instead of --target: the persona in words, such as 'a patient teacher who "
            "answers with questions'. The model writes the examples itself."
        ),
    ] = None
    versus: Annotated[
        str | None,
        Option(
            help="With --describe: what it is told apart from, in words; default the model's own "
            "answers."
        ),
    ] = None
    writer: Annotated[
        tuple[str, str] | None,
        Option(
            metavar="URL MODEL",
            help="With --describe: an OpenAI-compatible chat endpoint that writes the examples; "
            "its key is read from PROSOPON_WRITER_KEY.",
        ),
    ] = None
    questions: Annotated[
        str | None,
        Option(
            help="With --describe: what is asked, a bank or a TOML file; default 254 everyday "
            "questions."
        ),
    ] = None
    save: Annotated[
        Path | None,
        Option(
            parser=expand_home, metavar="PATH",
            help="With --describe: also write the examples to this JSONL file, to be read, "
            "mended and given to --target.",
        ),
    ] = None  # fmt: skip

    def check(self, target: str | None, opposite: str | None, sequential: bool) -> None:
        """Refuse what does not go together.

        Raises:
            OptionError: See the messages.
        """
        if self.describe is None:
            for field in fields(self):
                if getattr(self, field.name) is not None:
                    raise OptionError(f"--{field.name} has no meaning without --describe")
            if target is None:
                raise OptionError(
                    "extract needs a persona: --target with a name or a file of examples, or "
                    "--describe with the persona in words"
                )
            return
        for name, value in (("--target", target), ("--opposite", opposite)):
            if value is not None:
                other = "--describe" if name == "--target" else "--versus"
                raise OptionError(f"{name} and --describe: give one of them; {other} takes words")
        if sequential:
            raise OptionError(
                "--describe needs the whole model, to write with it: write the examples with a "
                "model that fits and --save FILE, then give --target FILE --sequential"
            )
        from prosopon.description import word_lines

        ours = word_lines(self.describe)
        if self.versus is not None and word_lines(self.versus) == ours:
            raise OptionError(f"both descriptions say the same: {self.describe!r}")
        if self.save is not None:
            check_writable(self.save)

    def answers(self, folder: Path) -> Path:
        """Return where answers lie until the mask is written."""
        place = self.save or folder
        return place.with_name(f"{place.name}.answers")

    def write(
        self, loaded: LoadedModel, folder: Path, *, count: int, seed: int, force: bool,
        report: Report,
    ) -> CalibrationSet:  # fmt: skip
        """Let the examples be written.

        Raises:
            OptionError: The file of examples is there already.
            ProsoponError: See :func:`prosopon.describe`.
        """
        from prosopon.description import describe

        assert self.describe is not None
        answers = self.answers(folder)
        if self.save is not None and self.save.exists() and not force and not answers.exists():
            raise OptionError(
                f"{self.save}: is there already: give it to --target, or --force to write it anew"
            )
        note(f"answers are kept in {answers}; after an interruption the same command goes on")
        written = describe(
            loaded.model, loaded.tokenizer, self.describe, self.versus, count=count, seed=seed,
            questions=self.questions, writer=self.writer, file=answers, report=report,
        )  # fmt: skip
        for line in written.report:
            note(line)
        if self.save is not None:
            written.save(self.save)
            note(f"examples written to {self.save}")
        return written
