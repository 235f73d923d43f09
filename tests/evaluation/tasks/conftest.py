"""The embedded model as a speaker, and small settings."""

import pytest

from prosopon.data.contrast import bundled_contrast
from prosopon.evaluation.speakers import ModelSpeaker
from prosopon.evaluation.tasks import Setting
from prosopon.judges import ClassifierJudge, GrammarJudge
from prosopon.lm import sample_general
from prosopon.models import load_model


@pytest.fixture(scope="session")
def loaded():
    return load_model("embedded", device="cpu")[:2]


@pytest.fixture(scope="session")
def speaker(loaded):
    return ModelSpeaker(*loaded)


@pytest.fixture(scope="session")
def setting(loaded):
    contrast = bundled_contrast("bold", questions=12)
    judges = GrammarJudge("bold", "cautious"), ClassifierJudge.fit(*contrast.judge_texts())
    general = sample_general(*loaded, count=4, length=32)
    return Setting(contrast, judges, general, questions=12, max_new_tokens=24)
