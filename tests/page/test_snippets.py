"""The code that is shown is run, and gives what the page gave."""

import contextlib
import io
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from prosopon.page import snippets
from prosopon.page.talk import Draws, persona_field
from prosopon.serving.voice import Voice
from prosopon.subnetwork.pack import write_pack
from tests.serving import samples
from tests.serving.samples import HTTP
from tests.tiny import tiny_model

QUESTION = 'What\'s "new",\nfriend? Größe \\ $HOME `id`'
DRAWS = Draws(0.5, 9, 4)
VOICES = [
    Voice(),
    Voice("bold"),
    Voice("calm", 0.5),
    Voice(blend=(("bold", 0.7), ("calm", 0.3))),
]


def run(code, **names):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "snippet", "exec"), {"__name__": "snippet"} | names)
    return out.getvalue()


def reply(live, voice, question=QUESTION, draws=DRAWS):
    """Return what the server answers, asked without any snippet."""
    body = {"model": "tiny", "messages": [{"role": "user", "content": question}]}
    body |= {name: value for name, value in draws._asdict().items() if value is not None}
    if persona := persona_field(voice):
        body["persona"] = persona
    answer = HTTP.post(f"{live.url}/v1/chat/completions", json=body).json()
    return answer["choices"][0]["message"]["content"]


@pytest.mark.parametrize("voice", VOICES)
def test_the_openai_client_says_what_the_server_says(live, voice):
    code = snippets.openai(live.url, "tiny", voice, QUESTION, DRAWS, False)
    assert run(code) == reply(live, voice) + "\n"
    assert ("extra_body" in code) == (voice not in VOICES[:2])


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("voice", VOICES[1:3])
def test_curl_says_what_the_server_says(live, voice):
    code = snippets.curl(live.url, "tiny", voice, QUESTION, DRAWS, False)
    done = subprocess.run(["sh", "-c", code], capture_output=True, text=True, check=True)
    content = json.loads(done.stdout)["choices"][0]["message"]["content"]
    assert content == reply(live, voice)


def test_a_key_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("PROSOPON_API_KEY", "a-secret")
    for make in (snippets.openai, snippets.curl):
        code = make("http://x", "tiny", Voice(), "Hi", DRAWS, True)
        assert "PROSOPON_API_KEY" in code
        assert "a-secret" not in code
    assert "PROSOPON_API_KEY" not in snippets.curl("http://x", "m", Voice(), "Hi", DRAWS, False)


def test_an_empty_seed_is_left_out():
    draws = Draws(0.5, 9, None)
    assert "seed" not in snippets.openai("http://x", "m", Voice(), "Hi", draws, False)
    assert "seed" not in snippets.curl("http://x", "m", Voice(), "Hi", draws, False)
    assert "seed" not in snippets.python("m", Path("p"), {}, Voice(), "Hi", draws)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a folder with a model, folders of personas and a pack."""
    home = tmp_path_factory.mktemp("home")
    model, tokenizer = tiny_model(chat=True)
    model.save_pretrained(home / "model")
    tokenizer.save_pretrained(home / "model")
    for seed, name in enumerate(("bold", "calm")):
        samples.mask(model, name, seed).save_pretrained(home / name)
    write_pack(home / "some.pack", {"calm": samples.mask(model, "calm", 1)})
    return home


def test_python_needs_no_server(home):
    sources = {"calm": "some.pack#calm"}
    greedy = Draws(0.0, 6, 1)
    said = [
        run(snippets.python(str(home / "model"), home, sources, voice, QUESTION, greedy))
        for voice in VOICES
    ]
    attached = samples.wearer()
    expected = []
    for voice in VOICES:
        voice.wear(attached)
        expected.append(attached.answer(QUESTION, temperature=0, max_new_tokens=6) + "\n")
    attached.close()
    assert said == expected
    assert len(set(said)) > 1


def test_python_names_a_pack_and_the_hub():
    sources = {"a": "x.pack#a", "b": "hf:org/b"}
    both = Voice(blend=(("a", 0.5), ("b", 0.5), ("c", 0.1)))
    code = snippets.python("m", Path("personas"), sources, both, "Hi", DRAWS)
    assert 'wearer.load_persona(Pack("personas/x.pack").load("a"), "a")' in code
    assert 'wearer.load_persona(Subnetwork.from_pretrained("org/b"), "b")' in code
    assert 'wearer.load_persona("personas/c", "c")' in code
    assert "from prosopon import PersonaModel, Subnetwork, load_model\n" in code
    compile(code, "snippet", "exec")
