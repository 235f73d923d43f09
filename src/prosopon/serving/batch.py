"""A batch: rows of one voice, or of several at once, written together to their ends.

Rows of one voice wear it in the weights; rows of several are a mixed batch
(:mod:`prosopon.runtime.mixed`), and rows that have ended leave. Where the rows beside a row could
decide a draw by rounding, the row is read again: alone, without a cache, its voice worn in the
weights. So what a row gets is what it gets alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch

from prosopon.lm.forward import past_of
from prosopon.lm.streaming import end_tokens
from prosopon.runtime.activation import Since
from prosopon.serving.refusal import Refusal
from prosopon.serving.row import AnswerRow, DrawSettings
from prosopon.serving.sampling import rounding_error
from prosopon.serving.voice import Voice

if TYPE_CHECKING:
    from torch import Tensor

    from prosopon.runtime import PersonaModel


class RowBatch:
    """Writes rows.

    Args:
        wearer: The model with its personas; it wears none.
        rows: The rows, whose voices are loaded, and mix where they differ.
        crowded: Whether other batches may have other numbers of rows. If none has more than one,
            every row is alone, and no draw is in doubt.
    """

    def __init__(
        self, wearer: PersonaModel, rows: Sequence[AnswerRow], crowded: bool = True
    ) -> None:
        self.wearer, self.rows, self.crowded = wearer, list(rows), crowded
        self.redrawn = 0  # draws that were made from the row alone
        self._model: Any = wearer.model
        self._accepted = inspect.signature(self._model.forward).parameters
        self._ends = end_tokens(self._model, wearer.tokenizer)
        self._dtype = next(self._model.parameters()).dtype
        self._device = next(self._model.parameters()).device
        self._clothes = ExitStack()
        self._past: dict[str, Any] = {}
        self._mask = torch.zeros(0, 0)
        self._begin = 0  # column of the prompts' last tokens

    @torch.no_grad()
    def run(self, watch: Callable[[], None] = lambda: None) -> None:
        """Write all rows to their ends; ``watch`` is called after every step.

        Afterwards, also after an exception, the base is worn.
        """
        try:
            for row in self.rows:
                row.open(self.wearer.tokenizer)
            self._dress()
            while self.rows:
                self._step()
                watch()
                self._leave()
        finally:
            self._undress()

    def _step(self) -> None:
        for row, own in self._read():
            if bool(own.isnan().any()):
                row.fail(Refusal(500, "the model's scores overflow or are NaN", "failure"))
                continue
            error = rounding_error(own, self._dtype) if self.crowded else 0.0
            token = row.sampler.draw(own, error)
            if token is None:
                own = self._alone(row)
                token = row.sampler.draw(own, 0.0)
                self.redrawn += 1
            assert token is not None
            row.take(token, own, self._ends)

    def _read(self) -> Iterator[tuple[AnswerRow, Tensor]]:
        """Yield rows with the scores of their next token, float64 [vocabulary]."""
        return zip(self.rows, self._forward(), strict=True)

    def _forward(self) -> Tensor:
        """Return the scores of every row's next token: float64 [rows, vocabulary]."""
        if not self._past:
            rows = [row.tokens for row in self.rows]
            width = max(map(len, rows))
            ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
            mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        else:
            ids = torch.tensor([row.written[-1:] for row in self.rows])
            mask = torch.cat([self._mask, torch.ones(len(ids), 1, dtype=torch.long)], 1)
        self._mask = mask
        scores, self._past = self._call(ids, mask, self._past)
        return scores

    def _alone(self, row: AnswerRow) -> Tensor:
        """Return the scores of a row that nothing stands beside: float64 [vocabulary]."""
        ids = torch.tensor([row.tokens])
        if not self._is_mixed():
            return self._call(ids, torch.ones_like(ids), {})[0][0]
        self._undress()
        try:
            with self._wearing([row], len(row.prompt) - 1):
                return self._call(ids, torch.ones_like(ids), {})[0][0]
        finally:
            self._dress()

    def _call(
        self, ids: Tensor, mask: Tensor, past: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Any]]:
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        possible = {"position_ids": positions.to(self._device), "logits_to_keep": 1}
        extra = {name: possible[name] for name in possible if name in self._accepted}
        output = self._model(
            ids.to(self._device),
            attention_mask=mask.to(self._device),
            use_cache=True,
            **past,
            **extra,
        )
        scores = output.logits[:, -1].to("cpu", torch.float64)
        return scores, past_of(output)

    def _leave(self) -> None:
        """Let go of the rows that have ended."""
        staying = [place for place, row in enumerate(self.rows) if row.check()]
        if len(staying) == len(self.rows):
            return
        mixed = self._is_mixed()
        self.rows = [self.rows[place] for place in staying]
        if self.rows and self._past:
            self._mask = self._mask[staying]
            try:
                (cache,) = self._past.values()
                cache.batch_select_indices(torch.tensor(staying, device=self._device))
            except AttributeError:  # a family's own cache: read everything again
                self._past = {}
        if mixed:
            self._undress()
            self._dress()

    def _is_mixed(self) -> bool:
        return _mixes(self.rows)

    def _dress(self) -> None:
        if not self.rows:
            return
        if not self._past:  # all is read, from the padding on
            self._begin = max(len(row.tokens) - len(row.written) for row in self.rows) - 1
        self._clothes.enter_context(self._wearing(self.rows, self._begin))

    @contextmanager
    def _wearing(self, rows: Sequence[AnswerRow], begin: int) -> Iterator[None]:
        """Let rows wear their voices; the last tokens of their prompts are in column ``begin``."""
        if _mixes(rows):
            voices = [row.voice for row in rows]
            since: list[Since] = [
                "prompt" if voice.names and not voice.is_activated else begin for voice in voices
            ]
            with self.wearer.mixed([voice.wearable() for voice in voices], activate=since):
                yield
            return
        try:
            rows[0].voice.wear(self.wearer)
            yield
        finally:
            self.wearer.disable()

    def _undress(self) -> None:
        self._clothes.close()


def _mixes(rows: Sequence[AnswerRow]) -> bool:
    """Tell whether rows wear their voices by the correction, and not in the weights."""
    return len({row.voice for row in rows}) > 1 or any(row.voice.is_activated for row in rows)


@torch.no_grad()
def measure_rounding(wearer: PersonaModel) -> float:
    """Return how much of the error that draws allow for rounding takes up, here and now.

    Random rows of the base are read together and alone, on the model's own device.
    """
    model: Any = wearer.model
    size = len(model.get_input_embeddings().weight)
    draws = torch.Generator().manual_seed(0)
    prompts = [
        torch.randint(size, (length,), generator=draws).tolist() for length in (3, 8, 17, 32)
    ]
    rows = [AnswerRow(Voice(), prompt, DrawSettings(), lambda piece: None) for prompt in prompts]
    batch = RowBatch(wearer, rows)
    together = batch._forward()
    shares = []
    for row, scores in zip(rows, together, strict=True):
        alone = batch._alone(row)
        error = float((scores - alone)[alone.isfinite()].abs().max())
        shares.append(error / rounding_error(alone, batch._dtype))
    return max(shares)
