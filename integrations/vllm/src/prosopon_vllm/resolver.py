"""From the name of a model in a request to the folder of a LoRA adapter."""

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path

from vllm.logger import init_logger
from vllm.lora.request import LoRARequest
from vllm.lora.resolver import LoRAResolver

from prosopon.errors import ProsoponError
from prosopon.serving.shelf import HUB, Shelf
from prosopon.subnetwork import Subnetwork
from prosopon_vllm.names import persona_source

logger = init_logger("vllm.prosopon")


class PersonaResolver(LoRAResolver):
    """Finds personas in a folder, or on the Hub, and makes an adapter of each when asked first.

    Names are ``base:PERSONA``; before the colon the model may stand as vLLM calls it. After it
    stands a folder of the shelf, ``pack#name``, or ``hf:org/name`` where ``PROSOPON_HUB=1``.
    Adapters are kept beside the other caches of prosopon, by the mask's content, so that a server
    that starts again makes none anew.

    Args:
        folder: The personas, as ``prosopon extract`` wrote them.
        cache: Where adapters are kept; default ``PROSOPON_VLLM_CACHE``, or a folder of the user's
            cache.

    Raises:
        SubnetworkError: There is no such folder.
    """

    def __init__(self, folder: str | Path, cache: str | Path | None = None) -> None:
        self.shelf = Shelf(Path(folder))
        home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        place = cache or os.environ.get("PROSOPON_VLLM_CACHE") or f"{home}/prosopon/vllm"
        self.cache = Path(place).expanduser()
        self.hub = os.environ.get("PROSOPON_HUB") == "1"
        self.approximate = os.environ.get("PROSOPON_APPROXIMATE") == "1"

    async def resolve_lora(self, base_model_name: str, lora_name: str) -> LoRARequest | None:
        """Return the adapter of a persona, or None where there is none, which the log explains.

        vLLM answers None with a 404, so a mask of another model is refused like an unknown name.
        """
        source = persona_source(base_model_name, lora_name)
        if source is None:
            return None
        try:
            folder = await self._adapter(base_model_name, source)
        except ProsoponError as problem:
            logger.warning("persona %r is refused: %s", lora_name, problem)
            return None
        logger.info("persona %r is the adapter %s", lora_name, folder)
        return LoRARequest(lora_name=lora_name, lora_int_id=1, lora_path=str(folder))

    async def _adapter(self, base: str, source: str) -> Path:
        if source.startswith(HUB) and not self.hub:
            raise ProsoponError(f"{source}: personas of the Hub need PROSOPON_HUB=1")
        masks = await asyncio.to_thread(lambda: list(self.shelf.read(source)))
        if len(masks) > 1:
            names = ", ".join(f"{source}#{name}" for name, _ in masks)
            raise ProsoponError(f"{source}: holds {len(masks)} personas; name one: {names}")
        ((_, mask),) = masks
        folder = self.cache / f"{mask.config.persona}-{mask.content_hash()[:16]}"
        if not (folder / "prosopon.json").is_file():
            await _export(mask, base, folder)
        report = json.loads((folder / "prosopon.json").read_text("utf-8"))["export"]
        if not report["exact"] and not self.approximate:
            raise ProsoponError(
                f"the mask is no LoRA of rank {report['rank']}: it needs {report['rank_needed']}; "
                "make it with --pattern lora:R, or allow near ones with PROSOPON_APPROXIMATE=1"
            )
        return folder


async def _export(mask: Subnetwork, base: str, folder: Path) -> None:
    """Run ``prosopon export`` in a process of its own, which gives back the model's memory.

    Raises:
        ProsoponError: The export refused, for instance a mask of another model.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        await asyncio.to_thread(mask.save_pretrained, place)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "prosopon", "export", place, "--model", base, "--format", "lora",
            "--output", str(folder), "--force", "--quiet",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, said = await process.communicate()
    if process.returncode:
        raise ProsoponError(" ".join(said.decode("utf-8", "replace").split()) or "export failed")
