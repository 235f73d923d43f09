"""A vLLM plugin: a model's name such as ``base:bold`` becomes the LoRA adapter of a persona.

vLLM calls :func:`register` in each of its processes. The folder of personas is named by the
environment variable ``PROSOPON_PERSONAS``; without it the plugin does nothing.
"""

import os


def register() -> None:
    """Register the resolver of personas with vLLM.

    Raises:
        ProsoponError: ``PROSOPON_PERSONAS`` names no folder of personas.
    """
    folder = os.environ.get("PROSOPON_PERSONAS")
    if not folder:
        return
    from vllm.lora.resolver import LoRAResolverRegistry

    from prosopon_vllm.resolver import PersonaResolver

    if "prosopon" not in LoRAResolverRegistry.get_supported_resolvers():
        LoRAResolverRegistry.register_resolver("prosopon", PersonaResolver(folder))
