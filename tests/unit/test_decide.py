"""What each outcome means for a task."""

from __future__ import annotations

import pytest

from executors.outcomes import Cancelled, Failure, Outcome, Raised, Returned, TimedOut, WorkerLost
from taskflow.decide import Decision, decide
from taskflow.record import TaskRecord
from taskflow.retry import RetryPolicy
from taskflow.signals import Fail, Retry, Snooze
from taskflow.states import Event, TaskStatus

NOW = 1_000.0


def running(**values: object) -> TaskRecord:
    record = TaskRecord("id", "app:send", "io", 0.0, status=TaskStatus.RUNNING, attempt=1)
    for name, value in values.items():
        setattr(record, name, value)
    return record


def raised(error: BaseException) -> Raised:
    return Raised(Failure.of(error))


def decided(
    outcome: Outcome,
    record: TaskRecord | None = None,
    policy: RetryPolicy | None = None,
    *,
    draw: float = 0.5,
    max_crashes: int = 3,
    stopping: bool = False,
    started: bool = True,
) -> Decision:
    return decide(
        outcome,
        record or running(),
        policy or RetryPolicy(),
        now=NOW,
        draw=lambda: draw,
        max_crashes=max_crashes,
        stopping=stopping,
        started=started,
    )


def test_a_returned_value_is_a_success() -> None:
    assert decided(Returned(None)).event is Event.SUCCEED


def test_an_error_without_attempts_left_fails_and_names_the_type() -> None:
    decision = decided(raised(ValueError("no such user")))

    assert decision.event is Event.FAIL
    assert decision.error == "ValueError: no such user"
    assert decision.stacktrace is not None and "ValueError: no such user" in decision.stacktrace


def test_an_error_without_a_message_is_named_by_its_type_alone() -> None:
    assert decided(raised(KeyError())).error == "KeyError"


@pytest.mark.parametrize(("attempt", "wait"), [(1, 10.0), (2, 20.0), (3, 40.0)])
def test_the_wait_grows_with_each_attempt(attempt: int, wait: float) -> None:
    policy = RetryPolicy(retries=5, delay=10.0, backoff=2.0)

    decision = decided(raised(OSError()), running(attempt=attempt, max_attempts=6), policy)

    assert decision.event is Event.RETRY
    assert decision.run_at == NOW + wait


def test_jitter_draws_from_zero_to_the_whole_wait() -> None:
    policy = RetryPolicy(retries=5, delay=10.0, jitter=True)
    record = running(max_attempts=6)

    waits = [decided(raised(OSError()), record, policy, draw=d).run_at for d in (0.0, 0.5, 0.999)]

    assert waits == [NOW, NOW + 5.0, NOW + 9.99]


def test_only_errors_in_retry_on_are_tried_again_subclasses_included() -> None:
    policy = RetryPolicy(retries=5, retry_on=("builtins.OSError",))
    record = running(max_attempts=6)

    assert decided(raised(ConnectionResetError()), record, policy).event is Event.RETRY
    assert decided(raised(ValueError()), record, policy).event is Event.FAIL


def test_dont_retry_on_wins_over_retry_on() -> None:
    policy = RetryPolicy(
        retries=5, retry_on=("builtins.OSError",), dont_retry_on=("builtins.FileNotFoundError",)
    )

    assert decided(raised(FileNotFoundError()), running(max_attempts=6), policy).event is Event.FAIL


def test_an_error_of_the_main_module_is_recognised_from_a_worker_process() -> None:
    policy = RetryPolicy(retries=1, retry_on=("__main__.Busy",))
    failure = Failure(("__mp_main__.Busy", "builtins.Exception"), "", "")

    assert decided(Raised(failure), running(max_attempts=2), policy).event is Event.RETRY


def test_a_timeout_is_an_error_like_any_other() -> None:
    decision = decided(TimedOut(1.0, "cancelled"), running(max_attempts=2))

    assert decision.event is Event.RETRY
    assert decision.error == "timed out after 1.0 s (cancelled)"


def test_a_timeout_is_covered_by_retry_on_timeout_error() -> None:
    covering = RetryPolicy(retries=1, retry_on=("builtins.TimeoutError",))
    other = RetryPolicy(retries=1, retry_on=("builtins.ValueError",))
    record = running(max_attempts=2)

    assert decided(TimedOut(1.0, "cancelled"), record, covering).event is Event.RETRY
    assert decided(TimedOut(1.0, "cancelled"), record, other).event is Event.FAIL


def test_a_dead_worker_process_fails_the_task_with_the_signal() -> None:
    decision = decided(WorkerLost("SIGSEGV"))

    assert decision.event is Event.FAIL
    assert decision.error == "worker process died: SIGSEGV"
    assert decision.crashed


def test_a_task_that_keeps_killing_workers_is_quarantined_whatever_attempts_are_left() -> None:
    record = running(max_attempts=100)

    assert decided(WorkerLost("SIGSEGV"), record).event is Event.RETRY
    record.crashes = 2
    decision = decided(WorkerLost("SIGSEGV"), record)

    assert decision.event is Event.FAIL
    assert decision.error == "worker process died: SIGSEGV (quarantined: it killed 3 workers)"


def test_retry_with_a_wait_of_its_own_spends_an_attempt() -> None:
    record = running(max_attempts=2)

    decision = decided(raised(Retry("rate limited", after=30)), record, RetryPolicy(delay=1.0))

    assert (decision.event, decision.run_at, decision.spent) == (Event.RETRY, NOW + 30, True)
    assert decision.error == "Retry: rate limited"
    assert decided(raised(Retry()), running(max_attempts=1)).event is Event.FAIL


def test_retry_is_obeyed_even_where_retry_on_names_other_errors() -> None:
    policy = RetryPolicy(retries=1, retry_on=("builtins.ValueError",))

    assert decided(raised(Retry()), running(max_attempts=2), policy).event is Event.RETRY


def test_snooze_costs_nothing() -> None:
    decision = decided(raised(Snooze(after=60)))

    assert (decision.event, decision.run_at, decision.spent) == (Event.SNOOZE, NOW + 60, False)


def test_fail_ends_the_task_whatever_attempts_are_left() -> None:
    decision = decided(raised(Fail("no such user")), running(max_attempts=9))

    assert decision.event is Event.FAIL
    assert decision.error == "no such user"


def test_a_cancelled_attempt_is_cancelled() -> None:
    assert decided(Cancelled("its coroutine was cancelled")).event is Event.CANCEL


def test_an_attempt_cut_by_a_stop_goes_back_at_no_cost() -> None:
    decision = decided(Cancelled("killed"), stopping=True)

    assert (decision.event, decision.spent) == (Event.HAND_BACK, False)


def test_a_task_that_may_run_only_once_is_interrupted_by_a_stop() -> None:
    record = running(at_most_once=True)

    assert decided(Cancelled("killed"), record, stopping=True).event is Event.INTERRUPT


def test_a_task_that_may_run_only_once_goes_back_if_its_code_never_started() -> None:
    record = running(at_most_once=True)

    decision = decided(Cancelled("before it started"), record, stopping=True, started=False)

    assert decision.event is Event.HAND_BACK


def test_an_exception_whose_str_raises_still_has_an_error() -> None:
    class Nasty(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert decided(raised(Nasty())).error == ("Nasty: <str() of the exception raised RuntimeError>")
