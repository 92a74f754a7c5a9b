"""What the admin answers and is told about many tasks at a time, as types."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from taskflow.admin.models import Moment
from taskflow.query import LONGEST
from taskflow.states import TaskStatus

Action = Literal["retry", "cancel", "discard"]


class Names(BaseModel):
    """What may stand in a query."""

    tasks: list[str]
    queues: list[str]
    lanes: list[str]
    statuses: list[TaskStatus]


class Counts(BaseModel):
    """How many tasks match a query, whatever its words about the status are."""

    counts: dict[TaskStatus, int]
    total: int
    #: False: there are too many to count; these are some of them.
    complete: bool


class ErrorItem(BaseModel):
    """Tasks that failed for good with errors that are alike."""

    fingerprint: str
    #: Error, function and id of the last of them.
    error: str
    func_name: str
    count: int
    first_at: Moment
    last_at: Moment
    sample_task_id: str
    #: How many in each 24th of the time asked for, oldest first.
    trend: list[int]


class ErrorList(BaseModel):
    """Groups of errors, the one with the newest first."""

    items: list[ErrorItem]
    #: From here on everything was looked at; later than asked for if that was too much.
    since: Moment


class BulkQuery(BaseModel):
    """What is to be done to all tasks that match a query."""

    model_config = ConfigDict(extra="forbid")

    action: Action
    query: str = Field(max_length=LONGEST)


class BulkOrder(BulkQuery):
    """The same, after a look at the preview."""

    #: ``count`` of the preview.
    expected: Annotated[int, Field(ge=0, le=2**53)]
    #: ``complete`` of the preview: what was not counted to the end cannot have changed.
    complete: bool = True


class BulkPreview(BaseModel):
    """What an action would be done to; nothing was changed."""

    action: Action
    query: str
    #: Tasks that match and are in a state that allows the action.
    count: int
    #: False: there are more than could be counted.
    complete: bool
    #: At most so many are done by one call.
    cap: int
    #: How many of which function, the most first; at most 50 functions.
    tasks: dict[str, int]
    oldest: Moment | None
    newest: Moment | None


class BulkDone(BaseModel):
    """What a call has done."""

    done: int
    #: How many of ``done`` were told to end, and may run still.
    asked: int
    #: Those whose function this instance does not know; they stay as they are.
    unknown: int
    #: Those that changed meanwhile.
    skipped: int
    #: How many match still, with ``asked`` and ``unknown``: the next call's ``expected``.
    left: int
    #: Whether these are all: the next call's ``complete``.
    complete: bool


class Edited(BaseModel):
    """Arguments for a new task of the same function; what is left out is empty."""

    model_config = ConfigDict(extra="forbid")

    args: list[Any] | None = None
    kwargs: dict[str, Any] | None = None

    def __bool__(self) -> bool:
        return self.args is not None or self.kwargs is not None
