"""Jobs with their defaults filled in, and the sums of their forecasts."""

import pytest

from prosopon.criteria import CRITERIA
from prosopon.doctor.job import Forecast, MemoryPart, resolve_job
from prosopon.errors import OptionError, UnknownNameError


def test_a_peak_is_the_sum_of_its_parts():
    parts = MemoryPart("a", 3), MemoryPart("b", 4, True), MemoryPart("c", 5)
    plan = Forecast("serve", "", parts)
    assert [plan.peak(), plan.peak(True), plan.peak(False)] == [12, 4, 8]
    assert (plan.files, plan.work, plan.notes) == ((), None, ())


@pytest.mark.parametrize("name", CRITERIA.names())
def test_what_is_not_said_is_the_criterions_own(big, name):
    job, criterion = resolve_job(big, criterion=name), CRITERIA.get(name)
    assert (job.criterion, job.pattern) == (criterion, criterion.pattern)
    assert job.share == criterion.sparsity
    assert job.options == criterion.options()
    assert (job.dtype, job.width) == ("bfloat16", 2)


def test_what_is_said_counts(big):
    job = resolve_job(
        big, criterion="wanda", sparsity=0.25, pattern="site", dtype="float32", examples=7, rows=3,
        length=100, texts=5,
    )  # fmt: skip
    assert (job.share, job.pattern, job.width) == (0.25, "site", 4)
    assert (job.examples, job.rows, job.length, job.texts) == (7, 3, 100, 5)


def test_a_pattern_can_fix_the_share(big):
    assert resolve_job(big, criterion="wanda", pattern="2:4").share == 0.5
    with pytest.raises(OptionError):
        resolve_job(big, criterion="wanda", pattern="2:4", sparsity=0.3)


def test_the_criterion_that_is_taken_where_none_is_named(big):
    assert resolve_job(big).criterion.name == "contrastive-kl"
    assert resolve_job(big, default="wanda").criterion.name == "wanda"
    assert resolve_job(big, sequential=True).criterion.name == "contrastive-wanda"


def test_jobs_are_refused_as_extractions_are(big):
    with pytest.raises(UnknownNameError, match="criterion"):
        resolve_job(big, criterion="wand")
    with pytest.raises(UnknownNameError, match="pattern"):
        resolve_job(big, criterion="wanda", pattern="rows")
    with pytest.raises(OptionError, match="ranks all weights together"):
        resolve_job(big, criterion="contrastive-kl", pattern="row")
    with pytest.raises(OptionError, match="so it cannot run layer by layer"):
        resolve_job(big, criterion="contrastive-kl", sequential=True)
    with pytest.raises(OptionError, match="has no option 'speed'"):
        resolve_job(big, criterion="wanda", options={"speed": "1"})
    with pytest.raises(OptionError, match="pattern 'row', 'site' or N:M"):
        resolve_job(big, criterion="sparsegpt", pattern="global")


def test_requests_are_no_longer_than_the_context(big):
    from dataclasses import replace

    short = replace(big, config=big.config | {"max_position_embeddings": 512})
    assert resolve_job(short, length=4096).length == 512
    assert resolve_job(short).length == 512
    assert resolve_job(big, length=4096).length == 4096
    unlimited = replace(big, config=big.config | {"max_position_embeddings": None})
    assert unlimited.context is None
    assert resolve_job(unlimited).length == 2048
