"""Masks as explanations: what they share, where they lie, what they do, and whether they matter."""

from prosopon.analysis.crosstalk import CrossTalk, cross_talk
from prosopon.analysis.faithfulness import Faithfulness, faithfulness
from prosopon.analysis.findings import PARTS, AnalysisPart, Findings
from prosopon.analysis.location import Location, locate
from prosopon.analysis.overlap import PairOverlap, cluster, overlaps
from prosopon.analysis.page import Analysis, analyse
from prosopon.analysis.probe import Probe, ProbeAxis, bundled_axes, file_axis
from prosopon.analysis.sections import Section
from prosopon.drawing import check_drawing

__all__ = [
    "PARTS",
    "Analysis",
    "AnalysisPart",
    "CrossTalk",
    "Faithfulness",
    "Findings",
    "Location",
    "PairOverlap",
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
    "overlaps",
]
