"""Run a persona's adapter in llama.cpp and compare what it writes with the worn mask's.

python tools/run_llama.py write build/llama --personas introvert,extravert [--model smollm2 ...]
python tools/run_llama.py compare build/llama    # where llama-cpp-python is installed

``write`` makes masks of pattern lora:R, or reads them where a folder is named, and writes
base.gguf, an adapter a persona, and what prosopon says greedily under each at scales 0,
0.5 and 1 (gamma 1, 0.5 and 0). ``compare`` needs llama-cpp-python alone: one base file is
loaded, and every adapter is set at every scale.
"""

import argparse
import json
from pathlib import Path
from typing import Any

SCALES = (0.0, 0.5, 1.0)
QUESTIONS = (
    "What would you like to do on Friday afternoon?",
    "What do you like to do on a free evening?",
    "How do you feel about a big party?",
    "Tell me about a difficult decision you had to make.",
    "Describe a good day.",
    "How should a team settle a disagreement?",
    "What matters more to you, a plan or a surprise?",
    "Why is the sky blue?",
)
EXPECTED = "expected.json"


def write(options: argparse.Namespace) -> None:
    """Extract, export, and write down what prosopon says."""
    from prosopon import PersonaModel, load_model
    from prosopon.data import Message
    from prosopon.export import export_persona
    from prosopon.extraction import Extractor, resolve_contrast
    from prosopon.lm import generate_tokens, opening_tokens
    from prosopon.subnetwork import Subnetwork

    model, tokenizer, *_ = load_model(options.model, device="cpu")
    extractor = Extractor(model, tokenizer, name=options.model)
    prompts = [opening_tokens([Message("user", text)], tokenizer) for text in QUESTIONS]
    rows: list[dict[str, Any]] = []
    for number, name in enumerate(options.personas.split(",")):
        if Path(name).is_dir():
            mask = Subnetwork.from_pretrained(name)
        else:
            limit, criterion = options.examples, options.criterion
            mask = extractor.extract(
                *resolve_contrast(name, None, criterion=criterion, limit=limit),
                criterion=criterion, pattern=f"lora:{options.rank}",
                options=dict(entry.split("=", 1) for entry in options.option),
            )  # fmt: skip
        folder = options.folder / f"persona-{number}"
        report = export_persona(
            model, tokenizer, mask, format="gguf-lora", output=folder, force=True,
            options={"base": not number},
        )  # fmt: skip
        print(f"{name}: {mask.pruned} weights, {report['notes'][0]}", flush=True)
        wearer = PersonaModel(model, tokenizer)
        wearer.load_persona(mask, name="worn")
        for scale in SCALES:
            with wearer.persona("worn", gamma=1 - scale):
                written = generate_tokens(
                    model, tokenizer, prompts, temperature=0, max_new_tokens=options.tokens
                )
            rows += [
                {"persona": name, "folder": folder.name, "scale": scale, "prompt": prompt,
                 "question": text, "written": tokens, "text": tokenizer.decode(tokens)}
                for prompt, text, tokens in zip(prompts, QUESTIONS, written, strict=True)
            ]  # fmt: skip
        wearer.close()
    (options.folder / EXPECTED).write_text(json.dumps(rows))


def compare(options: argparse.Namespace) -> None:
    """Let llama.cpp write, and count what is the same."""
    import ctypes

    import llama_cpp

    rows = json.loads((options.folder / EXPECTED).read_text())
    base = options.base or options.folder / rows[0]["folder"] / "base.gguf"
    llama = llama_cpp.Llama(str(base), n_ctx=512, n_threads=1, n_threads_batch=1, verbose=False)
    adapters = {}
    for folder in dict.fromkeys(row["folder"] for row in rows):
        file = str(options.folder / folder / "adapter.gguf").encode()
        adapters[folder] = llama_cpp.llama_adapter_lora_init(llama._model.model, file)
        assert adapters[folder], f"{folder}: llama.cpp refuses the adapter"
    counts: dict[tuple[str, float], list[int]] = {}
    for row in rows:
        pointers = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(adapters[row["folder"]])
        scales = (ctypes.c_float * 1)(row["scale"])
        assert not llama_cpp.llama_set_adapters_lora(llama._ctx.ctx, pointers, 1, scales)
        llama.reset()
        tokens: list[int] = []
        for token in llama.generate(row["prompt"], temp=0.0, repeat_penalty=1.0):
            tokens.append(token)
            if len(tokens) == len(row["written"]):
                break
        same = tokens == row["written"]
        count = counts.setdefault((row["persona"], row["scale"]), [0, 0])
        count[0] += same
        count[1] += 1
        if not same:
            text = llama.detokenize(tokens).decode(errors="replace")
            print(
                f"{row['persona']} at {row['scale']:g}: {row['text']!r} became {text!r}", flush=True
            )
    for (persona, scale), (same, total) in counts.items():
        print(f"{persona} at scale {scale:g}: {same} of {total} texts equal")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("write", help="make the files, with prosopon")
    one.add_argument("folder", type=Path)
    one.add_argument("--model", default="embedded")
    one.add_argument("--personas", default="introvert,extravert")
    one.add_argument("--criterion", default="contrastive-kl")
    one.add_argument("--option", action="append", default=[], help="of the criterion, key=value")
    one.add_argument("--rank", type=int, default=32)
    one.add_argument("--examples", type=int, default=64)
    one.add_argument("--tokens", type=int, default=32)
    one.set_defaults(do=write)
    two = commands.add_parser("compare", help="run them, with llama-cpp-python")
    two.add_argument("folder", type=Path)
    two.add_argument("--base", type=Path, help="another file of the base model, quantised say")
    two.set_defaults(do=compare)
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
