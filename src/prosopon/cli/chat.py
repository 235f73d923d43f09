"""``prosopon chat``: talk to a model that wears a persona."""

import sys
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

from rich.table import Table
from typer import Option

from prosopon.cli.console import error, note, out, print_json, say, say_pieces, status
from prosopon.cli.loading import load
from prosopon.cli.masks import choose_model, find_mask, load_masks
from prosopon.cli.options import MASK, Json, ModelPlace, OwnModel, Seed
from prosopon.cli.talk import HELP, Talk, complete
from prosopon.errors import OptionError, ProsoponError

if TYPE_CHECKING:
    from prosopon.runtime import PersonaModel


def chat(
    persona: Annotated[
        list[str] | None, Option("--persona", "-p", help=f"{MASK} May be repeated.")
    ] = None,
    message: Annotated[
        list[str] | None, Option(help="Say this instead of asking at the terminal; repeatable.")
    ] = None,
    prompt: Annotated[
        str | None, Option(help="Go on from this plain text instead; - reads stdin.")
    ] = None,
    model: OwnModel = None,
    system: Annotated[str | None, Option(help="A system line.")] = None,
    gamma: Annotated[float, Option(help="Soft gate: 0 is the whole mask, 1 the base model.")] = 0.0,
    strength: Annotated[
        float, Option(help="Share of the ranking: 1 is the whole mask, 0 none.")
    ] = 1.0,
    temperature: Annotated[float, Option(min=0.0, help="0 is greedy.")] = 1.0,
    max_new_tokens: Annotated[int, Option(min=1, help="Longest answer.")] = 128,
    seed: Seed = 0,
    as_json: Json = False,
    *,
    place: ModelPlace,
) -> None:
    """Chat with a model, bare or wearing a persona."""
    if as_json and not message and prompt is None:
        raise OptionError("--json needs --message or --prompt: a talk at the terminal is not JSON")
    if message and prompt is not None:
        raise OptionError("give either --message, which is answered, or --prompt, which is gone on")
    sources = list(map(find_mask, persona or ()))
    name = choose_model(model, sources)
    from prosopon.runtime import PersonaModel
    from prosopon.runtime.conversation import NO_TEMPLATE, has_turns

    with status(f"loading {name}"):
        masks = load_masks(sources)
        loaded = load(name, place)
        wearer = PersonaModel(loaded.model, loaded.tokenizer)
        names = [wearer.load_persona(mask, title) for title, mask in masks.items()]
    talk = Talk(wearer, system, gamma, strength, temperature, max_new_tokens, seed)
    with wearer:
        talk.wear(names[0] if names else None, strength)
        if prompt is not None:
            _continue(talk, sys.stdin.read() if prompt == "-" else prompt, as_json)
            return
        if not has_turns(wearer.tokenizer):
            note(NO_TEMPLATE)
        if message:
            _answer(talk, message, as_json)
        else:
            note(f"personas: {', '.join(wearer.personas) or 'none loaded'}. {HELP}")
            run_terminal(talk)


def _continue(talk: Talk, text: str, as_json: bool) -> None:
    from prosopon.lm.generation import continue_texts

    (rest,) = continue_texts(
        talk.wearer.model, talk.wearer.tokenizer, [text], temperature=talk.temperature,
        max_new_tokens=talk.max_new_tokens, seed=talk.seed,
    )  # fmt: skip
    if as_json:
        print_json({"persona": talk.wearer.active, "prompt": text, "continuation": rest})
    else:
        say(rest)


def _answer(talk: Talk, texts: list[str], as_json: bool) -> None:
    if not as_json:
        for text in texts:
            say_pieces(talk.stream(text))
        return
    turns = [{"user": text, "assistant": talk.answer(text)} for text in texts]
    print_json({"persona": talk.wearer.active, "turns": turns})


def run_terminal(talk: Talk) -> None:
    """Ask at the terminal and answer until the input ends; Ctrl-C ends an answer alone."""
    _edit_lines(talk.wearer)
    for line in _lines(talk):
        try:
            if line.startswith("/"):
                if not talk.obey(line):
                    return
            elif talk.both and talk.wearer.active is not None:
                _show_both(talk, line)
            else:
                with closing(talk.stream(line)) as pieces:
                    say_pieces(pieces)
        except ProsoponError as problem:
            error(str(problem))
        except KeyboardInterrupt:
            note("stopped; Ctrl-D or /exit ends the talk")


def _lines(talk: Talk) -> Iterator[str]:
    """Yield what the user says; the prompt is for people alone."""
    while True:
        try:
            line = input(f"{talk.wearer.active or 'base'}> " if sys.stdin.isatty() else "")
        except EOFError:
            return
        except KeyboardInterrupt:
            out.print()
            continue
        if line.strip():
            yield line.strip()


def _show_both(talk: Talk, line: str) -> None:
    with status("answering"):
        answers = talk.answer_as_base(line), talk.answer(line)
    table = Table("base", talk.wearer.active or "base", expand=True)
    table.add_row(*answers)
    out.print(table)


def _edit_lines(wearer: "PersonaModel") -> None:
    """Let the terminal edit lines, remember them, and complete commands and names."""
    if not sys.stdin.isatty():
        return
    try:
        import readline
    except ImportError:  # not everywhere
        return

    def suggest(_: str, state: int) -> Any:
        lines = complete(readline.get_line_buffer(), wearer.personas)
        return lines[state] if state < len(lines) else None

    readline.set_completer_delims("")
    readline.set_completer(suggest)
    readline.parse_and_bind("tab: complete")
