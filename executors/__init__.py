"""Lanes: bounded places to run calls, on the event loop, in threads, in worker processes."""

from __future__ import annotations

from executors.base import Call, Lane
from executors.errors import ExecutorError, LaneClosedError, LaneFullError
from executors.event_loop import EventLoopLane
from executors.histogram import Histogram, RecentHistogram
from executors.limits import available_cpus, available_memory, memory_usage
from executors.loop_guard import LoopGuard
from executors.mailbox import Mailbox
from executors.outcomes import (
    Cancelled,
    Failure,
    Outcome,
    Raised,
    Returned,
    TimedOut,
    WorkerLost,
)
from executors.packing import check_picklable
from executors.process_slot import WorkerInfo
from executors.processes import ProcessLane
from executors.sampler import HostSample, ProcessSample, Sample, Sampler
from executors.stalls import Stall
from executors.threads import ThreadLane

__all__ = [
    "Call",
    "Cancelled",
    "EventLoopLane",
    "ExecutorError",
    "Failure",
    "Histogram",
    "HostSample",
    "Lane",
    "LaneClosedError",
    "LaneFullError",
    "LoopGuard",
    "Mailbox",
    "Outcome",
    "ProcessLane",
    "ProcessSample",
    "Raised",
    "RecentHistogram",
    "Returned",
    "Sample",
    "Sampler",
    "Stall",
    "ThreadLane",
    "TimedOut",
    "WorkerInfo",
    "WorkerLost",
    "available_cpus",
    "available_memory",
    "check_picklable",
    "memory_usage",
]
