"""A server that many ask at once, that is changed meanwhile, that strangers are slow with, and that ends."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
from command_line import run
from serving import TOKEN, Server, garment, serve, wait_for

from fashion_tuning.model.classifier import Classifier

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

JPEG = {"content-type": "image/jpeg"}
BEARER = {"authorization": f"Bearer {TOKEN}"}


def ask(client: httpx.Client, photo: bytes) -> httpx.Response:
    return client.post("/v1/predict", content=photo, headers=JPEG)


class Load:
    """Clients that ask again and again; `answers` counts (status, version) of what came, `broken` what did not."""

    def __init__(self, server: Server, *, clients: int) -> None:
        self.answers: Counter[tuple[int, str]] = Counter()
        self.broken: list[Exception] = []
        self._server, self._clients = server, clients
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(place,)) for place in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(60)

    def _work(self, place: int) -> None:
        photo = garment("hat", place)
        with self._server.client(headers=BEARER) as client:
            while not self._end.is_set():
                try:
                    answer = ask(client, photo)
                except httpx.HTTPError as error:
                    self.broken.append(error)
                    return
                version = answer.json()["model"]["version"] if answer.status_code == 200 else ""
                self.answers[answer.status_code, version] += 1


@pytest.fixture(scope="module")
def other(make_model: Callable[..., Path]) -> Path:
    return make_model(2)


@pytest.fixture
def changing(model: Path, tmp_path: Path) -> Path:
    """A folder whose model a test may replace."""
    folder = tmp_path / "served"
    folder.mkdir()
    shutil.copy(model, folder / "model.keras")
    return folder


def put(path: Path, folder: Path) -> None:
    """Replaces a folder's model in one step."""
    shutil.copy(path, folder / "new")
    (folder / "new").replace(folder / "model.keras")


def test_a_new_model_is_taken_under_load_and_a_bad_one_refused(
    changing: Path, model: Path, other: Path, tmp_path: Path
) -> None:
    options = ("--model", str(changing), "--token", TOKEN, "--rate", "0", "--poll", "0")
    with serve(tmp_path, *options) as server, server.client(headers=BEARER) as client:
        first = client.get("/v1/categories").json()["model"]["version"]
        with Load(server, clients=4) as load:
            wait_for(lambda: load.answers[200, first] > 10)
            (changing / "bad").write_bytes(model.read_bytes()[:100_000])
            (changing / "bad").replace(changing / "model.keras")
            refused = client.post("/v1/reload")
            assert (refused.status_code, refused.json()["type"]) == (409, "/docs#reload-failed")
            assert f"version {first} goes on" in refused.json()["detail"]
            put(other, changing)
            taken = client.post("/v1/reload")
            assert (taken.status_code, taken.json()["changed"]) == (200, True)
            second = taken.json()["model"]["version"]
            wait_for(lambda: load.answers[200, second] > 10)
        assert second != first
        assert (load.broken, {status for status, _ in load.answers}) == ([], {200})
        assert client.post("/v1/reload").json()["changed"] is False
        expected = next(Classifier(other).answers([garment()])).probabilities
        found = ask(client, garment()).json()["results"][0]["categories"]
        assert sorted(one["probability"] for one in found) == pytest.approx(sorted(expected), abs=1e-4)
        text = client.get("/metrics").text
        assert 'fashion_reloads_total{outcome="taken"} 1.0' in text
        assert 'fashion_reloads_total{outcome="refused"} 1.0' in text
        assert f'fashion_model{{name="served",version="{second}"}} 1.0' in text


def test_a_new_model_is_found_by_the_poll(changing: Path, other: Path, tmp_path: Path) -> None:
    with serve(tmp_path, "--model", str(changing), "--poll", "0.2") as server, server.client() as client:
        first = client.get("/v1/categories").json()["model"]["version"]
        (changing / "bad").write_bytes(b"no model")
        (changing / "bad").replace(changing / "model.keras")
        wait_for(lambda: any("the model stays" in line for line in server.said))
        assert ask(client, garment()).json()["model"]["version"] == first
        put(other, changing)
        wait_for(lambda: client.get("/v1/categories").json()["model"]["version"] != first)
        assert sum("the model stays" in line for line in server.said) == 1


def test_the_end_answers_what_is_in_hand_and_comes_in_time(model: Path, tmp_path: Path) -> None:
    with serve(tmp_path, "--model", str(model), "--rate", "0") as server:
        photos = [garment("shoes", index) for index in range(16)]
        with ThreadPoolExecutor(16) as pool, server.client(limits=httpx.Limits(max_connections=16)) as client:
            asked = [pool.submit(ask, client, photo) for photo in photos]
            wait_for(lambda: queued(server) >= 4)
            started = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            answers = [one.result() for one in asked]
        assert server.process.wait(10) == 0
        assert time.monotonic() - started < 10
        assert {answer.status_code for answer in answers} == {200}
        with pytest.raises(httpx.ConnectError), server.client() as client:
            client.get("/healthz")
        assert "Traceback" not in "".join(server.said)


def queued(server: Server) -> float:
    """Pictures that are read, wait or are computed."""
    with server.client() as client:
        found = re.search(r"^fashion_queue_pictures (\S+)$", client.get("/metrics").text, re.MULTILINE)
    assert found is not None
    return float(found[1])


def test_ctrl_c_is_a_regular_end(model: Path, tmp_path: Path) -> None:
    with serve(tmp_path, "--model", str(model)) as server:
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(10) == 0


