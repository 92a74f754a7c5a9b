"""Which errors count as the same."""

from __future__ import annotations

import time

import pytest

from taskflow.fingerprint import fingerprint, plain_message


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("E: order 17 is gone", "E: order 4711 is gone"),
        ("E: no file '/tmp/a b'", "E: no file '/tmp/c'"),
        ('KeyError: "x"', 'KeyError: "a longer key"'),
        ("E: can't open 'a'", "E: can't open 'b'"),
        ("E: <object at 0x7f3a01>", "E: <object at 0x55ffee10>"),
        ("E: 0190a1b2-aaaa-7bbb-8ccc-0123456789ab", "E: 0190a1b2-ffff-7bbb-8ccc-0123456789ff"),
        ("E: user ada@example.org", "E: user bob.b@example.com"),
        ("E: https://a.example/x?y=1 failed", "E: http://b.example failed"),
        ("timed out after 1.0 s", "timed out after 30 s"),
        ("E: order ord_81jd92 is gone", "E: order ord_77ab01 is gone"),
    ],
)
def test_errors_that_differ_in_values_are_alike(one: str, other: str) -> None:
    assert plain_message(one) == plain_message(other)
    assert fingerprint("app:send", one) == fingerprint("app:send", other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ValueError: no", "KeyError: no"),
        ("E: can't read 'a'", "E: can't write 'a'"),
        ("worker process died: SIGSEGV", "worker process died: SIGKILL"),
    ],
)
def test_errors_that_say_something_else_are_not_alike(one: str, other: str) -> None:
    assert fingerprint("app:send", one) != fingerprint("app:send", other)


def test_the_task_and_the_innermost_function_count_and_the_line_does_not() -> None:
    trace = 'Traceback\n  File "/srv/a.py", line {}, in {}\n    raise E\nE: no'

    first = fingerprint("app:send", "E: no", trace.format(3, "call"))

    assert first == fingerprint("app:send", "E: no", trace.format(99, "call"))
    assert first == fingerprint("app:send", "E: no", trace.format(3, "call").replace("/srv", "/x"))
    assert first != fingerprint("app:send", "E: no", trace.format(3, "other"))
    assert first != fingerprint("app:resize", "E: no", trace.format(3, "call"))


def test_a_fingerprint_is_twelve_digits_in_every_process() -> None:
    assert fingerprint("app:send", "E: no") == "e435081708be"


@pytest.mark.parametrize("text", ["'" * 50_000, "a1" * 50_000, "x@" * 50_000, "1." * 50_000])
def test_a_long_message_is_looked_at_in_no_time(text: str) -> None:
    began = time.perf_counter()
    fingerprint("app:send", text, f'File "{text}')

    assert time.perf_counter() - began < 1


def test_text_that_is_no_unicode_has_a_fingerprint() -> None:
    assert len(fingerprint("app:send", "E: \ud800")) == 12
