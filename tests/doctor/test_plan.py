"""Plans of the commands, and whether they fit."""

from dataclasses import replace

import pytest

from prosopon.doctor.job import MemoryPart, resolve_job
from prosopon.doctor.machine import Gpu
from prosopon.doctor.plan import Fit, fit_plan, plan_export, plan_extraction, plan_serving

CARD = Gpu("card", 24 * 10**9, 23 * 10**9)


def test_a_model_larger_than_memory_does_not_fit_and_says_what_to_do(big, small):
    job = resolve_job(big)
    plan = plan_extraction(big, job, small, gpu=False)
    (fit,) = fit_plan(plan, big, job, small, gpu=False)
    assert not fit.is_enough
    assert fit.where == "memory"
    assert fit.needed == plan.peak() > 16 * 10**9
    assert "--criterion contrastive-wanda --sequential" in " ".join(fit.advice)
    assert not any("bfloat16" in line for line in fit.advice)  # it is already


def test_layer_by_layer_it_fits(big, small):
    job = resolve_job(big, sequential=True)
    plan = plan_extraction(big, job, small, gpu=False)
    assert all(fit.is_enough for fit in fit_plan(plan, big, job, small, gpu=False))
    assert "layer by layer" in plan.title


def test_advice_names_what_would_help(big, machine):
    job = resolve_job(big, dtype="float32")
    two = replace(machine, gpus=(CARD, CARD))
    plan = plan_extraction(big, job, two, gpu=True)
    card, memory = fit_plan(plan, big, job, two, gpu=True)
    assert [card.where, memory.where] == ["card", "memory"]
    assert card.needed == plan.peak(True)
    assert card.needed + memory.needed == plan.peak()
    advice = " ".join(card.advice)
    for word in (
        "--fast",
        "--dtype bfloat16",
        "--device-map auto",
        "2 graphics cards",
        "--device cpu",
    ):
        assert word in advice


def test_a_served_model_needs_its_weights_and_its_caches(big, small):
    full, half = (plan_serving(big, resolve_job(big, dtype=d)) for d in ("float32", "bfloat16"))
    assert full.peak() > 2 * half.peak() - 10**9
    cache = {p.what: p.nbytes for p in half.memory}
    (what,) = [key for key in cache if key.startswith("keys and values")]
    assert what == "keys and values, 1 x 2048 tokens"  # one row at a time in 16 bits
    assert cache[what] == 2048 * 2 * 32 * 1024 * 2
    assert "131,072 bytes" in half.notes[0]
    job = resolve_job(big, dtype="float32")
    (fit,) = fit_plan(full, big, job, small, gpu=False)
    assert any(line.startswith("--rows 1") for line in fit.advice)


def test_exports_are_as_large_as_their_files(big):
    plan = plan_export(big, resolve_job(big))
    sizes = {part.what: part.nbytes for part in plan.files}
    assert sizes["checkpoint"] == sizes["gguf"] == big.weights_bytes("bfloat16")
    assert sizes["lora, rank 16"] == 2 * 16 * sum(s.rows + s.columns for s in big.sites)
    assert sizes["shira"] == 10 * int(0.003 * big.site_weights)
    heavy = plan_export(big, resolve_job(big, criterion="wanda"))
    assert "shira" not in {part.what for part in heavy.files}


def test_a_packed_model_is_not_extracted_from(big, machine):
    packed = replace(big, quantised="gptq")
    plan = plan_extraction(packed, resolve_job(packed), machine, gpu=False)
    assert "extract from the model as it was before" in plan.notes[0]


def test_a_converted_copy_is_on_the_disk(big, machine):
    plan = plan_extraction(replace(big, converts=7), resolve_job(big), machine, gpu=False)
    assert MemoryPart("the converted copy, once, in the cache", 7) in plan.files


@pytest.mark.parametrize(("there", "fits"), [(None, True), (100, False), (112, True)])
def test_a_tenth_stays_free(there, fits):
    assert Fit("memory", 100, there).is_enough is fits
