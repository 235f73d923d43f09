"""What it costs to wear a persona for its answers alone, and what that saves in a conversation.

python tools/activated.py PERSONAS [--answers 120] [--items 100] [--turns 16] [--out FILE]

PERSONAS is a folder with masks of the embedded model, one folder a persona. For each of them,
worn whole and worn from the prompt's last token on: how many free answers the grammar gives to
it, and by how much its own answer is likelier than its opposite's. Then all of them take turns in
one conversation: how many tokens are read before the first token of an answer, and how many
seconds of one processor that takes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple

import torch

from prosopon.data import Message, bundled, encode_all
from prosopon.data.grammar.exam import choice_items, free_prompts
from prosopon.evaluation import free_text
from prosopon.files import write_json
from prosopon.lm import generate_answers, opening_tokens, row_log_likelihoods
from prosopon.lm.choice import win_margin, win_rate
from prosopon.lm.forward import past_of
from prosopon.lm.generation import decode
from prosopon.lm.streaming import end_tokens
from prosopon.models import load_model
from prosopon.runtime import PersonaModel
from prosopon.runtime.scoring import activated_log_likelihoods

FORMAT_VERSION = 1
WAYS = ("whole", "own caches", "answer")
"""The mask from the first token on, all read anew; the same with a cache for every persona; and
the mask for the answer alone, with one cache of the base for all."""


def measure_effect(wearer: PersonaModel, name: str, answers: int, items: int) -> dict[str, Any]:
    """Return the share of free answers and the choice margin of the base and both ways."""
    model, tokenizer, other = wearer.model, wearer.tokenizer, bundled.opposite(name)
    prompts, choices = free_prompts(name, answers), choice_items(name, items)
    turns = [(*item.prompt, Message("assistant", item.matching)) for item in choices]
    turns += [(*item.prompt, Message("assistant", item.not_matching)) for item in choices]
    texts = encode_all(turns, tokenizer)

    def told(scores: Sequence[tuple[float, int]]) -> dict[str, float]:
        shares = free_text(generate_answers(model, tokenizer, prompts), name, other)
        means = [total / count for total, count in scores]
        pairs = list(zip(means[: len(choices)], means[len(choices) :], strict=True))
        margin = fmean(win_margin(pair) for pair in pairs)
        return shares.__dict__ | {"margin": margin, "choices": win_rate(pairs)}

    result: dict[str, Any] = {"base": told(row_log_likelihoods(model, texts, every=False))}
    with wearer.persona(name):
        result["prompt"] = told(row_log_likelihoods(model, texts, every=False))
    scores = activated_log_likelihoods(wearer, [name] * len(texts), texts)
    with wearer.mixed([name], copies=None, activate="answer"):
        result["answer"] = told(scores)
    return result


class Turn(NamedTuple):
    """What the first token of a turn cost."""

    prompt: int  # tokens
    read: int  # of them, not from a cache
    seconds: float  # of one processor, the change of persona included


def take_turns(
    wearer: PersonaModel, names: Sequence[str], way: str, turns: int, length: int = 16
) -> tuple[list[Turn], list[str]]:
    """Let personas answer one after another in one conversation; return the turns and answers.

    Args:
        wearer: The model, with the personas loaded.
        names: Who takes turns.
        way: One of :data:`WAYS`.
        turns: How many answers.
        length: Longest answer, in tokens.
    """
    model: Any = wearer.model
    talk: list[Message] = []
    caches: dict[str, tuple[list[int], dict[str, Any]]] = {}
    seen, answers = list[Turn](), list[str]()
    for number in range(turns):
        name = names[number % len(names)]
        talk.append(free_prompts(name, turns)[number][-1])
        prompt = opening_tokens(talk, wearer.tokenizer)
        owner = {"whole": "", "own caches": name, "answer": "base"}[way]
        before, past = caches.pop(owner, ([], {}))
        shared = min(_common(before, prompt), len(prompt) - 1)
        for cache in past.values():
            cache.crop(shared - cache.get_seq_length()) if shared < cache.get_seq_length() else None
        begin = time.process_time()
        worn = wearer.mixed([name], activate="answer") if way == "answer" else wearer.persona(name)
        with worn, torch.no_grad():
            ids = torch.tensor([prompt[shared:]])
            output = model(ids, use_cache=True, logits_to_keep=1, **past)
            token = int(output.logits[0, -1].argmax())
            seen.append(Turn(len(prompt), len(prompt) - shared, time.process_time() - begin))
            written, past = [token], past_of(output)
            while token not in end_tokens(model, wearer.tokenizer) and len(written) < length:
                ids = torch.tensor([[token]])
                output = model(ids, use_cache=True, **past)
                token = int(output.logits[0, -1].argmax())
                written.append(token)
        # Of the answer's own keys and values the base can use none, nor of the prompt's last token.
        kept = prompt[:-1] if way == "answer" else [*prompt, *written[:-1]]
        if way != "whole":
            (cache,) = past.values()
            if (extra := cache.get_seq_length() - len(kept)) > 0:
                cache.crop(-extra)
            caches[owner] = kept, past
        answers.append(decode([written], wearer.tokenizer)[0])
        talk.append(Message("assistant", answers[-1]))
    return seen, answers


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def summarise(turns: Sequence[Turn]) -> dict[str, float]:
    """Return the figures of a conversation."""
    prompt, read = sum(turn.prompt for turn in turns), sum(turn.read for turn in turns)
    return {
        "prompt_tokens": prompt,
        "read_tokens": read,
        "hit_rate": 1 - read / prompt,
        "median_seconds": median(turn.seconds for turn in turns),
        "last_seconds": fmean(turn.seconds for turn in turns[-4:]),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("personas", type=Path)
    parser.add_argument("--answers", type=int, default=120)
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--turns", type=int, default=16)
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args(arguments)
    model, tokenizer = load_model("embedded", device="cpu")[:2]
    with PersonaModel(model, tokenizer) as wearer:
        names = [
            wearer.load_persona(folder.parent)
            for folder in sorted(args.personas.glob("*/subnetwork_config.json"))
        ]
        record: dict[str, Any] = {"format_version": FORMAT_VERSION, "personas": {}}
        for name in names if args.answers else ():
            record["personas"][name] = measure_effect(wearer, name, args.answers, args.items)
            print(name, json.dumps(record["personas"][name]), flush=True)
        take_turns(wearer, names, "whole", 2)  # what is imported late is imported now
        talks = {way: take_turns(wearer, names, way, args.turns) for way in WAYS}
        record["conversation"] = {way: summarise(turns) for way, (turns, _) in talks.items()}
        record["same_answers"] = talks["whole"][1] == talks["own caches"][1]
    print(json.dumps(record["conversation"], indent=2), record["same_answers"])
    if args.out is not None:
        write_json(args.out, record)


if __name__ == "__main__":
    main()
