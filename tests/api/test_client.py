"""The client against the real API, also through a line that breaks."""

from __future__ import annotations

import hashlib
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.jobs.finish import finish
from app.jobs.outcome import Outcome
from app.jobs.record import record
from gogooku3.client import ApiError, BuildError, ChecksumError, Client, UnreachableError
from gogooku3.config import DatasetSpec, JobSpec
from gogooku3.events import CheckpointEvent, EpochEvent


class Line:
    """A TCP line to a server that is cut after so many bytes of each answer."""

    def __init__(self, url: str) -> None:
        self._target = (httpx.URL(url).host, httpx.URL(url).port)
        self.cut_after: list[int] = []
        """Bytes after which to cut, one connection each; then the line holds."""
        self.connections = 0
        self.carried = 0
        """Bytes of answers."""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more connections."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._socket.accept()
            except OSError:  # closed
                return
            self.connections += 1
            limit = self.cut_after.pop(0) if self.cut_after else None
            far = socket.create_connection(self._target)
            for one, other, most in ((near, far, None), (far, near, limit)):
                threading.Thread(target=self._carry, args=(one, other, most), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, limit: int | None) -> None:
        left = limit
        try:
            while data := source.recv(65_536 if left is None else min(65_536, left + 1)):
                if limit is not None and left is not None:
                    if len(data) > left:
                        sink.sendall(data[:left])
                        break
                    left -= len(data)
                sink.sendall(data)
                if source.getpeername() == self._target:
                    self.carried += len(data)
        except OSError:  # the other half was cut
            pass
        finally:
            for end in (source, sink):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:  # cut already
                    continue
            source.close()


@pytest.fixture
def line(running: Any) -> Iterator[Line]:
    """A line to the running server."""
    one = Line(running.url)
    yield one
    one.close()


@pytest.fixture
def client(running: Any) -> Iterator[Client]:
    """A client of the running server."""
    with Client(running.url) as one:
        yield one


@pytest.fixture
def far(line: Line) -> Iterator[Client]:
    """A client at the other end of the line."""
    with Client(line.url, retry_for_s=20) as one:
        yield one


Finish = Callable[..., str]


@pytest.fixture
def trained(running: Any, client: Client, spec: dict[str, Any]) -> Finish:
    """Makes a finished job with epochs and one checkpoint of the given content; its id."""

    def make(content: bytes, epochs: int = 3) -> str:
        job = client.jobs.create(spec | {"priority": 1000})
        held = running.claim()
        assert held.job_id == job.id
        folder: Path = running.settings.artifacts / job.id
        folder.mkdir()
        (folder / "epoch.gk3").write_bytes(content)
        (folder / "log.txt").write_text("".join(f"epoch {n}\n" for n in range(epochs)))
        events = [
            EpochEvent(epoch=number, metrics={"valid/ic": number / 100}, duration_s=1.0)
            for number in range(1, epochs + 1)
        ]
        checkpoint = CheckpointEvent(
            epoch=epochs,
            path=f"{job.id}/epoch.gk3",
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            is_best=True,
            metrics={"valid/ic": None},
        )
        with running.database.session() as session:
            record(session, job.id, held.attempt, [*events, checkpoint])
            finish(session, job.id, held.attempt, outcome=Outcome.SUCCEEDED)
        return job.id

    return make


def test_a_job_from_create_to_checkpoint(client: Client, trained: Finish, tmp_path: Path) -> None:
    job_id = trained(b"model")
    job = client.jobs.get(job_id)
    assert job.is_finished
    assert job.state == "succeeded"
    assert job.metrics == {"valid/ic": 0.03}
    assert job.config is not None
    assert client.jobs.wait(job_id).id == job_id
    types = [event.type for event in client.jobs.events(job_id, limit=2)]
    assert types == ["state", "state", "epoch", "epoch", "epoch", "checkpoint", "state"]
    assert [event.type for event in client.jobs.stream(job_id)] == types
    assert [event.seq for event in client.jobs.stream(job_id, after=5)] == [6, 7]
    series = client.jobs.metrics(job_id, names=["valid/ic"])["valid/ic"]
    assert [point.value for point in series.points] == [0.01, 0.02, 0.03]
    assert client.jobs.logs(job_id, tail=1).text == "epoch 2\n"
    assert "".join(client.jobs.follow_logs(job_id)) == "epoch 0\nepoch 1\nepoch 2\n"
    assert [attempt.outcome for attempt in client.jobs.attempts(job_id)] == ["succeeded"]
    (checkpoint,) = client.jobs.checkpoints(job_id)
    assert client.checkpoints.get(checkpoint.id) == checkpoint
    fetched = client.jobs.best_checkpoint(job_id, tmp_path)
    assert fetched == tmp_path / checkpoint.filename
    assert fetched.read_bytes() == b"model"
    assert client.jobs.last_checkpoint(job_id, tmp_path / "x.gk3").read_bytes() == b"model"
    assert list(tmp_path.glob("*.part")) == []


