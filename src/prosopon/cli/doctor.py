"""``prosopon doctor``: this machine, this installation, and what a job on a model will need."""

from typing import Annotated, Any

import typer
from rich.table import Table
from typer import Argument, Option

from prosopon.cli.console import note, out, print_json, say
from prosopon.cli.options import FEW, Json, ModelPlace, default_criterion, fast_rounds, key_values
from prosopon.progress import format_duration

WIDTH = 80
"""Columns of the tables at most."""


def doctor(
    command: Annotated[
        str | None,
        Argument(help="The command that is meant; exit code 1 where it lacks something."),
    ] = None,
    model: Annotated[
        str | None,
        Option(
            "--model", "-m", help="Plan for this model: memory, time, files. Nothing is loaded."
        ),
    ] = None,
    criterion: Annotated[
        str | None, Option("--criterion", "-c", help="Of the extraction; default extract's own.")
    ] = None,
    sparsity: Annotated[
        float | None, Option("--sparsity", "-s", help="Share of weights to prune.")
    ] = None,
    pattern: Annotated[str | None, Option(help="Selection pattern.")] = None,
    option: Annotated[
        list[str] | None, Option(help="An option of the criterion, key=value. May be repeated.")
    ] = None,
    examples: Annotated[
        int, Option("--examples", "-n", min=1, help="Examples of each side.")
    ] = 128,
    fast: Annotated[bool, Option("--fast", help="Plan extract --fast.")] = False,
    sequential: Annotated[
        bool, Option("--sequential", help="Plan an extraction layer by layer.")
    ] = False,
    rows: Annotated[int, Option(min=1, help="Answers that a server writes at once.")] = 8,
    length: Annotated[
        int | None, Option(min=1, help="Tokens of a served request with its answer.")
    ] = None,
    online: Annotated[
        bool, Option("--online", help="Ask the Hub whether it answers, and for a model's headers.")
    ] = False,
    quick: Annotated[
        bool, Option("--quick", help="Leave torch unloaded: no devices and no times.")
    ] = False,
    as_json: Json = False,
    *,
    place: ModelPlace,
) -> None:
    """Say what this machine has, what is missing for which command, and what a model will need."""
    from prosopon.doctor import Question, examine

    chosen = default_criterion(model or "", sparsity is None and not sequential)
    options, texts = key_values(option, criterion or chosen), None
    if fast:
        from prosopon.criteria import CRITERIA

        options = {"rounds": str(fast_rounds(CRITERIA.get(criterion or chosen))), **options}
        examples, texts = min(examples, FEW), FEW
    job: dict[str, Any] = {
        "criterion": criterion, "pattern": pattern, "examples": examples, "rows": rows,
        "sparsity": sparsity, "length": length, "sequential": sequential, "options": options,
        "texts": texts,
    }  # fmt: skip
    question = Question(
        command=command, model=model, revision=place.revision, device=place.device,
        dtype=place.dtype, device_map=place.device_map, job=job, online=online, quick=quick,
        default=chosen,
    )  # fmt: skip
    report = examine(question, note)
    print_json(report) if as_json else _show(report, command)
    if report["missing"]:
        raise typer.Exit(1)


def _show(report: dict[str, Any], command: str | None) -> None:
    _show_machine(report)
    _show_commands(report, command)
    if report["model"] is not None:
        _show_model(report["model"])
        for plan in report["plans"]:
            _show_plan(plan)
        if report["rate"] is not None:
            say("Times are estimates for this machine with nothing else running.", "dim")
    if report["missing"]:
        what = f"prosopon {command}" if command else "prosopon"
        say(f"missing for {what}:", "bold red")
        for line in report["missing"]:
            say(f"  {line}")
    else:
        say(f"nothing is missing for {f'prosopon {command}' if command else 'prosopon'}", "green")


def _table(*columns: str, title: str = "") -> Table:
    table = Table(*columns, title=title or None, title_justify="left", title_style="bold")
    table.show_header = bool(columns)
    table.width = min(WIDTH, out.width)
    return table


