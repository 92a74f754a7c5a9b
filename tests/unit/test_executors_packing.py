"""What cannot go to a worker process is refused before it is sent, with the way out."""

from __future__ import annotations

import functools
import pickle
import threading

import pytest

from executors import Call, Failure, ProcessLane, check_picklable
from executors.describe import MAX_TEXT, describe
from executors.packing import pack
from tests.contract import lane_functions as work


def test_a_function_of_a_module_can_be_sent() -> None:
    check_picklable(work.add)
    check_picklable(functools.partial(work.add, 1))


def test_a_lambda_and_a_closure_are_refused_with_the_way_out() -> None:
    def closure() -> None: ...

    for function in (lambda: None, closure):
        with pytest.raises(TypeError, match="top level of a module"):
            check_picklable(function)


@pytest.mark.parametrize(
    ("args", "kwargs", "named"),
    [((1, threading.Lock()), {}, "argument 2"), ((1,), {"right": lambda: 0}, "argument 'right'")],
)
def test_an_argument_that_will_not_pickle_is_named(
    args: tuple[object, ...], kwargs: dict[str, object], named: str
) -> None:
    with pytest.raises(TypeError, match=named):
        pack(work.add, args, kwargs)


def test_a_packed_call_holds_the_function_and_its_arguments() -> None:
    packed = pack(work.add, (1,), {"right": 2})

    assert pickle.loads(packed) == (work.add, (1,), {"right": 2})


async def test_a_lane_refuses_a_bad_call_in_submit_and_keeps_its_place() -> None:
    lane = ProcessLane(limit=1, room=0)
    await lane.start()
    assert lane.reserve()

    with pytest.raises(TypeError, match="argument 1"):
        lane.submit(Call(work.add, (threading.Lock(),)), reserved=True)

    assert (lane.reserved, lane.running) == (1, 0)
    await lane.stop()


# -- exceptions as data ----------------------------------------------------------------------------


def failure_of(function: object) -> Failure:
    try:
        function()  # type: ignore[operator]  # every one of them can be called
    except BaseException as error:
        return describe(error, keep=False)
    raise AssertionError("it did not raise")


def test_an_exception_whose_text_cannot_be_had_is_described_all_the_same() -> None:
    assert "RuntimeError" in failure_of(work.raise_str_raises).message
    assert "SystemExit" in failure_of(work.raise_str_exits).message
    assert failure_of(work.raise_str_exits).type_name == "StrExitsError"


def test_long_texts_are_cut_in_the_middle() -> None:
    failure = failure_of(work.raise_long)

    assert len(failure.message) < MAX_TEXT + 100
    assert "characters left out" in failure.message
    assert failure.traceback.endswith("x\n")


def test_the_frame_that_caught_an_exception_is_left_out() -> None:
    assert "failure_of" not in failure_of(work.raise_hostile).traceback
    assert "raise_hostile" in failure_of(work.raise_hostile).traceback


def test_the_exception_itself_is_kept_only_on_request() -> None:
    error = ValueError("x")

    assert describe(error).exception is error
    assert describe(error, keep=False).exception is None
