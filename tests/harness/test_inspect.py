"""inspect_ai's provider answers as the persona that PersonaModel wears: make inspect."""

import tomllib
from pathlib import Path

import pytest

from prosopon import PersonaModel, Subnetwork, load_model
from prosopon.errors import OptionError, SubnetworkError

# inspect_ai itself, and what it uses, warns of its own calls.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
ROOT = Path(__file__).resolve().parents[2]
ENTRY = "prosopon.harness.inspect_entry"


def test_the_package_names_its_entry():
    entries = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert entries["inspect_ai"] == {"prosopon": ENTRY}
    assert (ROOT / "src" / f"{ENTRY.replace('.', '/')}.py").is_file()


@pytest.fixture(scope="module")
def answers(model_folder, persona_folder):
    """Return ``answers(persona)``: what PersonaModel says to the questions, greedily."""
    loaded = load_model(model_folder, device="cpu")

    def write(persona):
        with PersonaModel(loaded.model, loaded.tokenizer) as wearer:
            if persona:
                wearer.set_persona(wearer.load_persona(Subnetwork.from_pretrained(persona)))
            return [
                wearer.answer(text, system="Be brief.", temperature=0, max_new_tokens=9)
                for text in QUESTIONS
            ]

    return write


QUESTIONS = ("Do you like people?", "Who is there?")


@pytest.mark.parametrize("worn", [True, False])
def test_an_evaluation_asks_the_persona(worn, answers, model_folder, persona_folder, tmp_path):
    inspect = pytest.importorskip("inspect_ai")
    from importlib import import_module

    from inspect_ai.dataset import Sample
    from inspect_ai.model import get_model
    from inspect_ai.scorer import match
    from inspect_ai.solver import generate, system_message

    import_module(ENTRY)
    expected = answers(persona_folder if worn else None)
    options = {"persona": str(persona_folder)} if worn else {}
    model = get_model(f"prosopon/{model_folder}", device="cpu", memoize=False, **options)
    task = inspect.Task(
        dataset=[
            Sample(input=question, target=text)
            for question, text in zip(QUESTIONS, expected, strict=True)
        ],
        solver=[system_message("Be brief."), generate()],
        scorer=match(location="exact", ignore_case=False),
    )
    (log,) = inspect.eval(
        task, model=model, temperature=0.0, max_tokens=9, log_dir=str(tmp_path), display="none"
    )
    assert log.status == "success", log.error
    said = [sample.output.completion for sample in log.samples]
    assert said == expected
    usage = log.samples[0].output.usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert usage.input_tokens > len("Be brief.") // 4
    assert answers(None) != answers(persona_folder)


def test_what_it_cannot_do_is_refused(model_folder, persona_folder, tmp_path):
    pytest.importorskip("inspect_ai")
    from inspect_ai.model import GenerateConfig

    from prosopon.harness.inspect_model import PersonaAPI, refuse_settings

    refuse_settings(GenerateConfig(temperature=0.5, seed=3, max_tokens=4, num_choices=1))
    with pytest.raises(OptionError, match=r"has no top_p \(0\.5\); it has temperature"):
        refuse_settings(GenerateConfig(top_p=0.5))
    with pytest.raises(OptionError, match="strength and gamma belong to a persona"):
        PersonaAPI(str(model_folder), strength=0.5)
    with pytest.raises(SubnetworkError, match="nowhere"):
        PersonaAPI(str(model_folder), persona=str(tmp_path / "nowhere"))
    model = PersonaAPI(str(model_folder), device="cpu", persona=str(persona_folder), strength=0.5)
    assert (model.wearer.active, model.wearer.strength) == ("introvert", 0.5)
    assert model.max_connections() == 1
    assert model.connection_key().endswith("/introvert")
    model.close()
    assert model.wearer.active is None
