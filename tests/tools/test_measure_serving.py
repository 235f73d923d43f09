"""The tool that lets personas come and go under load: what it counts as right and wrong."""

import asyncio

import httpx2
import pytest
from tools.measure_serving import GUEST, KEY, Case, Churn, Loaded, make_cases

from prosopon.models import load_model
from prosopon.runtime import PersonaModel
from prosopon.serving.access import Keys
from prosopon.serving.shelf import Shelf
from tests.serving import samples
from tools import measure_serving

NAMES, GUESTS = ["bold", "calm"], ["x-one", "x-two"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("personas")
    model = load_model("embedded", device="cpu").model
    for seed, name in enumerate([*NAMES, *GUESTS]):
        samples.mask(model, name, seed, share=0.01).save_pretrained(made / name)
    return made


@pytest.fixture(scope="module")
def expected(folder):
    cases = [case for case in make_cases(NAMES) if case.seed == 0][::5]
    with measure_serving.alone(folder) as service:
        return asyncio.run(measure_serving.expect(service, cases, GUESTS, 2))


@pytest.fixture(scope="module")
def live(folder):
    model, tokenizer = load_model("embedded", device="cpu")[:2]
    with samples.running(
        PersonaModel(model, tokenizer), shelf=Shelf(folder), keys=Keys(admins=[KEY]),
        kind="continuous", queue=32,
    ) as own:  # fmt: skip
        own.service.name = "embedded"
        yield own


def churn(live, expected, requests=20, names=NAMES):
    """Ask while personas come and go; return what was counted, and examples."""
    loaded = Loaded({name: name for name in names} | {GUEST: GUESTS[0]})

    async def run():
        headers = {"Authorization": f"Bearer {KEY}"}
        async with httpx2.AsyncClient(base_url=live.url, headers=headers, timeout=60) as client:
            own = Churn(client, loaded, GUESTS)
            own.expected = expected
            if GUEST not in live.service.personas:
                await own.load(GUEST)
            await own.run([case for case, _ in expected], requests, 4, 0.005, 2, seed=1)
            await client.delete(f"/admin/personas/{GUEST}")
        return own

    own = asyncio.run(run())
    assert sum(own.counts.values()) - own.counts["changes"] == requests
    return own


def test_a_good_server_gives_every_reply_as_alone(live, expected):
    assert len(set(expected.values())) > 2
    own = churn(live, expected)
    assert own.counts["mismatches"] == own.counts["lost"] == 0
    assert own.counts["replies"] > 10
    assert not own.examples


def test_a_reply_that_is_another_one_is_a_mismatch(live, expected):
    own = churn(live, dict.fromkeys(expected, "never"), 6)
    assert own.counts["mismatches"] + own.counts["away"] == 6
    assert "'never'" not in own.examples[0]
    assert "200" in own.examples[0]


def test_a_persona_that_nobody_took_away_must_answer(live, expected):
    live.service.unload("calm")
    cases = {key: text for key, text in expected.items() if key[0].voice == "calm"}
    own = churn(live, cases, 5, ["bold"])
    live.service.load("calm")
    assert own.counts["lost"] == 5
    assert "404" in own.examples[0]


def test_a_case_says_whom_it_needs_and_how_it_is_asked():
    cases = make_cases(NAMES)
    assert len(cases) == len(set(cases)) == (2 + 2 + 2 + 2) * 4 * 3
    blend = next(case for case in cases if "blend" in case.extra)
    assert blend.names == {"bold", "calm"}
    assert blend.body(3)["persona"] == {"blend": {"bold": 0.5, "calm": 1.0}}
    assert Case("", "Hi", 1).names == set()
    assert Case("", "Hi", 1).body(3)["model"] == "embedded"
    loaded = Loaded({"bold": "bold", GUEST: "x"})
    before = loaded.moment({"bold"})
    loaded.epochs[GUEST] += 1
    assert loaded.moment({"bold"}) == before
    assert loaded.moment({"bold", GUEST}) != (0, 0)
