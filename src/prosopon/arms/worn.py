"""An arm that wears a mask which is there already: of a folder, of a pack."""

from prosopon.arms.base import Kind, Lab
from prosopon.arms.masks import MaskReady, make_ready
from prosopon.arms.options import WithOptions
from prosopon.subnetwork import Subnetwork


class WornArm(WithOptions):
    """Wears a mask and learns nothing; it is not registered, for it is one mask's.

    Args:
        name: What tables call it.
        subnetwork: The mask.
    """

    summary = "a mask that is there already"
    kind: Kind = "mask"
    learns = False

    def __init__(self, name: str, subnetwork: Subnetwork) -> None:
        self.name, self.subnetwork = name, subnetwork

    def prepare(self, lab: Lab) -> MaskReady:
        """See :class:`~prosopon.arms.Arm`."""
        return make_ready(lab, lambda: self.subnetwork, {})
