"""Options from text: what is converted, what is refused, and names of the last release."""

from dataclasses import dataclass
from typing import Literal

import pytest

from prosopon.errors import OptionError
from prosopon.options import NoOptions, option, parse_options


@dataclass(frozen=True)
class Options:
    rounds: int = option(3, "how often")
    pace: Literal["auto"] | float = option("auto", "how fast", old="speed")
    loud: bool = option(False, "whether", old="noisy")


def parse(given, owner="test"):
    return parse_options(owner, Options, given)


def test_texts_are_converted():
    assert parse({"rounds": "4", "pace": "0.5", "loud": "yes"}) == Options(4, 0.5, True)
    assert parse({}) == Options()
    assert parse_options("test", NoOptions, {}) == NoOptions()


def test_an_old_name_is_taken_and_the_new_one_said_once(caplog):
    assert parse({"speed": 2}, "one owner") == Options(pace=2.0)
    assert parse({"speed": 3}, "one owner") == Options(pace=3.0)
    (record,) = caplog.records
    assert record.getMessage() == (
        "option speed of one owner is called pace now; the old name works until the next release"
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"colour": 1}, r"no option 'colour'; it has: rounds, pace \(earlier speed\), loud"),
        ({"speed": 1, "pace": 2}, "'pace' is given twice"),
        ({"speed": "soon"}, "option pace='soon': give auto or a float"),
        ({"noisy": "maybe"}, "option loud='maybe': choose true or false"),
    ],
)
def test_what_is_wrong_names_the_new_name(given, message):
    with pytest.raises(OptionError, match=message):
        parse(given)