def test_spec_may_be_the_library_s_own_class(client: Client, spec: dict[str, Any]) -> None:
    job = client.jobs.create(JobSpec.model_validate(spec))
    assert job.config_sources is not None
    assert job.config_sources["optimizer.lr"] == "default", "what was not set is not sent"
    assert job.config_sources["model.hidden_size"] == "request"
    assert client.jobs.check(spec)["valid"] is True
    cancelled = client.jobs.cancel(job.id)
    assert (cancelled.id, cancelled.state) == (job.id, "cancelled")


def test_lists_go_over_all_pages(client: Client, spec: dict[str, Any]) -> None:
    made = [client.jobs.create(spec | {"labels": {"g": "client"}}).id for _ in range(5)]
    listed = client.jobs.list(label="g:client", page_size=2, order_by="created_at")
    assert [job.id for job in listed] == made
    assert [job.id for job in client.jobs.list(label="g:client", state=["failed"])] == []
    assert [one.id for one in client.datasets.list()] == ["tiny"]
    assert client.workers() == []
    assert client.version()["api"] == "v1"


def test_a_dataset_from_create_to_delete(running: Any, client: Client) -> None:
    spec = {"name": "mine", "source": {"kind": "synth"}, "priority": 1000}
    job = client.datasets.create(DatasetSpec.model_validate(spec))
    assert (job.kind, job.dataset, job.dataset_fingerprint) == ("dataset", "mine", None)
    assert job.config_sources is not None
    assert job.config_sources["source.stocks"] == "default", "what was not set is not sent"
    assert client.datasets.check(spec | {"name": "other"})["valid"] is True
    with pytest.raises(TimeoutError):
        client.datasets.wait(job, timeout_s=0.1)
    client.jobs.cancel(job.id)
    with pytest.raises(BuildError, match=f"{job.id} cancelled"):
        client.datasets.wait(job.id)
    tiny = client.datasets.get("tiny")
    assert tiny.features[0]["role"] == "stock"
    for call in (client.datasets.get, client.datasets.delete):
        with pytest.raises(ApiError) as caught:
            call("mine")
        assert caught.value.code == "unknown-dataset"


def test_errors_carry_every_problem_and_the_request_id(
    client: Client, spec: dict[str, Any]
) -> None:
    spec["config"]["modle"] = {}
    with pytest.raises(ApiError, match="did you mean 'model'") as caught:
        client.jobs.create(spec)
    assert (caught.value.status, caught.value.code) == (422, "invalid-spec")
    assert caught.value.errors[0]["pointer"] == "/config/modle"
    assert caught.value.request_id.startswith("req_")
    assert caught.value.request_id in str(caught.value)


@pytest.mark.parametrize("job_id", ["job_00000000000000000000000000", "../version", "", "a/b?c#d"])
def test_unknown_job(client: Client, job_id: str) -> None:
    for call in (client.jobs.get, client.jobs.attempts, client.jobs.cancel):
        with pytest.raises(ApiError) as caught:
            call(job_id)
        assert caught.value.status in {404, 405}


def test_create_over_a_line_that_loses_the_answer_is_one_job(
    line: Line, far: Client, client: Client, spec: dict[str, Any]
) -> None:
    line.cut_after = [0, 20, 200]
    job = far.jobs.create(spec | {"labels": {"g": "lost-answer"}})
    assert line.connections == 4
    assert [one.id for one in client.jobs.list(label="g:lost-answer")] == [job.id]


def test_stream_over_a_breaking_line_tells_every_event_once(
    line: Line, far: Client, client: Client, trained: Finish
) -> None:
    job_id = trained(b"model", epochs=40)
    chance = random.Random(1)
    line.cut_after = [chance.randrange(100, 4000) for _ in range(12)]
    seen = [event.seq for event in far.jobs.stream(job_id)]
    assert seen == [event.seq for event in client.jobs.events(job_id)]
    assert line.connections > 3


