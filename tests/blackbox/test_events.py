"""The event stream over HTTP: what is told, who may resume, how it ends."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from taskflow import TaskAdmin, TaskManager
from tests.apps.server import PATIENCE, Server, until

Event = tuple[str, str, Any]


class Stream:
    """An open stream; its events gather in a list."""

    def __init__(self, url: str, last: str = "") -> None:
        self.events: list[Event] = []
        self.ended = threading.Event()
        self._url = f"{url}/tasks/events"
        self._headers = {"Last-Event-ID": last} if last else {}
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        self._client = httpx.Client(timeout=PATIENCE, trust_env=False)
        self._thread.start()
        until(lambda: self.of("hello"), "the stream says hello")
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._thread.join()

    def _read(self) -> None:
        try:
            with self._client.stream("GET", self._url, headers=self._headers) as answer:
                assert answer.headers["content-type"].startswith("text/event-stream")
                assert answer.headers["cache-control"] == "no-store"
                for event in read(answer.iter_lines()):
                    self.events.append(event)
        except (httpx.HTTPError, RuntimeError):
            pass  # it was closed, here or there
        finally:
            self.ended.set()

    def of(self, name: str) -> list[Any]:
        return [data for event, _, data in tuple(self.events) if event == name]

    def tasks(self) -> dict[str, dict[str, Any]]:
        """What is known of each task by now."""
        known: dict[str, dict[str, Any]] = {}
        for data in self.of("tasks"):
            for task in data["tasks"]:
                known.setdefault(task["task_id"], {}).update(task)
        return known

    def until_success(self, task_id: str) -> None:
        until(lambda: self.tasks().get(task_id, {}).get("status") == "success", "it is told")


def read(lines: Iterator[str]) -> Iterator[Event]:
    name = seq = data = ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "id":
            seq = value
        elif field == "data":
            data = value
        elif not line and name:
            yield name, seq, json.loads(data)
            name = seq = data = ""


def test_a_task_is_told_of_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    with Server(tmp_path) as server, Stream(server.url) as stream:
        (task_id,) = server.add("async")

        stream.until_success(task_id)

        told = stream.tasks()[task_id]
        assert told["func_name"] == server.http.get(f"/tasks/{task_id}").json()["func_name"]
        assert told["lane"] == "async"
        assert told["end_time"] >= told["start_time"] >= told["created_at"]
        until(lambda: stream.of("board") and stream.of("metrics"), "the boards")
        assert [it["name"] for it in stream.of("board")[0]["items"]] == ["async", "io", "cpu"]
        until(lambda: stream.of("metrics")[-1]["counts"]["success"] == 1, "it is counted")
        assert stream.of("hello")[0]["resumed"] is False
        assert stream.of("resync") == []


def test_a_stream_that_comes_back_hears_what_it_missed_and_nothing_twice_for_long(
    tmp_path: Path,
) -> None:
    with Server(tmp_path) as server:
        with Stream(server.url) as stream:
            (first,) = server.add("async")
            stream.until_success(first)
            last = [seq for _, seq, _ in stream.events if seq][-1]
        (missed,) = server.add("async")
        server.wait_until_done([missed])

        with Stream(server.url, last) as again:
            assert again.of("hello")[0]["resumed"] is True
            again.until_success(missed)
            assert first not in again.tasks()

        with Stream(server.url, "0.0.0.0") as stranger:
            assert stranger.of("hello")[0]["resumed"] is False


def test_a_stream_that_comes_back_after_a_restart_hears_what_happened_before_it_did(
    tmp_path: Path,
) -> None:
    with Server(tmp_path) as server:
        with Stream(server.url) as stream:
            stream.until_success(*server.add("async"))
            last = [seq for _, seq, _ in stream.events if seq][-1]
        server.terminate()
        server.start()
        server.wait_until_up()
        missed = server.add("async")
        server.wait_until_done(missed)

        with Stream(server.url, last) as again:  # the first one that this process serves
            assert again.of("hello")[0]["resumed"] is True
            again.until_success(*missed)


def test_tasks_of_another_instance_are_told_of_and_any_instance_can_resume(tmp_path: Path) -> None:
    other_folder = tmp_path / "other"
    other_folder.mkdir()
    with (
        Server(tmp_path) as one,
        Server(other_folder, database=tmp_path / "tasks.db") as other,
        Stream(one.url) as stream,
    ):
        (task_id,) = other.add("async")
        stream.until_success(task_id)
        last = [seq for _, seq, _ in stream.events if seq][-1]

        with Stream(other.url, last) as again:
            assert again.of("hello")[0]["resumed"] is True


@pytest.fixture(params=["uvicorn", "gunicorn"])
def make_server(request: pytest.FixtureRequest) -> Callable[[Path], Server]:
    if request.param == "uvicorn":
        return Server
    return lambda folder: Server(
        folder, gunicorn=True, flags=("-k", "uvicorn_worker.UvicornWorker")
    )


def test_streams_end_when_the_server_is_told_to_stop(
    tmp_path: Path, make_server: Callable[[Path], Server]
) -> None:
    with make_server(tmp_path) as server, ExitStack() as stack, ThreadPoolExecutor(5) as pool:
        # All at once, as when an app is back.
        opening = [pool.submit(lambda: Stream(server.url).__enter__()) for _ in range(5)]
        streams = [each.result() for each in opening]
        for stream in streams:
            stack.push(stream.__exit__)
        began = time.monotonic()
        server.signal(signal.SIGTERM)

        assert all(stream.ended.wait(PATIENCE) for stream in streams)

        # Without a word from us the server would wait for the clients to go, for ever.
        assert time.monotonic() - began < 5.0
        assert [stream.of("bye") for stream in streams] == [[{}]] * 5
        server.wait_for_exit()


def test_a_client_that_does_not_read_does_not_keep_the_server_from_ending(tmp_path: Path) -> None:
    with Server(tmp_path) as server, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", server.port))
        deaf.sendall(b"GET /tasks/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert deaf.recv(12) == b"HTTP/1.1 200"
        with Stream(server.url) as stream:
            sent = 0
            while sent < 5_000_000:  # far more than any buffer between the two takes
                server.wait_until_done(server.add(*["async"] * 200))
                sent = sum(len(json.dumps(event)) for event in tuple(stream.events))

            took = server.terminate()

        assert took < 5.0


async def test_streams_end_when_code_stops_a_server_that_hears_no_signals(tmp_path: Path) -> None:
    app = FastAPI()
    TaskAdmin(app, TaskManager(tmp_path / "tasks.db"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        signal_before = signal.getsignal(signal.SIGTERM)
        serving = asyncio.create_task(server._serve([listener]))  # without its signal handlers
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        while not server.started:
            await asyncio.sleep(0.01)
        stream = await asyncio.to_thread(Stream(url).__enter__)

        server.should_exit = True
        async with asyncio.timeout(PATIENCE):
            await serving

        await asyncio.to_thread(stream.__exit__)
        assert stream.of("bye") == [{}]
        assert signal.getsignal(signal.SIGTERM) is signal_before
