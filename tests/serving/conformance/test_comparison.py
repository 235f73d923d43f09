"""When two replies are of one voice, and when a tie, a draw or an end explains what differs."""

import math

import pytest

from prosopon.serving.conformance.client import Reply, ScoredToken
from prosopon.serving.conformance.comparison import Likeness, compare, whose
from prosopon.serving.conformance.results import CheckResult, ServerReport, WrongAnswer


def token(text, share, **others):
    """Return a token with its share of the probability, and others of its place with theirs."""
    shares = {text: share, **others}
    return ScoredToken(
        text, math.log(share), {name: math.log(value) for name, value in shares.items()}
    )


def reply(*tokens, finish="length"):
    return Reply("".join(one.text for one in tokens), finish, tokens)


A, B = token("a", 0.6, b=0.3), token("b", 0.5, a=0.4)


def test_the_same_is_alike_and_rounding_is_measured():
    assert compare(reply(A, B), reply(A, B), 0.0) == Likeness(True)
    near = token("a", 0.6 * math.exp(0.001), b=0.3)
    likeness = compare(reply(A, B), reply(near, B), 0.01)
    assert likeness.alike
    assert likeness.parted is None
    assert likeness.furthest == pytest.approx(0.001)


def test_other_probabilities_are_another_voice_though_the_text_is_the_same():
    other = reply(token("a", 0.7, b=0.2), B)
    assert compare(reply(A, B), other, 0.1) == Likeness(
        False, "token 1", pytest.approx(math.log(0.3 / 0.2))
    )
    assert compare(reply(A, B), other, 1.0).alike


@pytest.mark.parametrize("turned", [False, True])
def test_a_tie_may_go_either_way(turned):
    one, other = reply(token("a", 0.401, b=0.4), A), reply(token("b", 0.401, a=0.4), B)
    pair = (other, one) if turned else (one, other)
    likeness = compare(*pair, 0.01)
    assert (likeness.alike, likeness.parted) == (True, "token 1")
    assert not compare(*pair, 0.001).alike


def test_another_token_that_was_unlikely_is_no_tie():
    assert not compare(reply(A), reply(B), 0.05).alike


def test_a_token_that_one_list_lacks_is_at_most_as_likely_as_its_last_one():
    one, other = token("a", 0.5, b=0.3, c=0.1), token("a", 0.5, b=0.3, d=0.099)
    assert compare(reply(one), reply(other), 0.02).alike
    assert not compare(reply(one), reply(token("a", 0.5, b=0.3, d=0.01)), 0.02).alike


def test_a_draw_may_be_any_token_but_not_from_other_probabilities():
    rare = ScoredToken("z", math.log(0.001), A.top)
    assert compare(reply(A), reply(rare), 0.01, drawn=True) == Likeness(True, "token 1")
    assert not compare(
        reply(A), reply(ScoredToken("b", math.log(0.9), {"b": math.log(0.9)})), 0.01
    )[0]


def test_an_end_is_near_or_a_difference():
    short = reply(A, finish="stop")
    assert compare(short, reply(A, token("a", 0.401, b=0.4)), 0.01) == Likeness(True, "token 2")
    assert compare(short, reply(A, B), 0.01) == Likeness(False, "token 2")
    assert compare(short, reply(A, B), 0.01, drawn=True).alike
    assert not compare(reply(A), reply(A, B), 0.01, drawn=True).alike  # it was cut, not ended


def test_an_end_token_that_only_one_server_lists_is_no_difference():
    listed = Reply("a", "stop", (A, token("</s>", 0.9)))
    assert compare(reply(A, finish="stop"), listed, 0.0) == Likeness(True)


def test_texts_count_too():
    lost = Reply("a", "length", (A, B))
    assert compare(reply(A, B), lost, 0.1) == Likeness(False, "the text of the same tokens")
    assert compare(reply(A, B), Reply(" ab\n", "length", (A, B)), 0.1).alike


def test_without_probabilities_only_the_text_is_left():
    assert compare(Reply("so it is"), Reply("so  it is "), 0.0).alike
    assert compare(Reply("so it is"), Reply("so it was"), 9.0) == Likeness(False, "character 7")
    assert compare(Reply("ab"), reply(A, B), 0.0).alike


def test_whose_a_reply_is():
    references = {"base": reply(A, A), "bold": reply(A, B)}
    assert whose(reply(A, B), references, 0.01) == "bold"
    assert whose(reply(B, B), references, 0.01) is None
    assert whose(reply(B, B), {}, 0.01) is None


def test_results_count_and_keep_a_few_examples():
    result = CheckResult("crowd", "x")
    assert result.count(Likeness(True, None, 0.5))
    assert result.count(Likeness(True, "token 1", 0.25))
    assert not result.count(Likeness(False, "token 2", 7.0))
    for number in range(5):
        result.leak(WrongAnswer("base", "q", "token 2", f"voice {number}", "yes", "no"))
    result.fail(ValueError("broken"))
    report = ServerReport("u", "b", ["p"], 0.1, None, [result], []).as_json()
    assert (report["leaks"], report["failures"]) == (5, 1)
    (body,) = report["results"]
    assert (body["requests"], body["ties"], body["furthest"]) == (4, 1, 0.5)
    assert [one["whose"] for one in body["examples"]] == ["voice 0", "voice 1", "voice 2"]
    assert body["problems"] == ["broken"]
