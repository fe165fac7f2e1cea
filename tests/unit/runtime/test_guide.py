"""The guide to the runtime has every public name, every argument of a controller and every reason of an event."""

import inspect
import re
from pathlib import Path

import pytest

import legodnn.runtime
from legodnn.runtime import Controller, Event, JointController, LegoError

TEXT = (Path(__file__).parents[3] / "runtime" / "README.md").read_text(encoding="utf-8")


def section(heading):
    return TEXT.partition(f"\n{heading}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("name", legodnn.runtime.__all__)
def test_every_public_name_is_in_it(name):
    assert re.search(rf"\b{name}\b", TEXT)


@pytest.mark.parametrize("kind", [Controller, JointController])
def test_every_argument_of_a_controller_is_in_it(kind):
    names = set(inspect.signature(kind).parameters) - {"optimizer", "duties", "source", "clock"}
    assert [name for name in names if not re.search(rf"\b{name}\b", TEXT)] == []


def test_every_field_of_an_event_is_in_its_table():
    rows = re.findall(r"^\| (`.*?`) \|", section("### Events"), re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert set(names) >= set(Event.__dataclass_fields__)


def test_every_error_that_a_device_can_raise_is_in_its_table():
    def kinds(kind):
        return {kind.__name__}.union(*map(kinds, kind.__subclasses__()))

    of_builders = {"RecipeError", "UnitError", "ModelError", "DataError", "WorkError", "OwnCodeError", "LegoError"}
    rows = re.findall(r"^\| `(\w+)` \|", section("### Errors"), re.MULTILINE)
    assert kinds(LegoError) - of_builders <= set(rows)
