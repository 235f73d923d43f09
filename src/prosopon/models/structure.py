"""Finding what can be cut out of a model whole: MLP channels and attention heads.

Which rows and columns belong together is decided by the names of the matrices within one module
and checked against their shapes; a module that holds anything more (a norm over all heads, a gate
of the heads) is refused, because cutting would change what that part computes. Refused, too, is
what is laid out in no known way: nothing is skipped in silence.

Units:

- ``channels``: one intermediate channel of an MLP. Its row in what goes up (gate and up
  projection, or fc1) and its column in what comes down (down projection, or fc2).
- ``heads``: one key-value head with all the query heads that read it. Without grouped queries
  that is one head; with them it is the smallest unit after which every key-value head still has
  the same number of query heads, which is what a model's config can say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from prosopon.errors import SiteError, UnknownNameError
from prosopon.models import names as name_rules
from prosopon.models.groups import COLUMNS, ROWS, Group, Part
from prosopon.models.sites import Site

if TYPE_CHECKING:
    from torch import Tensor, nn

Kind = Literal["channels", "heads"]
Sites = Mapping[str, Site]  # by leaf name, of one module


@dataclass(frozen=True)
class _Layout:
    """The matrices of one kind of MLP or attention, by leaf name."""

    up: tuple[str, ...]  # what the units are rows of
    down: str  # what the units are columns of
    # how one matrix of rows holds several: ``blocks`` one after another (GPT-2, Phi-3), ``heads``
    # head by head (GPT-NeoX)
    fused: Literal["", "blocks", "heads"] = ""
    # model types for which the order of the fused rows is known; empty means any
    families: tuple[str, ...] = ()

    @property
    def leaves(self) -> tuple[str, ...]:
        return *self.up, self.down


_MLPS = (
    _Layout(("gate_proj", "up_proj"), "down_proj"),  # Llama, Qwen, Gemma, Mistral, ...
    _Layout(("gate_up_proj",), "down_proj", "blocks", ("phi3",)),
    _Layout(("fc1",), "fc2"),  # OPT, Phi
    _Layout(("dense_h_to_4h",), "dense_4h_to_h"),  # GPT-NeoX
    _Layout(("c_fc",), "c_proj"),  # GPT-2, GPT-Neo
    _Layout(("fc_in",), "fc_out"),  # GPT-J
)
_ATTENTIONS = (
    _Layout(("q_proj", "k_proj", "v_proj"), "o_proj"),  # Llama, Qwen, Gemma, Mistral, ...
    _Layout(("q_proj", "k_proj", "v_proj"), "out_proj"),  # OPT, GPT-Neo, GPT-J
    _Layout(("q_proj", "k_proj", "v_proj"), "dense"),  # Phi
    _Layout(("qkv_proj",), "o_proj", "blocks", ("phi3",)),
    _Layout(("c_attn",), "c_proj", "blocks", ("gpt2",)),
    _Layout(("query_key_value",), "dense", "heads", ("gpt_neox",)),
)
# Norms inside the attention that see one head at a time, if they are as wide as a head.
_HEAD_NORMS = frozenset({"q_norm", "k_norm", "q_layernorm", "k_layernorm"})
_CHANNEL_FIELDS = ("intermediate_size", "ffn_dim", "n_inner")


def find_groups(model: nn.Module, sites: Sequence[Site], kind: str) -> list[Group]:
    """Return the units of one kind in every layer that ``sites`` touch.

    Args:
        model: The model that the sites are of.
        sites: The sites in use. Those of the other part of a layer (attention for ``channels``,
            MLP for ``heads``) are in no group.
        kind: ``"channels"`` or ``"heads"``.

    Returns:
        One group for every MLP (every expert is one) or attention, in module order.

    Raises:
        UnknownNameError: No such kind.
        SiteError: An MLP or attention is laid out in a way that is not known, its shapes do not
            fit, a part of it is not among the sites, or there is none at all.
    """
    builders: dict[str, tuple[name_rules.Role, tuple[_Layout, ...], _Builder]] = {
        "channels": ("mlp", _MLPS, _channels),
        "heads": ("attention", _ATTENTIONS, _heads),
    }
    if kind not in builders:
        raise UnknownNameError("structure", kind, builders)
    role, layouts, build = builders[kind]
    modules: dict[str, dict[str, Site]] = {}
    for site in sites:
        if site.role == role:
            parent, _, leaf = site.name.rpartition(".")
            if site.expert is not None:
                owner, _, leaf = parent.rpartition(".")
                parent = f"{owner}.{site.expert}"
            modules.setdefault(parent, {})[leaf] = site
    if not modules:
        raise SiteError(
            f"there are no {kind} to choose from: none of the {len(sites)} sites belongs to "
            f"{'an MLP' if role == 'mlp' else 'attention'}; widen --targets or --ignore less"
        )
    groups = []
    for parent, linears in modules.items():
        first = next(iter(linears.values()))
        if first.expert is not None:
            groups.append(_expert_channels(parent, linears, first.module.experts))
            continue
        layout = _layout(model, parent, linears, kind, layouts)
        groups.append(build(model, parent, linears, layout))
    return groups


_Builder = Callable[["nn.Module", str, Sites, _Layout], Group]


def _layout(
    model: nn.Module, parent: str, linears: Sites, kind: str, layouts: Iterable[_Layout]
) -> _Layout:
    """Return the layout of one module, whole and among the sites."""
    module, family = model.get_submodule(parent), _config(model, "model_type")
    fitting = [
        layout
        for layout in layouts
        if set(linears) <= set(layout.leaves)
        and all(hasattr(module, leaf) for leaf in layout.leaves)
        and (not layout.families or family in layout.families)
    ]
    if not fitting:
        raise SiteError(
            f"the {kind} of {parent!r} ({', '.join(linears)}; model type {family!r}) are laid out "
            f"in a way that is not known; leave it out with --ignore '{parent}.*', or use a "
            "pattern of single weights (row, site, global, n:m)"
        )
    layout = fitting[0]
    for leaf in layout.leaves:
        if leaf not in linears:
            raise SiteError(
                f"{kind} of {parent!r} need the site '{parent}.{leaf}', which --targets or "
                "--ignore leave out; take it in, or leave out all of the module"
            )
    return layout


def _channels(model: nn.Module, parent: str, sites: Sites, layout: _Layout) -> Group:
    """Build the group of one MLP."""
    down = sites[layout.down]
    units = torch.arange(down.in_features).unsqueeze(1)
    stacked = 2 if layout.fused else 1
    for leaf in layout.up:
        _check_shape(sites[leaf], stacked * down.in_features, down)
    _refuse_strangers(model, parent, layout.leaves, {})
    rows = torch.cat([units + copy * down.in_features for copy in range(stacked)], dim=1)
    parts = [Part(sites[leaf].name, ROWS, rows) for leaf in layout.up]
    field = next((name for name in _CHANNEL_FIELDS if _has(model, name)), None)
    parts.append(Part(down.name, COLUMNS, units))
    return Group("channels", parent, tuple(parts), down.layer, {field: 1} if field else {})


def _expert_channels(parent: str, sites: Sites, experts: Any) -> Group:
    """Build the group of one expert of a fused parameter."""
    up = "gate_up_proj" if experts.has_gate else "up_proj"
    for leaf in (up, "down_proj"):
        if leaf not in sites:
            raise SiteError(
                f"channels of expert {parent!r} need its {leaf}, which --targets or --ignore leave "
                "out; take it in, or leave out all of the expert"
            )
    down = sites["down_proj"]
    rows = units = torch.arange(down.in_features).unsqueeze(1)
    if experts.has_gate:  # gates, then what they open; or one of each in turn
        side_by_side = torch.cat([units, units + down.in_features], dim=1)
        rows = side_by_side if experts.is_concatenated else units * 2 + torch.arange(2)
    parts = Part(sites[up].name, ROWS, rows), Part(down.name, COLUMNS, units)
    return Group("channels", parent, parts, down.layer)


def _heads(model: nn.Module, parent: str, sites: Sites, layout: _Layout) -> Group:
    """Build the group of one attention."""
    down = sites[layout.down]
    width = _head_width(model, parent, down)
    heads = down.in_features // width
    if layout.fused:
        shared = _fused_kv_heads(sites[layout.up[0]], heads, width, down)
    else:
        shared = sites[layout.up[1]].out_features // width
        for leaf, count in zip(layout.up, (heads, shared, shared), strict=True):
            _check_shape(sites[leaf], count * width, down)
    declared = _config(model, "num_attention_heads")
    if not shared or heads % shared or (declared is not None and declared != heads):
        raise SiteError(
            f"attention {parent!r}: {heads} query heads of {width} and {shared} key-value heads "
            f"do not fit together (the config says {declared} heads), so its heads cannot be "
            f"told apart; leave it out with --ignore '{parent}.*'"
        )
    _refuse_strangers(model, parent, layout.leaves, dict.fromkeys(_HEAD_NORMS, width))
    ratio = heads // shared
    query, single = _blocks(shared, ratio * width), _blocks(shared, width)
    rows: Sequence[Tensor] = (query, single, single)
    if layout.fused == "blocks":
        key = single + heads * width
        rows = (torch.cat([query, key, key + shared * width], dim=1),)
    elif layout.fused == "heads":
        rows = (_blocks(heads, 3 * width),)
    parts = [Part(sites[leaf].name, ROWS, row) for leaf, row in zip(layout.up, rows, strict=True)]
    parts.append(Part(down.name, COLUMNS, query))
    fields = {"num_attention_heads": ratio, "num_key_value_heads": 1}
    shrinks = {name: step for name, step in fields.items() if _has(model, name)}
    return Group("heads", parent, tuple(parts), down.layer, shrinks)


def _blocks(units: int, width: int) -> Tensor:
    """Return [units, width]: consecutive indices, ``width`` of them for every unit."""
    return torch.arange(units * width).view(units, width)


def _head_width(model: nn.Module, parent: str, down: Site) -> int:
    """Return the width of a head: as the module says, as the config says, or by division."""
    module = model.get_submodule(parent)
    heads = _config(model, "num_attention_heads")
    candidates = (
        getattr(module, "head_dim", None),
        getattr(module, "head_size", None),
        _config(model, "head_dim"),
        down.in_features // heads if heads else None,
    )
    width = next((one for one in candidates if isinstance(one, int) and one > 0), None)
    if width is None or down.in_features % width:
        raise SiteError(
            f"attention {parent!r}: neither the module nor the config says how wide a head of "
            f"its {down.in_features} channels is (found {width}), so its heads cannot be told "
            f"apart; leave it out with --ignore '{parent}.*'"
        )
    return width


def _fused_kv_heads(site: Site, heads: int, width: int, down: Site) -> int:
    """Return how many key-value heads a fused matrix of queries, keys and values holds."""
    rest = site.out_features - heads * width
    shared = rest // (2 * width)
    _check_shape(site, (heads + 2 * shared) * width, down)
    return shared


def _check_shape(site: Site, rows: int, down: Site) -> None:
    if site.out_features != rows:
        raise SiteError(
            f"site {site.name!r} has {site.out_features} outputs where {rows} would belong to the "
            f"{down.in_features} inputs of {down.name!r}, so the two cannot be cut together; "
            "leave both out with --ignore"
        )


def _refuse_strangers(
    model: nn.Module, parent: str, leaves: Sequence[str], allowed: Mapping[str, int]
) -> None:
    """Refuse parameters that a cut would have to take into account and that nobody here knows."""
    # An MLP straight in its decoder layer (OPT's) has the layer's other parts beside it.
    if parent.rpartition(".")[2].isdecimal():
        return
    for name, parameter in model.get_submodule(parent).named_parameters():
        owner = name.partition(".")[0]
        if owner in leaves or allowed.get(owner) == parameter.numel():
            continue
        raise SiteError(
            f"{parent!r} holds {name!r} ({list(parameter.shape)}) besides {', '.join(leaves)}, "
            "so what it would compute without some of its units is not known; leave it out with "
            f"--ignore '{parent}.*'"
        )


def _config(model: nn.Module, name: str) -> Any:
    return getattr(getattr(model, "config", None), name, None)


def _has(model: nn.Module, name: str) -> bool:
    return hasattr(getattr(model, "config", None), name)