def test_an_upload_that_hangs_does_not_hold_up_the_end(model: Path, tmp_path: Path) -> None:
    with serve(tmp_path, "--model", str(model)) as server, connected(server) as line:
        line.sendall(b"POST /v1/predict HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nbegun")
        time.sleep(0.5)
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(12)
        assert time.monotonic() - started < 10


def connected(server: Server) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def until_closed(line: socket.socket) -> bytes:
    """All that the server says before it closes the line."""
    return b"".join(iter(lambda: line.recv(10_000), b""))


def test_slow_clients_are_told_so(model: Path, tmp_path: Path) -> None:
    with serve(tmp_path, "--model", str(model)) as server:
        started = time.monotonic()
        with connected(server) as silent, connected(server) as headers, connected(server) as body:
            headers.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n")
            body.sendall(b"POST /v1/predict HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nbegun")
            for line in (silent, headers, body):
                answer = until_closed(line)
                assert answer.startswith(b"HTTP/1.1 408")
                assert b"slow-upload" in answer
        assert 9 < time.monotonic() - started < 25


def test_more_than_there_are_places_for_is_refused_at_once(model: Path, tmp_path: Path) -> None:
    photo = garment()
    many = [("file", (f"{place}.jpg", photo)) for place in range(16)]
    with serve(tmp_path, "--model", str(model), "--rate", "0") as server, ThreadPoolExecutor(12) as pool:

        def ask_many(_: int) -> tuple[httpx.Response, float]:
            with server.client() as client:
                started = time.monotonic()
                return client.post("/v1/predict", files=many), time.monotonic() - started

        found = list(pool.map(ask_many, range(12)))
        refused = [(answer, seconds) for answer, seconds in found if answer.status_code == 503]
        assert {answer.status_code for answer, _ in found} == {200, 503}
        slowest = max(seconds for _, seconds in found)
        for answer, seconds in refused:
            assert answer.json()["type"] == "/docs#busy"
            assert int(answer.headers["retry-after"]) >= 1
            assert seconds < slowest
        with server.client() as client:
            assert ask(client, photo).status_code == 200


def test_a_client_that_asks_too_often_waits(model: Path, tmp_path: Path) -> None:
    with serve(tmp_path, "--model", str(model), "--rate", "3") as server, server.client() as client:
        answers = [ask(client, b"no photo") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [415, 415, 415, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 20
        assert client.get("/healthz").status_code == 200


def test_a_token_guards_all_but_the_page_and_the_state(model: Path, tmp_path: Path) -> None:
    with serve(tmp_path, "--model", str(model), "--rate", "0", FASHION_TUNING_TOKEN=TOKEN) as server:
        with server.client() as client:
            for path, status in (
                ("/", 200),
                ("/docs", 200),
                ("/healthz", 200),
                ("/readyz", 200),
                ("/v1/categories", 401),
                ("/metrics", 401),
            ):
                assert client.get(path).status_code == status, path
            for given in ("", TOKEN, f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x", "Bearer \u00e9"):
                answer = client.get("/v1/categories", headers={"authorization": given.encode("latin-1")})
                assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert client.post("/v1/predict", content=bytes(9_000_000), headers=JPEG).status_code == 401
        with server.client(headers=BEARER) as client:
            assert client.get("/v1/categories").status_code == 200
            assert client.get("/metrics").status_code == 200


def test_memory_stays_where_it_is(model: Path, tmp_path: Path) -> None:
    """The short form of the load test in tests/benchmarks/serving.py."""
    with serve(tmp_path, "--model", str(model), "--rate", "0") as server:
        process = psutil.Process(server.process.pid)

        def spend(seconds: float) -> int:
            with Load(server, clients=16) as load:
                time.sleep(seconds)
            assert (load.broken, {status for status, _ in load.answers}) == ([], {200})
            return process.memory_info().rss

        before = spend(15)
        after = spend(15)
        assert after < before * 1.05


def test_mistakes_are_told_before_anything_is_served(model: Path, tmp_path: Path) -> None:
    for options, code, said in (
        (("--model", str(tmp_path)), 2, "no model in"),
        (("--model", "gone.keras"), 2, "no model in gone.keras"),
        (("--engine", "abacus"), 2, "keras, litert"),
        (("--model", str(model), "--average-views"), 2, "a model that was trained with views"),
        (("--token", "short"), 2, "at least 16"),
        ((), 2, "no tracking store"),
        (("--model", str(model), "--host", "192.0.2.1"), 2, "an address of this machine"),
        (("--model", str(model), "--feedback", str(model)), 2, "a file that serve --feedback made"),
    ):
        done = run("serve", *options, folder=tmp_path, PYTHONWARNINGS="ignore")
        assert (done.returncode, said in done.stderr) == (code, True), (options, done.stderr)
        assert "Traceback" not in done.stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("serve", "--model", str(model), "--port", str(port), folder=tmp_path)
        assert (done.returncode, f"--port {port + 1}" in done.stderr) == (2, True)


@pytest.fixture
def anywhere(model: Path, tmp_path: Path) -> Iterator[Server]:
    with serve(tmp_path, "--model", str(model), "--host", "0.0.0.0") as server:
        yield server


def test_another_address_without_a_token_is_warned_of(anywhere: Server) -> None:
    assert any("anybody there may use it; --token limits that" in line for line in anywhere.said)
