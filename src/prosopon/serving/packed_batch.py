"""Rows of any voices that come and go, read together as one packed batch.

As :class:`~prosopon.serving.batch.RowBatch`, but rows join while others are written, and what was
read for a voice once is not read again for the same beginning of a prompt.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from prosopon.runtime.packed import look_digest, packed
from prosopon.serving.batch import RowBatch
from prosopon.serving.pages import Pages, Prefix, Reading
from prosopon.serving.row import AnswerRow, DrawSettings
from prosopon.serving.sampling import rounding_error
from prosopon.serving.voice import Voice

if TYPE_CHECKING:
    from torch import Tensor

    from prosopon.runtime import PersonaModel
    from prosopon.runtime.looks import Wearable


class PackedBatch(RowBatch):
    """Writes rows; those that have ended leave, and others may join at any time.

    Between two steps nothing is worn, and personas may be loaded; a persona may be unloaded when
    no row here wears it.

    Args:
        wearer: The model with its personas; it wears none.
        pages: Where keys and values are kept.
    """

    def __init__(self, wearer: PersonaModel, pages: Pages) -> None:
        super().__init__(wearer, [], crowded=True)
        self.pages = pages
        self._keys: dict[str, AnswerRow] = {}
        self._numbers = itertools.count()

    def fits(self, row: AnswerRow) -> bool:
        """Tell whether there is room for a row's keys and values."""
        return self.pages.fits(_most(row))

    def admit(self, rows: Sequence[AnswerRow]) -> None:
        """Let rows join that are not done and :meth:`fits`."""
        for row in rows:
            row.open(self.wearer.tokenizer)
            self.rows.append(row)
            self._add(row)

    @torch.no_grad()
    def step(self) -> None:
        """Write a token of every row, as far as their prompts are read; let go of what has ended.

        After an exception there are no rows, and the caller must end those that there were.
        """
        try:
            self._step()
            self._leave()
        except BaseException:
            self.clear()
            raise

    def clear(self) -> None:
        """Forget all rows, and all that was read."""
        self.rows.clear()
        self._keys.clear()
        self.pages.clear()

    def _add(self, row: AnswerRow) -> None:
        key = f"row-{next(self._numbers)}"
        self._keys[key] = row
        prefix = Prefix(None, None)
        if row.voice.is_activated:  # the base reads all but the last token of the prompt
            prefix = Prefix(None, len(row.prompt) - 1)
        elif row.voice.names:
            prefix = Prefix(look_digest(self.wearer, row.voice.wearable()), None)
        self.pages.add(key, row.tokens, _most(row), prefix)

    def _read(self) -> Iterator[tuple[AnswerRow, Tensor]]:
        """Read a step, and afterwards tell the pages what was drawn of it."""
        readings = self.pages.prepare()
        spans = [span for reading in readings for span in self._spans(reading)]
        with packed(self.wearer, spans):
            scores = self.pages.read()
        rows = [self._keys[reading.key] for reading in readings if reading.has_scores]
        own = scores[: len(rows)].to("cpu", torch.float64)
        if bool(own.isnan().any()):
            yield from self._read_apart(rows)
            return
        yield from zip(rows, own, strict=True)
        self.pages.take([0 if row.is_done else row.written[-1] for row in rows])

    def _read_apart(self, rows: list[AnswerRow]) -> Iterator[tuple[AnswerRow, Tensor]]:
        """Read every row alone: through a packed batch NaNs of one reach the others."""
        yield from ((row, self._alone(row)) for row in rows)
        going = [row for row in self.rows if not row.is_done]
        self.clear()
        self.rows += going
        for row in going:
            self._add(row)

    def _spans(self, reading: Reading) -> list[tuple[Wearable, int]]:
        row, length = self._keys[reading.key], reading.length
        if not row.voice.is_activated:
            return [(row.voice.wearable(), length)]
        bare = min(max(len(row.prompt) - 1 - reading.past, 0), length)
        return [(None, bare), (row.voice.wearable(), length - bare)]

    def _leave(self) -> None:
        ended = [key for key, row in self._keys.items() if not row.check()]
        for key in ended:
            self.pages.finish(key)
            del self._keys[key]
        self.rows = list(self._keys.values())

    def _is_mixed(self) -> bool:
        return True

    def _dress(self) -> None:
        pass  # every step does so itself

    @torch.no_grad()
    def measure(self, voices: Sequence[Voice], limit: int) -> float:
        """Return how much of the error that draws allow for rounding takes up, here and now.

        Random rows are read by all voices in turn, beside each other and alone: their prompts
        and the next token; then what begins as an earlier prompt, by the same voice and by
        another one. At most ``limit`` rows at once, as far as they fit.
        """
        size, shares = len(self._model.get_input_embeddings().weight), [0.0]
        draws = torch.Generator().manual_seed(0)

        def prompt(length: int) -> list[int]:
            return torch.randint(size, (length,), generator=draws).tolist()

        prompts = [prompt(length) for length in (3, 37, 8, 41, 17)]
        left = [_random_row(voices, number, tokens) for number, tokens in enumerate(prompts)]
        left += [_random_row(voices, number, prompts[1] + prompt(3)) for number in (1, 2)]
        while left:
            # The last two come when what they begin with was read.
            for row in left[: min(limit, max(1, len(left) - 2))]:
                left.remove(row)
                if self.fits(row):
                    self.admit([row])
            for _ in range(2 if self.rows else 0):
                for row, scores in self._read():
                    alone = self._alone(row)
                    error = float((scores - alone)[alone.isfinite()].abs().max())
                    shares.append(error / rounding_error(alone, self._dtype))
                    row.written.append(int(scores.argmax()))
            for row in self.rows:
                row.is_done = True
            self._leave()
        self.clear()
        self.pages.prompt_tokens = self.pages.shared = 0
        return max(shares, key=lambda share: (math.isnan(share), share))


def _random_row(voices: Sequence[Voice], number: int, prompt: list[int]) -> AnswerRow:
    quiet: Callable[[object], None] = lambda piece: None  # noqa: E731
    return AnswerRow(voices[number % len(voices)], prompt, DrawSettings(2), quiet)


def _most(row: AnswerRow) -> int:
    """Return how many tokens of a row are read at most."""
    return len(row.prompt) + row.settings.max_tokens
