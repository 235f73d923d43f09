"""Arms: ways to make a model speak as a persona, one small file each, in a registry."""

from prosopon.evaluation.arms.base import ARMS, Arm, Cost, Kind, Lab, Prepared

__all__ = ["ARMS", "Arm", "Cost", "Kind", "Lab", "Prepared"]
