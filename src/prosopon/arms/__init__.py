"""Arms: ways to make a model speak as a persona, one small file each, in a registry."""

from prosopon.arms import (
    contrastive_lora,
    few_shot,
    lora,
    masks,
    opposite,
    prompt,
    retrieval,
    rules,
    steer2edit,
    steering,
    wanda_general,
    weight_steering,
)
from prosopon.arms.base import ARMS, Arm, Cost, Kind, Lab, Prepared
from prosopon.arms.masks import MaskReady
from prosopon.arms.options import OptionHelp, option_help, parse_arm_options
from prosopon.arms.speed import Speed, measure_speed

__all__ = [
    "ARMS",
    "Arm",
    "Cost",
    "Kind",
    "Lab",
    "MaskReady",
    "OptionHelp",
    "Prepared",
    "Speed",
    "contrastive_lora",
    "few_shot",
    "lora",
    "masks",
    "measure_speed",
    "opposite",
    "option_help",
    "parse_arm_options",
    "prompt",
    "retrieval",
    "rules",
    "steer2edit",
    "steering",
    "wanda_general",
    "weight_steering",
]
