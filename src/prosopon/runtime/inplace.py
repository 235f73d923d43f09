"""The in-place backend: writes the live weights, and only where two looks differ.

The way back: the originals of every weight that any loaded persona prunes are kept apart from
the moment the persona is loaded (:mod:`prosopon.runtime.originals`), and nothing else is ever
written. Before the first write of a switch the backend notes where it comes from and where it
goes, and before the first write into a site that it has reached this site. So at every moment,
also in the middle of a switch, writing the originals of both looks back gives the base bit for
bit, and doing it twice does no harm. A compensated persona writes every weight of its sites, so
its originals are copied whole, and it is entered and left by way of the base.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from prosopon.models import Site
from prosopon.runtime.backends import BACKENDS
from prosopon.runtime.cache import LookCache
from prosopon.runtime.compensation import Replacement
from prosopon.runtime.gates import Gating, Mask, apply_gates, compare, gating_of
from prosopon.runtime.homes import Home, Step, equal, write
from prosopon.runtime.looks import BASE, Look
from prosopon.runtime.originals import Originals
from prosopon.runtime.positions import Positions
from prosopon.subnetwork import Compensation


@BACKENDS.register("inplace")
class InplaceBackend:
    """Gates weights in the live tensors, whose memory stays where it is.

    A switch writes only what differs between two looks. What that is, is worked out the first
    time and kept: a repeated switch does nothing but write. Between two light personas that
    share nothing, it goes by way of the base, so that a hundred personas need a hundred kept
    patches and not one for every pair.

    A gated weight is w * gate with its sign kept, also for gate 0: a pruned negative weight
    is -0.0. It adds nothing, and the fingerprint of the model, which reads signs, stays.

    The base weights may be changed from outside while no persona is worn; that is noticed at
    the weights that the next switch writes, and the originals are read anew.

    Args:
        sites: The sites of one model, with finite weights.
    """

    def __init__(self, sites: Sequence[Site]) -> None:
        self._sites = list(sites)
        self._numbers = {site.name: number for number, site in enumerate(sites)}
        self._homes = [Home(site) for site in sites]
        self._originals = [Originals.none(home.total, home.weight) for home in self._homes]
        self._personas: dict[str, dict[str, Mask]] = {}
        self._replacements: dict[str, Replacement] = {}
        self._replaced: Replacement | None = None  # what may stand in the weights
        self._heavy: set[str] = set()
        own = sum(home.weight.nbytes for home in self._homes)
        # The steps of every switch, each beside its way back, with which it shares memory.
        self._cache = LookCache[frozenset[Look], dict[Look, list[Step]]](min(own, 1 << 30))
        self._look: Look = BASE  # what the weights are, or were before an unfinished switch
        self._goal: Look = BASE  # where an unfinished switch was going
        self._reached: list[int] = []  # the sites into which it may have written
        self._settled = True  # False while the weights may not be those of the look
        self._bind()

    def load(
        self,
        name: str,
        keep: Mapping[str, Tensor],
        levels: Mapping[str, Tensor] | None = None,
        compensation: Compensation | None = None,
    ) -> None:
        """Note the pruned positions and keep their originals; see :class:`Backend`."""
        self._ready()
        if compensation is not None:
            self._replacements[name] = Replacement(self._sites, keep, compensation)
            self._personas[name] = {}
            return
        masks = {}
        for number, home in enumerate(self._homes):
            site = self._sites[number].name
            if site not in keep:
                continue
            ranks = None if levels is None else levels[site]
            masks[site] = Mask(Positions(~keep[site]), ranks).to(home.weight.device)
            # Whatever is gated now is known already, so what is read here is the base.
            self._originals[number] = self._originals[number].grow(masks[site].positions, home.read)
        self._personas[name] = masks
        if not all(mask.positions.is_list for mask in masks.values()):
            self._heavy.add(name)

    def unload(self, name: str) -> None:
        """Forget a persona, and originals that no other one needs; see :class:`Backend`."""
        self._ready()
        masks = self._personas.pop(name)
        self._replacements.pop(name, None)
        self._heavy.discard(name)
        self._cache.drop(name)
        for site in masks:
            number = self._numbers[site]
            others = [m[site].positions for m in self._personas.values() if site in m]
            self._originals[number] = self._originals[number].restrict(others)

    def wear(self, look: Look, checkpoint: Callable[[], None]) -> None:
        """Write what differs between the worn look and this one; see :class:`Backend`."""
        self._ready()
        if look == self._look:
            return
        if self._replaced is not None:
            self.restore()
        replacement = self._replacements.get(look[0].name) if look else None
        if replacement is not None:
            self._travel(BASE, checkpoint, frozenset())
            self._replaced = replacement  # before its first write
            replacement.put(checkpoint)
            self._arrive(look)
        elif self._direct(look):
            self._travel(look, checkpoint, frozenset())
        else:
            gated_before = self._travel(BASE, checkpoint, frozenset())
            self._travel(look, checkpoint, gated_before)

    def restore(self) -> None:
        """Write originals back; see :class:`Backend`."""
        if self._replaced is not None:
            self._replaced.restore()
            self._replaced = None
            self._arrive(BASE)
        if self._settled and self._is_bound():
            if self._look:
                self._travel(BASE, lambda: None, frozenset())
            return
        self._settled = False
        self._bind()
        for number, home in enumerate(self._homes):
            for look in (self._look, self._goal) if number in self._reached else (self._look,):
                gating = self.gating(look, home.site)
                if gating is not None:
                    indices = gating.indices()
                    values = self._originals[number].at(indices)
                    write(home.flat, *home.outward(home.offsets(indices), values))
        self._arrive(BASE)

    def close(self) -> None:
        """Write originals back; see :class:`Backend`."""
        self.restore()

    def gating(self, look: Look, site: Site) -> Gating | None:
        """Return the gates of a site; see :class:`Backend`."""
        return gating_of(self._personas, look, site.name)

    def _ready(self) -> None:
        """Finish what an earlier call could not, and notice a model that was moved or cast."""
        if not self._settled or not self._is_bound():
            self.restore()

    def _is_bound(self) -> bool:
        """Tell whether all weights still lie where they lay."""
        return [table[name].data_ptr() for table, name in self._slots] == self._pointers

    def _bind(self) -> None:
        """Find the weights in memory, and take along what is known about them."""
        self._homes = [Home(site) for site in self._sites]
        self._originals = [
            originals.to(home.weight)
            for originals, home in zip(self._originals, self._homes, strict=True)
        ]
        for masks in self._personas.values():
            for site, mask in masks.items():
                masks[site] = mask.to(self._homes[self._numbers[site]].weight.device)
        self._cache.clear()
        # Looked up anew in the modules each time: a parameter can be exchanged for another.
        # Many experts lie in one parameter.
        slots = (site.slot for site in self._sites)
        self._slots = list({(id(table), name): (table, name) for table, name in slots}.values())
        whole = [table[name] for table, name in self._slots]
        self._pointers = [parameter.data_ptr() for parameter in whole]
        self._counted = [parameter for parameter in whole if not parameter.is_inference()]

    def _direct(self, goal: Look) -> bool:
        """Tell whether to write a difference rather than to go by way of the base.

        By way of the base writes all weights of both, which is hardly more for light masks.
        """
        start = self._look
        if not start or not goal or frozenset((start, goal)) in self._cache:
            return True
        names = [part.name for look in (start, goal) for part in look]
        return len(set(names)) < len(names) or not self._heavy.isdisjoint(names)

    def _travel(
        self, goal: Look, checkpoint: Callable[[], None], trusted: frozenset[int]
    ) -> frozenset[int]:
        """Go from the worn look to another and return the numbers of the sites written.

        The sites in ``trusted`` are known to be on the base if they are fresh.
        """
        start, visited = self._look, list[int]()
        ways = self._cache.get(frozenset((start, goal)))
        steps, size = list[Step](), 0
        self._reached, self._goal, self._settled = visited, goal, False
        differences = (self._step(number, start, goal) for number in range(len(self._sites)))
        for step in ways[goal] if ways else filter(None, differences):
            checkpoint()
            if step.fresh and step.home not in trusted:
                step = self._refresh(step, start, goal)
            visited.append(step.home)
            write(step.flat, step.offsets, step.after)
            size += step.nbytes
            if not ways and size <= self._cache.limit:
                steps.append(step)
        if self._counted:  # NumPy's writes are not counted, and autograd must hear of them
            torch.autograd.graph.increment_version(self._counted)
        if not ways and size <= self._cache.limit:
            self._keep(start, goal, steps, size)
        self._arrive(goal)
        return frozenset(visited)

    def _arrive(self, look: Look) -> None:
        self._look = self._goal = look
        self._reached, self._settled = [], True

    def _step(self, number: int, start: Look, goal: Look) -> Step | None:
        """Work out what differs in one site; None if nothing does."""
        home = self._homes[number]
        before, after = self.gating(start, home.site), self.gating(goal, home.site)
        if before is None and after is None:
            return None
        change = compare(before, after)
        if not len(change.indices):
            return None
        values = self._originals[number].at(change.indices)
        old, new = apply_gates(values, change.before), apply_gates(values, change.after)
        offsets = home.offsets(change.indices)
        written = home.outward(offsets, old, new)
        return Step(number, home.flat, before is None, *written)

    def _refresh(self, step: Step, start: Look, goal: Look) -> Step:
        """Return the step, or another one if the base weights are no longer what they were."""
        if equal(step.flat[step.offsets], step.before):
            return step
        home = self._homes[step.home]
        self._originals[step.home] = self._originals[step.home].renew(home.read)
        self._cache.clear()
        renewed = self._step(step.home, start, goal)
        assert renewed is not None  # the same positions, other values
        return renewed

    def _keep(self, start: Look, goal: Look, steps: list[Step], size: int) -> None:
        gated_after = {
            step.home for step in steps if self.gating(goal, self._sites[step.home]) is not None
        }
        back = [
            step._replace(fresh=step.home not in gated_after, before=step.after, after=step.before)
            for step in steps
        ]
        ways = {goal: steps, start: back}
        self._cache.put(frozenset((start, goal)), ways, size, (start, goal))
