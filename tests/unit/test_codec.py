"""Arguments and results as JSON: what comes back, and what is refused and how."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import math
import pathlib
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NotRequired,
    TypeVar,
    Unpack,
)
from zoneinfo import ZoneInfo

import fastapi
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from taskflow.codec import ArgumentCodec, decode_result, encode_result
from taskflow.errors import TaskArgumentError

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]  # absent at run time on purpose

LIMIT = 256 * 1024
T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    BLUE = 7


class Word(enum.StrEnum):
    YES = "yes"


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Point:
    x: float
    when: datetime
    raw: bytes = b""


@dataclasses.dataclass(eq=False)
class Uncompared:
    x: float


class User(BaseModel):
    id: uuid.UUID
    born: date | None = None


class Renamed(BaseModel):
    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)
    first: str = Field(validation_alias="in", serialization_alias="out")


class Box(BaseModel, Generic[T]):
    value: T


class Row(TypedDict):
    at: datetime
    raw: NotRequired[bytes]


class Pair(NamedTuple):
    left: int
    right: Decimal


class Opaque:
    pass


def codec(function: Callable[..., object], max_bytes: int = LIMIT) -> ArgumentCodec:
    return ArgumentCodec(function, max_bytes=max_bytes)


def there_and_back(
    function: Callable[..., object], *args: object, **kwargs: object
) -> tuple[tuple[object, ...], dict[str, object]]:
    """Through the text, as read by a process that has never seen the arguments."""
    return codec(function).decode(codec(function).encode(args, kwargs))


def taking(annotation: object) -> Callable[..., object]:
    def function(value: object) -> None: ...

    function.__annotations__["value"] = annotation
    return function


# -- what comes back as itself -------------------------------------------------------------------

zones: st.SearchStrategy[tzinfo] = (
    st.timezones() | st.just(UTC) | st.just(timezone(timedelta(hours=5, minutes=30)))
)
# Zones of before about 1900 have offsets with seconds, which ISO 8601 does not know.
moments = st.datetimes(
    min_value=datetime(1950, 1, 1),
    max_value=datetime(9000, 1, 1),
    timezones=st.one_of(st.none(), zones),
)
texts = st.text(st.characters(exclude_categories=["Cs"]))
floats = st.floats(allow_nan=False)
decimals = st.decimals(allow_nan=False, allow_infinity=False)
spans = st.timedeltas(min_value=timedelta(days=-90_000), max_value=timedelta(days=90_000))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | floats | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
points = st.builds(
    Point, x=floats, when=st.datetimes(min_value=datetime(1950, 1, 1)), raw=st.binary()
)
users = st.builds(User, id=st.uuids(), born=st.none() | st.dates())

EXACT: list[tuple[object, st.SearchStrategy[Any]]] = [
    (str, texts),
    (int, st.integers()),
    (float, floats),
    (bool, st.booleans()),
    (None, st.none()),
    (date, st.dates()),
    (time, st.times()),
    (timedelta, spans),
    (uuid.UUID, st.uuids()),
    (Decimal, decimals),
    (Colour, st.sampled_from(Colour)),
    (Word, st.just(Word.YES)),
    (Level, st.just(Level.HIGH)),
    (bytes, st.binary()),
    (set[int], st.sets(st.integers())),
    (set[bytes], st.sets(st.binary())),
    (frozenset[date], st.frozensets(st.dates())),
    (set[tuple[int, str]], st.sets(st.tuples(st.integers(), texts))),
    (tuple[int, bytes], st.tuples(st.integers(), st.binary())),
    (tuple[Decimal, ...], st.lists(decimals).map(tuple)),
    (pathlib.Path, st.sampled_from(["a/b", "/x", "ü ä"]).map(pathlib.Path)),
    (Point, points),
    (list[Point], st.lists(points, max_size=3)),
    (User, users),
    (dict[str, User], st.dictionaries(texts, users, max_size=3)),
    (Box[Decimal], decimals.map(lambda value: Box[Decimal](value=value))),
    (Row, st.fixed_dictionaries({"at": st.datetimes()}, optional={"raw": st.binary()})),
    (Pair, st.builds(Pair, left=st.integers(), right=decimals)),
    (Literal["a", 1] | None, st.sampled_from(["a", 1, None])),
    (int | str | uuid.UUID, st.integers() | texts | st.uuids()),
    (str | bytes | date | Decimal, texts | st.binary() | st.dates() | decimals),
    (Colour | int | None, st.sampled_from(Colour) | st.integers() | st.none()),
    (list[bytes] | None, st.none() | st.lists(st.binary(), max_size=3)),
    (Point | User | None, st.none() | points | users),
    (dict[int, timedelta], st.dictionaries(st.integers(), spans, max_size=3)),
    (dict[uuid.UUID, list[bytes]], st.dictionaries(st.uuids(), st.lists(st.binary()), max_size=3)),
    (dict[str, list[datetime]], st.dictionaries(texts, st.lists(st.datetimes()), max_size=3)),
    (Any, json_values),
    (object, json_values),
    (list, st.lists(json_values, max_size=3)),
    (Annotated[int, fastapi.Query(ge=0)], st.integers(min_value=0)),
    (Annotated[bytes, fastapi.Body()], st.binary()),
    (Annotated[str, "words nobody knows"], texts),
]


@pytest.mark.parametrize(
    ("annotation", "strategy"), EXACT, ids=[str(annotation) for annotation, _ in EXACT]
)
def test_a_value_comes_back_with_its_value_and_type(
    annotation: object, strategy: st.SearchStrategy[object]
) -> None:
    writer, reader = codec(taking(annotation)), codec(taking(annotation))

    @given(strategy)
    def check(value: object) -> None:
        by_position, nothing = reader.decode(writer.encode((value,), {}))
        no_args, by_name = reader.decode(writer.encode((), {"value": value}))

        assert (by_position, nothing) == ((value,), {})
        assert (no_args, by_name) == ((), {"value": value})
        assert type(by_position[0]) is type(value)
        assert type(by_name["value"]) is type(value)

    check()


@given(moments)
def test_a_datetime_comes_back_as_the_same_moment(moment: datetime) -> None:
    (after,), _ = there_and_back(taking(datetime), moment)

    assert isinstance(after, datetime)
    assert after.utcoffset() == moment.utcoffset()
    assert after.replace(tzinfo=None) == moment.replace(tzinfo=None)


def test_a_datetime_in_the_hour_that_happens_twice_is_accepted() -> None:
    twice = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)

    (after,), _ = there_and_back(taking(datetime), twice)

    assert isinstance(after, datetime)
    assert after.timestamp() == twice.timestamp()


def test_nan_and_infinities_come_back_also_inside_of_things() -> None:
    (value,), _ = there_and_back(taking(list[float]), [math.nan, math.inf, -math.inf])
    (point,), _ = there_and_back(taking(Point), Point(math.nan, datetime(2026, 1, 1)))

    assert isinstance(value, list)
    assert math.isnan(value[0])
    assert value[1:] == [math.inf, -math.inf]
    assert isinstance(point, Point)
    assert math.isnan(point.x)


class Money:
    """A class that only its annotation knows how to store."""

    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.cents == self.cents

    __hash__ = None  # type: ignore[assignment]  # how a class says that it has no hash


Price = Annotated[Money, PlainValidator(Money), PlainSerializer(lambda it: it.cents)]


def test_an_annotation_that_brings_its_own_way_to_be_stored_is_used() -> None:
    assert there_and_back(taking(Price), Money(150)) == ((Money(150),), {})


def test_a_dataclass_without_equality_comes_back_by_its_fields() -> None:
    (after,), _ = there_and_back(taking(Uncompared), Uncompared(1.5))

    assert isinstance(after, Uncompared)
    assert after.x == 1.5


def test_an_equal_number_or_a_subclass_is_good_enough_for_an_annotation() -> None:
    def function(ratio: float, count: int, word: str) -> None: ...

    yes = True

    args, _ = there_and_back(function, 3, yes, Word.YES)

    assert args == (3.0, 1, "yes")


def test_no_arguments_are_the_empty_text_and_defaults_are_left_to_the_function() -> None:
    def function(a: int = 1, *rest: int, b: Decimal = Decimal(2), **more: str) -> None: ...

    assert codec(function).encode((), {}) == ""
    assert codec(function).decode("") == ((), {})
    assert codec(function).encode((5,), {}) == '{"args":[5]}'
    assert codec(function).encode((), {"a": 5}) == '{"kwargs":{"a":5}}'


def test_var_args_and_var_keywords_have_the_type_of_each_item() -> None:
    def function(first: str, *numbers: int, at: date, **prices: Decimal) -> None: ...

    args, kwargs = there_and_back(
        function, "x", 1, 2, at=date(2026, 1, 2), milk=Decimal("1.50"), first_=Decimal(1)
    )

    assert args == ("x", 1, 2)
    assert kwargs == {"at": date(2026, 1, 2), "milk": Decimal("1.50"), "first_": Decimal(1)}
    assert str(kwargs["milk"]) == "1.50"


def test_unpacked_keywords_have_the_types_of_their_typed_dict() -> None:
    def function(**row: Unpack[Row]) -> None: ...

    _, kwargs = there_and_back(function, at=datetime(2026, 1, 1), raw=b"\xff")

    assert kwargs == {"at": datetime(2026, 1, 1), "raw": b"\xff"}


def test_a_keyword_named_like_a_positional_only_parameter_goes_to_var_keywords() -> None:
    def function(when: datetime, /, **more: Decimal) -> None: ...

    args, kwargs = there_and_back(function, datetime(2026, 1, 1), when=Decimal(3))

    assert args == (datetime(2026, 1, 1),)
    assert kwargs == {"when": Decimal(3)}


def test_none_fits_a_parameter_whose_default_is_none() -> None:
    def function(when: datetime = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013 - common in the wild

    assert there_and_back(function, None) == ((None,), {})
    assert there_and_back(function, datetime(2026, 1, 1)) == ((datetime(2026, 1, 1),), {})


def test_a_member_of_a_union_is_found_again_after_the_union_was_reordered() -> None:
    number = uuid.uuid4()
    text = codec(taking(int | str | uuid.UUID)).encode((number,), {})

    args, _ = codec(taking(uuid.UUID | str | int)).decode(text)

    assert args == (number,)


# -- kinds of callables ------------------------------------------------------------------------


class Service:
    def send(self, when: datetime) -> None: ...

    @classmethod
    def build(cls, when: datetime) -> None: ...

    @staticmethod
    def ping(when: datetime) -> None: ...

    def __call__(self, when: datetime) -> None: ...


def keyword_bound(channel: str, when: datetime) -> None: ...


@functools.wraps(keyword_bound)
def wrapper(*args: object, **kwargs: object) -> None: ...


@pytest.mark.parametrize(
    "function",
    [
        Service().send,
        Service.build,
        Service.ping,
        Service(),
        functools.partial(keyword_bound, "mail"),
        functools.partial(functools.partial(keyword_bound), "mail"),
        functools.partial(Service().send),
    ],
)
def test_any_callable_has_the_types_of_its_own_signature(function: Callable[..., object]) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)

    assert there_and_back(function, moment) == ((moment,), {})


def test_a_wrapped_function_has_the_types_of_what_it_wraps() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)

    assert there_and_back(wrapper, "mail", when=moment) == (("mail",), {"when": moment})


def test_a_partial_may_override_what_it_binds_by_keyword() -> None:
    bound = functools.partial(keyword_bound, when=datetime(2026, 1, 1))

    assert there_and_back(bound, "mail") == (("mail",), {})
    assert there_and_back(bound, "mail", when=datetime(2027, 1, 1))[1] == {
        "when": datetime(2027, 1, 1)
    }


@contextlib.contextmanager
def wrapped_by_another_module(when: datetime) -> Iterator[None]:
    yield


def test_a_wrapped_function_has_its_types_looked_up_in_its_own_module() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)

    assert there_and_back(wrapped_by_another_module, moment) == ((moment,), {})


def test_types_of_an_enclosing_function_are_found_if_the_function_uses_them() -> None:
    @dataclasses.dataclass
    class Local:
        at: date

    def function(it: Local) -> bool:
        return isinstance(it, Local)

    assert there_and_back(function, Local(date(2026, 1, 1))) == ((Local(date(2026, 1, 1)),), {})


def test_a_builtin_without_a_signature_takes_what_json_knows() -> None:
    assert there_and_back(max, 1, 2.5, "x") == ((1, 2.5, "x"), {})


def test_an_annotation_that_cannot_be_evaluated_counts_as_any_and_spoils_only_itself() -> None:
    def function(thing: Unknown, when: datetime) -> None: ...

    args, _ = there_and_back(function, [1], datetime(2026, 1, 1))
    with pytest.raises(TaskArgumentError, match=r"'thing'.*Unknown.*NameError"):
        codec(function).encode((datetime(2026, 1, 1), datetime(2026, 1, 1)), {})

    assert args == ([1], datetime(2026, 1, 1))


def test_more_call_shapes_than_are_remembered_are_no_problem() -> None:
    def function(**more: int) -> None: ...

    one = codec(function)
    for index in range(1000):
        kwargs: dict[str, object] = {f"k{index}": index}
        assert one.decode(one.encode((), kwargs)) == ((), kwargs)


# -- what is refused -----------------------------------------------------------------------------


def send(email: str, when: datetime | None = None) -> None: ...


@pytest.mark.parametrize(
    ("args", "kwargs", "says"),
    [
        ((), {}, r"send\(\) cannot be called like this: missing a required argument: 'email'"),
        (("a", None, 3), {}, r"send\(\).*too many positional arguments"),
        (("a",), {"wen": None}, r"send\(\).*unexpected keyword argument 'wen'"),
        (("a",), {"email": "b"}, r"send\(\).*multiple values for argument 'email'"),
    ],
)
def test_a_call_that_does_not_fit_the_signature_is_refused_at_once(
    args: tuple[object, ...], kwargs: dict[str, object], says: str
) -> None:
    with pytest.raises(TaskArgumentError, match=says):
        codec(send).encode(args, kwargs)


def untyped(thing, other=None):  # type: ignore[no-untyped-def]  # the point of the tests below
    """A function without annotations."""


@pytest.mark.parametrize(
    "value",
    [
        datetime(2026, 1, 1),
        uuid.uuid4(),
        Decimal(1),
        b"x",
        {1},
        (1, 2),
        Word.YES,
        Level.HIGH,
        [1, (2,)],
        {1: "x"},
        {"deep": [datetime(2026, 1, 1)]},
        pathlib.Path("x"),
        Point(1, datetime(2026, 1, 1)),
        User(id=uuid.uuid4()),
    ],
)
def test_without_annotation_only_what_json_knows_is_accepted(value: object) -> None:
    with pytest.raises(TaskArgumentError) as caught:
        codec(untyped).encode((value,), {})

    message = str(caught.value)
    assert "'thing' of untyped()" in message
    assert f"annotate the parameter, e.g. thing: {type(value).__qualname__}" in message


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, "5"),
        (int, 5.5),
        (str, 5),
        (str, None),
        (bool, 2),
        (datetime, "2026-01-01T00:00:00"),
        (date, datetime(2026, 1, 1)),
        (bytes, "abc"),
        (list[int], (1, 2)),
        (list, [datetime(2026, 1, 1)]),
        (tuple, (1, b"x")),
        (dict[str, Any], {"at": datetime(2026, 1, 1)}),
        (Annotated[int, Field(gt=0)], -1),
        (Literal["a"], "b"),
        (Callable[[], None], test_a_builtin_without_a_signature_takes_what_json_knows),
    ],
)
def test_a_value_that_would_come_back_as_something_else_is_refused(
    annotation: object, value: object
) -> None:
    for args, kwargs in (((value,), {}), ((), {"value": value})):
        with pytest.raises(TaskArgumentError, match=r"'value' of .*function\(\) is of type"):
            codec(taking(annotation)).encode(args, kwargs)


class Child(User):
    extra: int = 0


def test_a_subclass_of_a_model_is_refused_because_its_own_fields_would_be_lost() -> None:
    with pytest.raises(TaskArgumentError, match="is of type Child"):
        codec(taking(User)).encode((Child(id=uuid.uuid4(), extra=3),), {})


def test_a_model_that_reads_other_names_than_it_writes_is_refused() -> None:
    with pytest.raises(TaskArgumentError, match="is of type Renamed"):
        codec(taking(Renamed)).encode((Renamed(first="x"),), {})


@pytest.mark.parametrize("annotation", [Any, Opaque])
def test_what_json_cannot_hold_is_refused_with_the_way_out(annotation: object) -> None:
    with pytest.raises(TaskArgumentError) as caught:
        codec(taking(annotation)).encode((Opaque(),), {})

    assert "'value'" in str(caught.value)
    assert "type Opaque" in str(caught.value)
    assert "pass an id instead and load it inside the task" in str(caught.value)


def test_a_value_that_contains_itself_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)

    with pytest.raises(TaskArgumentError, match=r"'value'.*cannot be stored"):
        codec(taking(Any)).encode((endless,), {})


def test_no_message_shows_the_text_of_a_value() -> None:
    for annotation in (int, Any, Colour, datetime | int, User):
        for value in ("hunter2\ud800", {"password": "hunter2", "x": b""}, [b"hunter2"]):
            with pytest.raises(TaskArgumentError) as caught:
                codec(taking(annotation)).encode((value,), {})
            assert "hunter2" not in str(caught.value)
            assert caught.value.__cause__ is None


@pytest.mark.parametrize("annotation", [str, Any, str | uuid.UUID])
def test_a_lone_surrogate_is_refused(annotation: object) -> None:
    with pytest.raises(TaskArgumentError, match=r"'value'.*lone surrogate, which is not text"):
        codec(taking(annotation)).encode(("\ud800",), {})


def test_a_lone_surrogate_inside_of_something_is_refused_too() -> None:
    with pytest.raises(TaskArgumentError, match=r"'value'.*surrogate"):
        codec(taking(list[str])).encode((["\ud800"],), {})


@pytest.mark.parametrize(
    ("annotation", "value"), [(str, "x" * 2000), (str, "ü" * 600), (bytes, b"x" * 2000)]
)
def test_arguments_over_the_limit_are_refused_with_size_limit_and_setting(
    annotation: object, value: object
) -> None:
    with pytest.raises(TaskArgumentError) as caught:
        codec(taking(annotation), max_bytes=1024).encode((value,), {})

    assert "argument 'value' of taking.<locals>.function() takes" in str(caught.value)
    assert "the limit is 1,024" in str(caught.value)
    assert "TASKFLOW_MAX_ARGS_BYTES" in str(caught.value)


@pytest.mark.parametrize(("annotation", "part"), [(bytes, b"x" * 300), (str, "x" * 400)])
def test_many_small_arguments_over_the_limit_are_refused_too(
    annotation: object, part: object
) -> None:
    def function(*parts: object) -> None: ...

    function.__annotations__["parts"] = annotation

    with pytest.raises(
        TaskArgumentError, match=r"the arguments of .*function\(\) take \d,\d+ bytes"
    ):
        codec(function, max_bytes=1024).encode((part,) * 5, {})


def test_arguments_of_exactly_the_limit_are_accepted() -> None:
    text = codec(send).encode(("x" * 100,), {})

    assert codec(send, max_bytes=len(text)).encode(("x" * 100,), {}) == text
    with pytest.raises(TaskArgumentError):
        codec(send, max_bytes=len(text) - 1).encode(("x" * 100,), {})


# -- rows of another time ------------------------------------------------------------------------


def test_stored_arguments_that_do_not_fit_any_more_name_the_parameter() -> None:
    text = codec(taking(Any)).encode(("tomorrow",), {})

    with pytest.raises(TaskArgumentError, match=r"stored argument 'value' of .*datetime"):
        codec(taking(datetime)).decode(text)


def test_stored_arguments_whose_parameter_is_gone_or_new_are_refused() -> None:
    def old(email: str) -> None: ...

    def new(email: str, language: str) -> None: ...

    def renamed(address: str) -> None: ...

    text = codec(old).encode((), {"email": "a"})

    with pytest.raises(TaskArgumentError, match="language"):
        codec(new).decode(text)
    with pytest.raises(TaskArgumentError, match="email"):
        codec(renamed).decode(text)
    with pytest.raises(TaskArgumentError, match="email"):
        codec(old).decode("")


def test_a_model_that_needs_a_new_field_is_named_with_the_field() -> None:
    class Before(BaseModel):
        name: str

    class After(BaseModel):
        name: str
        age: int

    text = codec(taking(Before)).encode((Before(name="x"),), {})

    with pytest.raises(TaskArgumentError, match=r"'value'.*age"):
        codec(taking(After)).decode(text)


@pytest.mark.parametrize("text", ["{", "[]", "7", '{"args":{}}', '{"args":[1],"as":3}', "\x00"])
def test_damaged_text_is_refused_as_such(text: str) -> None:
    with pytest.raises(TaskArgumentError, match="not what taskflow wrote"):
        codec(untyped).decode(text)


@given(st.text())
def test_any_text_either_decodes_or_is_refused(text: str) -> None:
    try:
        args, kwargs = codec(send).decode(text)
    except TaskArgumentError:
        return
    assert len(args) + len(kwargs) >= 1


# -- results -------------------------------------------------------------------------------------


def returns_point() -> Point:
    return Point(1.0, datetime(2026, 1, 1), b"\xff")


def returns_unknown() -> Unknown:
    return 1


async def returns_decimals() -> dict[str, Decimal]:
    return {"a": Decimal("1.50")}


def returns_nothing() -> None: ...


def test_a_result_comes_back_through_the_return_annotation() -> None:
    point, none = encode_result(returns_point(), LIMIT)
    prices, _ = encode_result({"a": Decimal("1.50")}, LIMIT)

    assert none is None
    assert point is not None
    assert prices is not None
    assert decode_result(point, returns_point) == returns_point()
    assert decode_result(prices, returns_decimals) == {"a": Decimal("1.50")}


@pytest.mark.parametrize("function", [None, returns_unknown, returns_nothing, untyped, max])
def test_a_result_without_a_fitting_annotation_comes_back_as_plain_json(
    function: Callable[..., object] | None,
) -> None:
    text, _ = encode_result((1, "x"), LIMIT)

    assert text == '[1,"x"]'
    assert decode_result(text, function) == [1, "x"]


def test_the_result_of_a_callable_that_cannot_be_hashed_is_decoded_all_the_same() -> None:
    class Unhashable(list[int]):
        def __call__(self) -> date: ...  # type: ignore[empty-body]  # only its annotation counts

    assert decode_result('"2026-01-02"', Unhashable()) == date(2026, 1, 2)


def test_nothing_returned_is_nothing_stored() -> None:
    assert encode_result(None, LIMIT) == (None, None)


class HostileError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def hostile_numbers() -> Iterator[int]:
    yield 1
    raise HostileError


@pytest.mark.parametrize("value", [object(), "\ud800", [object()], max, Opaque()])
def test_a_result_that_cannot_be_stored_says_why_and_raises_nothing(value: object) -> None:
    text, error = encode_result(value, LIMIT)

    assert text is None
    assert error is not None
    assert type(value).__qualname__ in error


def test_a_result_that_raises_something_hostile_is_described_all_the_same() -> None:
    endless: list[object] = []
    endless.append(endless)

    for value in (hostile_numbers(), endless):
        text, error = encode_result(value, LIMIT)
        assert text is None
        assert error is not None
        assert type(value).__qualname__ in error


def test_a_result_over_the_limit_is_not_stored_and_says_so() -> None:
    text, error = encode_result("x" * 2000, 1024)

    assert text is None
    assert error is not None
    assert "2,002" in error
    assert "TASKFLOW_MAX_RESULT_BYTES" in error
