"""transformers' continuous batching, and the few names of it that are used.

Keys and values lie in pages; a step reads the prompts of new rows beside the next token of the
others as one packed batch [1, tokens]. Pages, their sharing by prefix and the choice of what a
step reads are theirs. Ours: which prefixes may be shared, and the drawing of tokens.

Most of these names are private, so each is checked before it is used: what another version of
transformers changes is said by name, and the server falls back on static batches.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from prosopon.errors import ProsoponError
from prosopon.lm.context import context_length

if TYPE_CHECKING:
    from torch import Tensor

PAGE = 16
"""Tokens of a page: prefixes are shared by whole pages."""

STEP_TOKENS = 512
"""Most tokens that a step reads; longer prompts are read in several steps."""

FULL = 0.8
"""Share of the pages that rows may need at once; transformers keeps 15 percent free."""

_AT = "transformers.generation.continuous_batching."
NAMES: dict[str, tuple[str, ...]] = {
    "continuous_api.ContinuousMixin.init_continuous_batching":
        ("generation_config", "continuous_batching_config"),
    "continuous_api.ContinuousBatchingManager._create_batch_processor": (),
    "continuous_api.ContinuousBatchProcessor.prepare_next_batch": (),
    "continuous_api.ContinuousBatchProcessor._generation_step": ("model",),
    "continuous_api.ContinuousBatchProcessor.update_batch": (),
    "model_runner.ModelRunner._sample": ("scores", "output_ids"),
    "requests.RequestState": ("request_id", "initial_tokens", "max_new_tokens"),
    "scheduler.Scheduler.add_waiting_request": ("state",),
    "scheduler.Scheduler.finish_request": ("request_id",),
    "scheduler.Scheduler.reset": (),
    "cache.PagedAttentionCache.search_prefix_match": ("request_id", "prompt_ids"),
    "cache.PagedAttentionCache.evict_cached_blocks": (),
    "cache.PagedAttentionCache.compute_free_capacity": ("relative",),
    "cache.PagedAttentionCache.reset": (),
    "cache_allocators.CacheAllocator.match_prefix_blocks": ("prompt_ids",),
    "cache_allocators.CacheAllocator.mark_complete_blocks":
        ("request_id", "token_ids", "new_new_blocks"),
}  # fmt: skip
"""What is called, with the parameters that are given; and on objects that they make:"""

ATTRIBUTES = (
    "model_runner._sample", "scheduler.active_requests", "scheduler.waiting_requests",
    "inputs_and_outputs.requests_in_batch", "inputs_and_outputs.output_ids",
    "cache.cache_allocators", "cache.use_prefix_sharing",
)  # fmt: skip
ROW_ATTRIBUTES = ("query_length", "has_new_token", "state.request_id", "state.position_offset")


class EngineError(ProsoponError):
    """Continuous batching cannot be used here."""


def check_names() -> None:
    """Raise an EngineError that says which names this version of transformers lacks."""
    lacks = []
    for name, wanted in NAMES.items():
        module, *path = name.split(".")
        try:
            target: Any = import_module(_AT + module)
            for part in path:
                target = getattr(target, part)
            parameters = inspect.signature(target).parameters
        except (ImportError, AttributeError):
            lacks.append(name)
            continue
        lacks += [f"{name}({missing})" for missing in wanted if missing not in parameters]
    _refuse(lacks)


def _check_attributes(owner: Any, title: str, names: Sequence[str]) -> None:
    lacks = []
    for name in names:
        target = owner
        try:
            for part in name.split("."):
                target = getattr(target, part)
        except AttributeError:
            lacks.append(f"{title}.{name}")
    _refuse(lacks)


def _refuse(lacks: list[str]) -> None:
    if lacks:
        import transformers

        raise EngineError(
            f"transformers {transformers.__version__} has changed its continuous batching: it has "
            f"no {', '.join(lacks)}"
        )


def page_tokens(model: Any, rows: int) -> int:
    """Return for how many tokens there are pages: two contexts a row, but at most 1 GiB."""
    config = model.config.get_text_config()
    heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    wide = 2 * (getattr(config, "num_key_value_heads", None) or heads) * width
    most: int = (1 << 30) // (config.num_hidden_layers * wide * model.dtype.itemsize)
    tokens = min(most, 2 * rows * (context_length(model) or most))
    return max(PAGE, tokens // PAGE * PAGE)


class Prefix(NamedTuple):
    """Which tokens of a row others may share, and with whom."""

    digest: bytes | None  # 32 bytes that name who reads them; None for the base
    tokens: int | None  # the first ones, up to here; None for all


class Reading(NamedTuple):
    """What a step reads of a row."""

    key: str
    past: int  # tokens that were read before
    length: int
    has_scores: bool  # whether its last token is read, so that the next can be drawn


class Pages:
    """Reads packed rows with a model.

    Args:
        model: A causal LM of transformers.
        rows: Most rows at once.
        tokens: How many tokens the pages hold.

    Raises:
        EngineError: Continuous batching cannot be used with this model, or this transformers.
    """

    def __init__(self, model: Any, rows: int, tokens: int) -> None:
        check_names()
        attention = getattr(model.config, "_attn_implementation", None)
        if attention != "sdpa":
            raise EngineError(f"continuous batching needs attention sdpa, and this is {attention}")
        from transformers import ContinuousBatchingConfig, GenerationConfig

        self._model, self._prefixes = model, dict[str, Prefix]()
        self._vocabulary = len(model.get_input_embeddings().weight)
        self._needs: dict[str, int] = {}  # tokens of whole pages that a row will have
        self._reads: dict[str, int] = {}  # those that it has
        self.prompt_tokens = self.shared = 0  # tokens of prompts, and those that pages had already
        self._scores: Any = None
        self.tokens = tokens
        settings = ContinuousBatchingConfig(
            page_size=PAGE, num_blocks=-(-tokens // PAGE), max_batch_tokens=STEP_TOKENS,
            max_requests_per_batch=rows, max_blocks_per_request=0, use_cuda_graph=False,
            use_async_batching=False, auto_switch_to_flash=False,
        )  # fmt: skip
        greedy = GenerationConfig(do_sample=False, eos_token_id=-1)
        try:
            manager = model.init_continuous_batching(greedy, settings)
            self._engine = manager._create_batch_processor()
        except Exception as problem:  # of whatever kind: transformers does not take this model
            raise EngineError(f"transformers: {type(problem).__name__}: {problem}") from problem
        _check_attributes(self._engine, "ContinuousBatchProcessor", ATTRIBUTES)
        self._engine.model_runner._sample = self._keep_scores
        cache = self._engine.cache
        self.shares = bool(cache.use_prefix_sharing)
        self._search, cache.search_prefix_match = cache.search_prefix_match, self._match
        for allocator in cache.cache_allocators.values():
            mark = allocator.mark_complete_blocks
            allocator.mark_complete_blocks = self._marker(mark)

    def fits(self, tokens: int) -> bool:
        """Tell whether a row of so many tokens, written ones too, may join now."""
        return sum(self._needs.values()) + _whole(tokens) <= FULL * self.tokens

    def add(self, key: str, tokens: Sequence[int], most: int, prefix: Prefix) -> None:
        """Let a row join that :meth:`fits`; ``most`` are its tokens when it has ended."""
        from transformers.generation.continuous_batching.requests import RequestState

        self._prefixes[key], self._needs[key], self._reads[key] = prefix, _whole(most), 0
        cache, missing = self._engine.cache, sum(self._needs.values()) - sum(self._reads.values())
        if cache.compute_free_capacity(relative=True) * self.tokens < missing + PAGE:
            cache.evict_cached_blocks()
        state = RequestState(request_id=key, initial_tokens=list(tokens), max_new_tokens=None)
        self._engine.scheduler.add_waiting_request(state)

    def prepare(self) -> list[Reading]:
        """Choose what the next step reads, in the order of its tokens; nothing without rows."""
        if not self._engine.prepare_next_batch():
            return []
        batch = self._engine.inputs_and_outputs.requests_in_batch
        _check_attributes(batch[0], "FutureRequestState", ROW_ATTRIBUTES)
        for one in batch:
            self._reads[one.state.request_id] = _whole(one.state.position_offset)
        return [
            Reading(
                one.state.request_id, one.state.position_offset - one.query_length,
                one.query_length, one.has_new_token,
            )
            for one in batch
        ]  # fmt: skip

    def read(self) -> Tensor:
        """Read it; return the scores of the rows that have some: [rows, vocabulary]."""
        self._scores = None
        self._engine._generation_step(self._model)
        if self._scores is None:
            _refuse(["call of ModelRunner._sample"])
        scores: Tensor = self._scores[0]
        return scores

    def take(self, tokens: Sequence[int]) -> None:
        """Append the tokens that were drawn from those scores."""
        output = self._engine.inputs_and_outputs.output_ids
        output[0, : len(tokens)] = output.new_tensor(tokens)
        self._engine.update_batch()

    def finish(self, key: str) -> None:
        """Let a row go; its whole pages stay as long as there is room."""
        scheduler = self._engine.scheduler
        scheduler.finish_request(key)
        if scheduler.waiting_requests.pop(key, None) is not None:
            scheduler.waiting_requests_order.remove(key)
        del self._prefixes[key], self._needs[key], self._reads[key]

    def clear(self) -> None:
        """Forget all rows and pages."""
        self._engine.scheduler.reset()
        self._engine.cache.reset()
        for rows in (self._prefixes, self._needs, self._reads):
            rows.clear()

    def close(self) -> None:
        """Give the memory back."""
        self._engine = None

    def _keep_scores(self, scores: Tensor, output_ids: Tensor) -> None:
        self._scores = scores

    def _match(self, request_id: str, prompt_ids: list[int]) -> int:
        length: int = self._search(request_id, self._salted(request_id, prompt_ids, 1))
        self.prompt_tokens += len(prompt_ids)
        self.shared += length
        return length

    def _marker(self, mark: Callable[..., None]) -> Callable[..., None]:
        def mark_salted(request_id: str, token_ids: list[int], new_new_blocks: int) -> None:
            mark(request_id, self._salted(request_id, token_ids, 0), new_new_blocks)

        return mark_salted

    def _salted(self, key: str, tokens: list[int], more: int) -> list[int]:
        """Return what stands for a row's tokens where pages are named by their tokens.

        The first page, which all later names hang on, takes in the digits of the digest: so pages
        of the same text that different personas read have different names. ``more`` tokens stand
        after those that may be shared: transformers never shares a prompt's last one.
        """
        digest, count = self._prefixes[key]
        if count is not None:
            tokens = tokens[: count // PAGE * PAGE + more]
        if digest is None:
            return tokens
        size, most = self._vocabulary, 2**31 // self._vocabulary - 1
        digits = [int.from_bytes(digest[n : n + 2]) % most for n in range(0, 2 * PAGE, 2)]
        # No digit is 0, so that no persona's page is called as one of the base.
        salted = [t + size * (d + 1) for t, d in zip(tokens, digits, strict=False)]
        return salted + tokens[PAGE:]


def _whole(tokens: int) -> int:
    """Return tokens rounded up to pages."""
    return -(-tokens // PAGE) * PAGE