def _show_machine(report: dict[str, Any]) -> None:
    machine, torch = report["machine"], report["torch"]
    table = _facts()
    table.add_row("prosopon", f"{report['prosopon']}, Python {machine['python']}")
    table.add_row("machine", f"{machine['system']}, {machine['cores']} cores")
    table.add_row("memory", f"{_size(machine['memory'])}, {_size(machine['free'])} free")
    cards = [f"{g['name']}, {_size(g['memory'])}, {_size(g['free'])} free" for g in machine["gpus"]]
    table.add_row("graphics cards", "\n".join(cards) or "none")
    if torch is not None:
        table.add_row("torch", torch.get("problem") or _torch(torch, bool(cards)))
    for folder in report["folders"]:
        state = folder["problem"] or f"{_size(folder['free'])} free"
        table.add_row(folder["what"], f"{folder['path']}: {state}")
    hub = report["hub"]
    answer = (hub["problem"] or "answers") if hub["asked"] else "not asked (--online asks)"
    table.add_row("the Hub", answer)
    wrong = [p for p in report["packages"] if not p["is_right"]]
    good = f"{len(report['packages'])} of {len(report['packages'])} as needed"
    lines = [f"{p['name']} {p['installed'] or 'missing'}, wanted {p['wanted']}" for p in wrong]
    table.add_row("packages", "\n".join(lines) or good)
    out.print(table)


def _torch(torch: dict[str, Any], cards: bool) -> str:
    line = f"{torch['version']}, {', '.join(torch['devices'])}, {torch['threads']} threads"
    return f"{line}; it does not see the card" if cards and "cuda" not in torch["devices"] else line


def _facts() -> Table:
    table = _table()
    table.box, table.show_header = None, False
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    return table


def _show_commands(report: dict[str, Any], command: str | None) -> None:
    table = _table("command", "extra", "needed", "state")
    table.columns[3].ratio = 1
    for name, needs in report["commands"].items():
        if command not in (None, name):
            continue
        for need in needs:
            when = need["when"] or "always"
            state = "; ".join(need["faults"]) or "there"
            style = "" if not need["faults"] else ("red" if need["needed"] else "yellow")
            table.add_row(name, need["extra"], when, state, style=style)
        if not needs:
            table.add_row(name, "", "", "needs nothing more")
    out.print(table)


def _show_model(model: dict[str, Any]) -> None:
    table = _facts()
    stored = ", ".join(f"{_size(size)} {dtype}" for dtype, size in model["stored"].items())
    table.add_row("model", f"{model['name']} ({model['family']}, {model['layers']} layers)")
    table.add_row("parameters", f"{model['parameters']:,}, of them {model['weights_in_sites']:,} "
                  "that a mask may take")  # fmt: skip
    table.add_row("stored", stored)
    packed = f", packed ({model['quantised']})" if model["quantised"] else ""
    table.add_row("loaded", f"{_size(model['loaded'])} in {model['dtype']}{packed}")
    reads = f"reads {model['context']:,} tokens" if model["context"] else "states no longest text"
    table.add_row("tokens", f"{model['vocabulary']:,}; {reads}")
    out.print(table)
    sites = _table("matrix", "part", "how many", "weights")
    for kind in model["sites"]:
        sites.add_row(kind["kind"], kind["role"], f"{kind['count']:,}", f"{kind['weights']:,}")
    out.print(sites)


def _show_plan(plan: dict[str, Any]) -> None:
    table = _table("memory at the peak", "", title=f"{plan['command']}: {plan['title']}")
    table.columns[0].ratio, table.columns[1].justify = 1, "right"
    for part in plan["memory"]:
        table.add_row(part["what"], _size(part["bytes"]))
    table.add_section()
    table.add_row("together", _size(plan["peak"]), style="bold")
    if plan["files"]:
        table.add_section()
    for part in plan["files"]:
        table.add_row(f"on disk: {part['what']}", _size(part["bytes"]))
    out.print(table)
    if plan["seconds"]:
        least, most = map(format_duration, plan["seconds"])
        say(f"  takes {least} to {most}")
    for fit in plan["fits"]:
        state = "fits" if fit["is_enough"] else "DOES NOT FIT"
        there = "?" if fit["there"] is None else _size(fit["there"])
        line = f"  {state}: {fit['where']}, {_size(fit['needed'])} of {there} free"
        say(line, "" if fit["is_enough"] else "red")
        for advice in fit["advice"]:
            say(f"    {advice}")
    for line in plan["notes"]:
        say(f"  {line}")


def _size(number: int | None) -> str:
    """Return bytes for people."""
    if number is None:
        return "not known"
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} bytes"
