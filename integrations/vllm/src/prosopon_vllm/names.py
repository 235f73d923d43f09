"""What the name of a model in a request says."""

from pathlib import Path


def persona_source(base_model_name: str, lora_name: str) -> str | None:
    """Return what stands after the model's name, or None where the name is no persona's."""
    for base in (base_model_name, Path(base_model_name).name, "base"):
        if lora_name.startswith(f"{base}:") and len(lora_name) > len(base) + 1:
            return lora_name[len(base) + 1 :]
    return None
