"""Masks as explanations: what they share, where they lie, what they do, and whether they matter."""

from prosopon.analysis.faithfulness import faithfulness
from prosopon.analysis.findings import PARTS, AnalysisPart, Findings
from prosopon.analysis.page import Analysis, analyse
from prosopon.analysis.probe import Probe, ProbeAxis, bundled_axes, file_axis
from prosopon.analysis.sections import Section
from prosopon.drawing import check_drawing

__all__ = [
    "PARTS",
    "Analysis",
    "AnalysisPart",
    "Findings",
    "Probe",
    "ProbeAxis",
    "Section",
    "analyse",
    "bundled_axes",
    "check_drawing",
    "faithfulness",
    "file_axis",
]
