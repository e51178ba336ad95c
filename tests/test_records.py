"""The package's own dataclasses: those of `dataclasses`, made with the first one."""

import copy
import dataclasses
import pickle
from dataclasses import field, replace

import pytest

from tracejit import records
from tracejit.records import FEW, dataclass


@dataclass(frozen=True)
class Point:
    """A frozen one."""

    x: float
    y: float = 2.0

    @property
    def sum(self) -> float:
        return self.x + self.y


@dataclass
class Bag:
    """One that changes."""

    name: str
    items: list[int] = field(default_factory=list)
    count: int = field(init=False)
    hidden: bytes = field(default=b"", repr=False, compare=False)

    def __post_init__(self) -> None:
        self.count = len(self.items)


@dataclass(frozen=True)
class Derived(Point):
    """With a field more."""

    z: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Thing:
    """Compared by identity."""

    x: int


@dataclass(frozen=True)
class Never:
    """Of which there is no instance."""

    x: int


def test_objects_are_those_of_dataclasses() -> None:
    assert Point(1.0) == Point(1.0, 2.0) == Point(x=1.0) != Point(2.0)
    assert hash(Point(1.0)) == hash(Point(1.0))
    assert repr(Point(1.0)) == "Point(x=1.0, y=2.0)"
    assert replace(Point(1.0), y=5.0).sum == 6.0
    assert [f.name for f in dataclasses.fields(Point(1.0))] == ["x", "y"]
    assert dataclasses.asdict(Point(1.0)) == {"x": 1.0, "y": 2.0}
    assert Point(1.0) != Derived(1.0)
    match Point(3.0):
        case Point(x, y):
            assert (x, y) == (3.0, 2.0)


@pytest.mark.parametrize("made_before", [0, FEW])
def test_few_objects_are_made_as_many_are(made_before) -> None:
    @dataclass(frozen=True)
    class Both:
        x: int
        y: list[int] = field(default_factory=list)
        z: int = field(init=False, default=7)
        w: int = 3

        def __post_init__(self) -> None:
            assert self.w

    for _ in range(made_before):
        Both(1)
    one = Both(1, w=4)
    assert (one.x, one.y, one.z, one.w) == (1, [], 7, 4)
    assert Both(1, [2], 5) == Both(w=5, y=[2], x=1) != Both(1)
    for wrong, message in (
        (lambda: Both(), "missing 1 required positional argument: 'x'"),
        (lambda: Both(1, x=2), "multiple values for argument 'x'"),
        (lambda: Both(1, z=2), "unexpected keyword argument 'z'"),
        (lambda: Both(1, [], 3, 4), "takes from 2 to 4 positional arguments but 5"),
    ):
        with pytest.raises(TypeError, match=message):
            wrong()


def test_frozen_objects_refuse() -> None:
    point = Point(1.0)
    with pytest.raises(dataclasses.FrozenInstanceError, match="'x'"):
        point.x = 2.0  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError, match="'x'"):
        del point.x
    assert point.x == 1.0


def test_factories_fields_without_parameters_and_post_init() -> None:
    one, two = Bag("a"), Bag("a")
    one.items.append(3)
    assert two.items == [] and Bag("a", [1, 2]).count == 2
    assert Bag("a", hidden=b"x") == Bag("a")
    assert repr(one) == "Bag(name='a', items=[3], count=0)"
    with pytest.raises(TypeError, match="count"):
        Bag("a", count=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


def test_a_base_is_made_with_what_is_derived_from_it() -> None:
    assert Derived(1.0, z=(3,)) == Derived(1.0, 2.0, (3,))
    assert repr(Derived(1.0)) == "Derived(x=1.0, y=2.0, z=())"


def test_by_identity() -> None:
    thing = Thing(1)
    assert thing == thing != Thing(1)
    assert len({thing, Thing(1)}) == 2


def test_copies_and_pickles() -> None:
    point = Point(1.0)
    assert copy.deepcopy(point) == point == pickle.loads(pickle.dumps(point))


def test_objects_that_were_not_constructed_know_their_fields() -> None:
    @dataclass(frozen=True)
    class Fresh:
        x: int

    one, two = Fresh.__new__(Fresh), Fresh.__new__(Fresh)
    one.__dict__["x"] = two.__dict__["x"] = 3
    assert one == two


def test_a_class_that_is_not_used_costs_no_text() -> None:
    assert records._PUT_OFF in Never.__dict__
    assert "__dataclass_fields__" not in Never.__dict__


def test_own_methods_stay() -> None:
    @dataclass
    class Odd:
        x: int

        def __repr__(self) -> str:
            return "odd"

        def __eq__(self, other: object) -> bool:
            return True

    assert repr(Odd(1)) == "odd" and Odd(1) == 3
