"""Masks as explanations: what they share, where they lie, what they do, and whether they matter."""

from prosopon.analysis.crosstalk import CrossTalk, cross_talk
from prosopon.analysis.dendrogram import Clustering, cluster
from prosopon.analysis.faithfulness import ArmEffect, Faithfulness, Point, faithfulness
from prosopon.analysis.findings import PARTS, AnalysisPart, Findings, measure
from prosopon.analysis.location import Location, locate
from prosopon.analysis.overlap import Overlap, PairOverlap, overlaps, pair_overlap
from prosopon.analysis.page import Analysis, analyse
from prosopon.analysis.probe import Choices, Effect, Probe, ProbeAxis, bundled_axes, file_axis
from prosopon.analysis.sections import Section, tell
from prosopon.drawing import check_drawing

__all__ = [
    "PARTS",
    "Analysis",
    "AnalysisPart",
    "ArmEffect",
    "Choices",
    "Clustering",
    "CrossTalk",
    "Effect",
    "Faithfulness",
    "Findings",
    "Location",
    "Overlap",
    "PairOverlap",
    "Point",
    "Probe",
    "ProbeAxis",
    "Section",
    "analyse",
    "bundled_axes",
    "check_drawing",
    "cluster",
    "cross_talk",
    "faithfulness",
    "file_axis",
    "locate",
    "measure",
    "overlaps",
    "pair_overlap",
    "tell",
]