def test_download_over_a_breaking_line_goes_on_where_it_was(
    line: Line, far: Client, trained: Finish, tmp_path: Path
) -> None:
    content = random.Random(2).randbytes(3_000_000)
    job_id = trained(content)
    checkpoint = far.jobs.checkpoints(job_id)[0]
    far.close()
    line.carried = line.connections = 0
    with Client(line.url) as fresh:
        line.cut_after = [700_000] * 4
        path = fresh.checkpoints.download(checkpoint.id, tmp_path / "model.gk3")
    assert path.read_bytes() == content
    assert line.connections == 5
    assert line.carried < 1.3 * len(content), "nothing that had arrived was sent again"


def test_download_of_an_earlier_process_is_taken_up(
    running: Any, client: Client, trained: Finish, tmp_path: Path
) -> None:
    content = random.Random(3).randbytes(2_000_000)
    checkpoint = client.jobs.checkpoints(trained(content))[0]
    part = tmp_path / "model.gk3.part"
    for begun in (content[:1_500_000], b"x" * 10, b"x" * len(content), content + b"too long"):
        part.write_bytes(begun)
        path = client.checkpoints.download(checkpoint.id, tmp_path / "model.gk3")
        assert path.read_bytes() == content
        assert not part.exists()


def test_file_that_is_not_the_recorded_one_is_not_kept(
    running: Any, client: Client, trained: Finish, tmp_path: Path
) -> None:
    job_id = trained(b"model")
    (running.settings.artifacts / job_id / "epoch.gk3").write_bytes(b"m0del")
    with pytest.raises(ChecksumError):
        client.jobs.best_checkpoint(job_id, tmp_path / "model.gk3")
    assert list(tmp_path.iterdir()) == []


def test_waiting_has_an_end(client: Client, spec: dict[str, Any]) -> None:
    job = client.jobs.create(spec | {"priority": -1000})
    with pytest.raises(TimeoutError, match="queued"):
        client.jobs.wait(job.id, timeout_s=0.5)
    cancelling = threading.Timer(0.5, client.jobs.cancel, (job.id,))
    cancelling.start()
    assert client.jobs.wait(job.id, timeout_s=30).state == "cancelled"
    cancelling.join()


def test_log_is_followed_to_its_end(running: Any, client: Client, spec: dict[str, Any]) -> None:
    job = client.jobs.create(spec | {"priority": 1000})
    held = running.claim()
    path: Path = running.settings.artifacts / job.id / "log.txt"
    path.parent.mkdir()

    def work() -> None:
        for number in range(5):
            with path.open("a") as file:
                file.write(f"line {number}\n")
            time.sleep(0.2)
        with running.database.session() as session:
            finish(session, job.id, held.attempt, outcome=Outcome.SUCCEEDED)

    worker = threading.Thread(target=work)
    worker.start()
    assert "".join(client.jobs.follow_logs(job.id)) == "".join(f"line {n}\n" for n in range(5))
    worker.join()


def test_server_that_is_away_is_said_to_be(spec: dict[str, Any]) -> None:
    with Client("http://127.0.0.1:1", retry_for_s=0.5) as client:
        with pytest.raises(UnreachableError, match="is the server up"):
            client.jobs.create(spec)
        with pytest.raises(UnreachableError):
            next(client.jobs.stream("job_x"))


def test_server_that_comes_back_is_waited_for(line: Line, far: Client) -> None:
    line.cut_after = [0] * 5
    assert far.version()["api"] == "v1"
    assert line.connections == 6


def test_something_else_at_the_address_is_named(tmp_path: Path) -> None:
    server = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        near, _ = server.accept()
        near.recv(65_536)
        near.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\noops")
        near.close()

    thread = threading.Thread(target=answer)
    thread.start()
    url = f"http://127.0.0.1:{server.getsockname()[1]}"
    with Client(url) as client, pytest.raises(ApiError, match="not-the-api"):
        client.version()
    thread.join()
    server.close()


def test_address_and_key_come_from_the_environment(
    running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOGOOKU3_URL", running.url + "/")
    monkeypatch.setenv("GOGOOKU3_API_KEY", "gk_wrong")
    with Client() as client:
        assert client.url == running.url
        with pytest.raises(ApiError) as caught:
            next(client.jobs.list())
    assert caught.value.status == 401
