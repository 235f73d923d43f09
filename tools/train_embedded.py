"""Train the embedded model: a tiny Llama on dialogue written by the grammar.

    python tools/train_embedded.py --out src/prosopon/embedded

Seeded; about half an hour on two CPU cores, minutes on a GPU. Writes ordinary Hugging Face files.
``tools/check_embedded.py`` measures what the model must hold and writes the model card's figures.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from prosopon.data.examples import Message
from prosopon.data.grammar import dialogues
from prosopon.files import write_json

PAD, BEGIN, END = "<|pad|>", "<|begin|>", "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "<|begin|>{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
VOCABULARY = 2048
CONTEXT = 512
# Steps and peak learning rate; the second phase starts the optimizer afresh.
PHASES = ((4600, 3e-3), (2400, 2e-3))
# What the user asks is learned too, but it is the assistant's words that matter.
PROMPT_WEIGHT = 0.2


def render(messages: tuple[Message, ...]) -> str:
    """Return a dialogue in the model's chat format (the same as the chat template)."""
    return BEGIN + "".join(f"<|{m.role}|>{m.content}{END}" for m in messages)


def train_tokenizer(seed: int) -> Tokenizer:
    """Train a byte-level BPE tokenizer on dialogues of the grammar."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, BEGIN, END, *ROLES],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (m.content for d in itertools.islice(dialogues(seed), 40_000) for m in d)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def wrap_tokenizer(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """Return the tokenizer as Hugging Face loads it, with the chat template."""
    begins = processors.TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, tokenizer.token_to_id(BEGIN))]
    )
    wrapped = Tokenizer.from_str(tokenizer.to_str())
    wrapped.post_processor = begins  # for plain text: the chat template writes its own
    fast = PreTrainedTokenizerFast(
        tokenizer_object=wrapped,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=list(ROLES),
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def build_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Return the untrained model: 2.2 million parameters, grouped-query attention."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=192,
        intermediate_size=576,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=3,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        rms_norm_eps=1e-5,
        dtype="float32",
    )
    return LlamaForCausalLM(config)


def batches(
    tokenizer: Tokenizer, seed: int, tokens: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (input ids [B, T], loss weights [B, T]) of similar length, for ever."""
    stream, rng = dialogues(seed), random.Random(seed)
    assistant, end = tokenizer.token_to_id("<|assistant|>"), tokenizer.token_to_id(END)
    while True:
        texts = [render(dialogue) for dialogue in itertools.islice(stream, 4096)]
        rows = sorted(
            (e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)), key=len
        )
        chunks: list[list[list[int]]] = []
        chunk: list[list[int]] = []
        for row in rows:
            if chunk and len(row) * (len(chunk) + 1) > tokens:
                chunks.append(chunk)
                chunk = []
            chunk.append(row)
        rng.shuffle(chunks)
        for chunk in chunks:
            yield _pad(chunk, assistant, end)


def _pad(
    rows: list[list[int]], assistant: int | None, end: int | None
) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(map(len, rows))
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    weights = torch.zeros(len(rows), width)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        inside = False
        for t, token in enumerate(row):
            weights[i, t] = 1.0 if inside else PROMPT_WEIGHT
            inside = token == assistant or (inside and token != end)
    weights[:, 0] = 0.0
    return ids, weights


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Return the rate of a linear warm-up followed by a cosine to a hundredth."""
    warm = min(200, steps // 10)
    if step < warm:
        return peak * (step + 1) / warm
    progress = (step - warm) / max(1, steps - warm)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def train(
    model: LlamaForCausalLM,
    tokenizer: Tokenizer,
    args: argparse.Namespace,
    phase: int,
) -> None:
    """Train one phase in place; prints the loss every hundred steps."""
    decay = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=PHASES[phase][1], betas=(0.9, 0.98), fused=True)
    model.train()
    start, seen, total = time.time(), 0, 0.0
    stream = batches(tokenizer, args.seed + 1 + phase, args.tokens)
    steps, peak = PHASES[phase]
    for step, (ids, weights) in enumerate(itertools.islice(stream, steps)):
        ids, weights = ids.to(args.device), weights.to(args.device)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, peak)
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="none"
        )
        weight = weights[:, 1:].flatten()
        loss = (loss * weight).sum() / weight.sum()
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seen, total = seen + ids.numel(), total + loss.item()
        if (step + 1) % 100 == 0:
            speed = seen / (time.time() - start)
            print(f"step {step + 1}/{steps}  loss {total / 100:.4f}  {speed:,.0f} tokens/s")
            total = 0.0
    model.eval()


def record(args: argparse.Namespace, seconds: int) -> dict[str, Any]:
    """Return what the model card says of the training."""
    return {
        "seed": args.seed,
        "phases": [{"steps": steps, "peak_learning_rate": peak} for steps, peak in PHASES],
        "tokens_a_step": args.tokens,
        "device": args.device,
        "cores": f"{os.cpu_count()} CPU cores",
        "seconds": seconds,
    }


def save(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path, told: dict[str, Any]
) -> None:
    """Write model, tokenizer and how they were trained; the record last, as the sign of success."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_json(folder / "training.json", told)


def main() -> None:
    """Parse, train, save; a phase that is done is not done again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokens", type=int, default=2048, help="tokens a step, padding included")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    tokenizer = train_tokenizer(args.seed)
    fast = wrap_tokenizer(tokenizer)
    model = build_model(fast).to(args.device)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters")
    seconds = 0
    for phase in range(len(PHASES)):
        folder = args.out / f"phase-{phase + 1}"
        if (folder / "training.json").is_file():
            seconds = json.loads((folder / "training.json").read_text())["seconds"]
            model = LlamaForCausalLM.from_pretrained(folder).to(args.device)
            print(f"phase {phase + 1}: done before, read from {folder}")
            continue
        began = time.time()
        train(model, tokenizer, args, phase)
        seconds += round(time.time() - began)
        final = phase == len(PHASES) - 1
        save(model, fast, args.out if final else folder, record(args, seconds))


if __name__ == "__main__":
    main()
