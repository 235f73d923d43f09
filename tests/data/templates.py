"""Small chat templates, each with a habit that real ones have; and tokenizers that wear them."""

from __future__ import annotations

from typing import Any

from tests.tiny import tiny_tokenizer

_TURNS = (
    "{% for m in messages %}[{{ m['role'] }}]\n{{ m['content'] | trim }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]\n{% endif %}"
)
_REFUSE_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
)
_ALTERNATE = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate user/assistant') }}{% endif %}{% endfor %}"
)

TEMPLATES = {
    "plain turns": _TURNS,
    "refuses system": _REFUSE_SYSTEM + _ALTERNATE + _TURNS,
    "drops system": (
        "{% for m in messages if m['role'] != 'system' %}[{{ m['role'] }}]\n{{ m['content'] }}"
        "</s>{% endfor %}{% if add_generation_prompt %}[assistant]\n{% endif %}"
    ),
    "brackets": (
        "{% for m in messages %}{% if m['role'] == 'assistant' %} {{ m['content'] }} </s>"
        "{% else %}[INST] {{ m['content'] }} [/INST]{% endif %}{% endfor %}"
    ),
    "opens a thought": (
        "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</s>{% endfor %}"
        "{% if add_generation_prompt %}<assistant><think>\n{% endif %}"
    ),
    "empty thought": (
        "{% for m in messages %}<{{ m['role'] }}>"
        "{% if m['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
        "{{ m['content'] }}</s>\n{% endfor %}"
        "{% if add_generation_prompt %}<assistant>"
        "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n"
        "{% endif %}{% endif %}"
    ),
    "no generation prompt": (
        "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</{{ m['role'] }}>\n{% endfor %}"
    ),
    "default system": (
        "{% if messages[0]['role'] != 'system' %}[system]\nYou are Tiny.</s>\n{% endif %}" + _TURNS
    ),
}
"""Habit: template."""


def chatty(habit: str) -> Any:
    """Return a tokenizer with one of `TEMPLATES`."""
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = TEMPLATES[habit]
    return tokenizer
