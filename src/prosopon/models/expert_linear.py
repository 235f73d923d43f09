"""One matrix of one fused expert, as a module. Apart, since importing it loads torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch

if TYPE_CHECKING:
    from torch import Tensor


class ExpertLinear(torch.nn.Module):
    """One matrix of one expert; it runs inside :func:`prosopon.models.experts.apart` alone.

    Args:
        experts: The module that holds the fused parameter.
        parameter: The parameter's name there.
        expert: Number of the expert.

    Attributes:
        experts: As given; not a submodule.
        expert: As given.
        routed: Of the call under way, or the last one: the tokens that came here, int64
            ascending, counted over rows and columns of the batch, and how many the batch has.
    """

    experts: Any

    def __init__(self, experts: torch.nn.Module, parameter: str, expert: int) -> None:
        super().__init__()
        vars(self)["experts"] = experts
        self.parameter, self.expert = parameter, expert
        self.routed: tuple[Tensor, int] = torch.zeros(0, dtype=torch.int64), 0
        self._view: list[torch.nn.Parameter] = []

    @property
    def transposed(self) -> bool:
        """Whether the matrix is stored as [in, out]."""
        return bool(self.experts.is_transposed)

    @property
    def slot(self) -> tuple[dict[str, torch.nn.Parameter], str]:
        """Where the fused parameter is kept: the module's table, and the name in it."""
        return self.experts._parameters, self.parameter

    @property
    def whole(self) -> torch.nn.Parameter:
        """The live fused parameter."""
        whole: torch.nn.Parameter = self.experts._parameters[self.parameter]
        return whole

    @property
    def weight(self) -> torch.nn.Parameter:
        """The expert's matrix as stored: a view, the same one while the model stays in place."""
        whole = self.whole
        start = whole.data_ptr() + self.expert * whole.stride(0) * whole.element_size()
        view = self._view[0] if self._view else None
        if view is None or view.data_ptr() != start or view.dtype != whole.dtype:
            fresh = torch.nn.Parameter(whole.detach()[self.expert], requires_grad=False)
            self._view[:] = [fresh]
            return fresh
        return view

    @property
    def bias(self) -> Tensor | None:
        """The expert's bias, if it has one."""
        if not self.experts.has_bias:
            return None
        return cast("Tensor", self.experts._parameters[f"{self.parameter}_bias"][self.expert])

    def forward(self, values: Tensor) -> Tensor:
        """Return what the expert makes of its tokens, [tokens, in] to [tokens, out]."""
        if not self.transposed:
            return torch.nn.functional.linear(values, self.weight, self.bias)
        if self.bias is None:
            return values @ self.weight
        return torch.addmm(self.bias, values, self.weight)
