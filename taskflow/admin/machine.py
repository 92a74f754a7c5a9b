"""The process of the app, the machine under it and the event loop, as the admin shows them."""

from __future__ import annotations

import os

import psutil

from executors.limits import available_memory, cpu_allowance
from executors.sampler import HostSample, ProcessSample
from executors.stalls import Stall
from taskflow.admin.lane_models import AppState, Durations, HostState, LoopState, StallState
from taskflow.admin.lanes import percent
from taskflow.admin.values import moment
from taskflow.stalls import StallWatch, advice, name_of

#: So many stalls are told of, and so many characters of where the loop was and of other threads.
MOST_STALLS = 10
LONGEST_STACK = 4000
#: Where the stack of the loop's thread ends and those of others begin.
_OTHERS = "Meanwhile, in thread "


def present_app(sample: ProcessSample | None) -> AppState:
    """This process, as it was looked at last."""
    if sample is None:
        return AppState(pid=os.getpid(), cpu_percent=None, rss=None, threads=None, fds=None)
    return AppState(
        pid=sample.pid,
        cpu_percent=percent(sample.cpu_percent),
        rss=sample.rss,
        threads=sample.threads,
        fds=sample.fds,
    )


def present_host(sample: HostSample | None, *, cgroup: bool) -> HostState | None:
    """The machine, or the part of it that this process may use."""
    if sample is None:
        return None
    return HostState(
        cpus=sample.cpus,
        cpu_percent=percent(sample.cpu_percent),
        load=None if sample.load is None else [round(load, 2) for load in sample.load],
        memory_limit=sample.memory.limit,
        memory_used=sample.memory.used,
        memory_percent=round(sample.memory.percent, 1),
        cgroup=cgroup,
    )


def present_loop(stalls: StallWatch, lag: Durations) -> LoopState:
    """How late the event loop was, and what held it."""
    return LoopState(
        lag=lag,
        stall_threshold=stalls.threshold or None,
        stalls=[_present_stall(stall) for stall in stalls.recent[:MOST_STALLS]],
    )


def is_limited_by_cgroup() -> bool:
    """Whether this process may use less than the machine has; reads some small files."""
    if cpu_allowance().quota is not None:
        return True
    return available_memory() < psutil.virtual_memory().total


def _present_stall(stall: Stall) -> StallState:

    return StallState(
        at=moment(stall.at),
        duration=round(stall.duration, 6),
        culprit=name_of(stall),
        hint=advice(stall),
        cpu_share=round(stall.cpu_share, 3),
        stack=shorten_stack(stall.stack),
    )


def shorten_stack(stack: str) -> str:
    """The innermost calls of a long stack, and the first of other threads."""
    own, mark, others = stack.partition(_OTHERS)
    if len(own) > LONGEST_STACK:
        own = f"…{own[-LONGEST_STACK:]}"
    rest = mark + others
    return own + (rest if len(rest) <= LONGEST_STACK else f"{rest[:LONGEST_STACK]}…")
