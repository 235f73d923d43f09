"""Several processes that make one mask: every rank reads its share, and sums are added up.

``torchrun`` starts them. In a process that joined nobody, all of this does nothing.

What decides is the same on all ranks: it is made from sums, which all ranks hold to the last bit,
or made by the first rank and handed to the others (:func:`agree`). So all ranks take the same
steps, and none waits for a sum that another one never gives.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from prosopon.errors import RankError

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

PATIENCE = timedelta(hours=6)
"""How long ranks wait for the slowest: the first may write general text meanwhile."""


@dataclass
class _Ranks:
    """This process among those of its run."""

    rank: int = 0
    size: int = 1
    store: Any = None  # what all of them can reach as long as torchrun lives


_here = _Ranks()


def is_launched() -> bool:
    """Tell whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


@contextmanager
def join() -> Iterator[None]:
    """Join the other processes of a run under torchrun; alone it does nothing.

    Raises:
        RankError: They cannot be reached.
    """
    if not is_launched():
        yield
        return
    import torch

    # This loads torch, before a part of it is imported: see prosopon.cli.postponed.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    with _or_lost():
        store, rank, size = next(rendezvous("env://", timeout=PATIENCE))
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    _here.rank, _here.size, _here.store = rank, size, store
    yield
    # After an error the process ends, and whether it speaks is still to be asked.
    _here.rank, _here.size, _here.store = 0, 1, None
    dist.destroy_process_group()


def local_rank() -> int:
    """Return this process's number on its machine."""
    return int(os.environ["LOCAL_RANK"]) if is_launched() else 0


def local_size() -> int:
    """Return how many processes of the run share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if _here.size > 1 else 1


def is_first() -> bool:
    """Tell whether this process writes and prints."""
    return _here.rank == 0


def may_complain() -> bool:
    """Tell whether an error of this process is the run's first, which alone is printed."""
    if _here.store is None:
        return True
    try:
        return bool(_here.store.add("prosopon/errors", 1) == 1)
    except RuntimeError:  # the run is over, so somebody else ended it
        return False


def share(items: Sequence[T]) -> Sequence[T]:
    """Return this rank's items: every one is one rank's."""
    return items[_here.rank :: _here.size]


def add_up(*tensors: Tensor) -> None:
    """Put the sum over all ranks into each tensor, in its own dtype."""
    if _here.size == 1:
        return
    import torch.distributed as dist

    with _or_lost():
        for tensor in tensors:
            dist.all_reduce(tensor)


def total(number: float) -> float:
    """Return the sum of a number over all ranks, in float64."""
    if _here.size == 1:
        return number
    import torch

    whole = torch.tensor([number], dtype=torch.float64)
    add_up(whole)
    return float(whole)


def wait() -> None:
    """Wait until every rank is here."""
    total(0.0)


def agree(make: Callable[[], T]) -> T:
    """Return what the first rank makes; the others get a copy of it."""
    if _here.size == 1:
        return make()
    import torch
    import torch.distributed as dist

    values = [make() if _here.rank == 0 else None]
    with _or_lost():
        dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
    return values[0]  # type: ignore[return-value]


def check_same(what: str, value: Callable[[], str]) -> None:
    """Raise a RankError, on all ranks, where a value differs between them."""
    if _here.size == 1:
        return
    import torch.distributed as dist

    values: list[Any] = [None] * _here.size
    with _or_lost():
        dist.all_gather_object(values, value())
    other = next((rank for rank, one in enumerate(values) if one != values[0]), None)
    if other is not None:
        raise RankError(
            f"rank {other} has another {what} than rank 0: every process needs the same files, "
            "versions and options"
        )


@contextmanager
def _or_lost() -> Iterator[None]:
    """Say in one line that another process has gone."""
    try:
        yield
    except RuntimeError as problem:
        raise RankError(
            "another process of this run has ended or cannot be reached; what it or torchrun "
            f"printed says why ({str(problem).splitlines()[0][:120]})"
        ) from problem
