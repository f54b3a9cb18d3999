"""The API of a real server process over real HTTP: what it answers, and what it answers to what it can't."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import corpus
import httpx
import pytest
from serving import Server, garment, serve, wait_for

from fashion_tuning.model.classifier import Classifier
from fashion_tuning.service.limits import Limits
from fashion_tuning.service.problems import KINDS, MEDIA_TYPE
from fashion_tuning.stderr_gate import LINES_PER_MINUTE

JPEG = {"content-type": "image/jpeg"}


# Of the session: where tests run side by side, a module's are dealt out in several portions.
@pytest.fixture(scope="session")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    with serve(folder, "--model", str(model), "--rate", "0", "--feedback", "choices.db", TMPDIR=str(folder)) as server:
        yield server


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def files(*contents: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    return [("file", (f"{place}.jpg", content)) for place, content in enumerate(contents)]


def problem(answer: httpx.Response, kind: str) -> dict[str, object]:
    """The problem of an answer, which has to be of that kind."""
    assert answer.headers["content-type"] == MEDIA_TYPE, answer.text
    found = answer.json()
    assert (found["type"], found["status"], found["title"]) == (
        f"/docs#{kind}",
        KINDS[kind].status,
        KINDS[kind].title,
    ), found
    assert answer.status_code == KINDS[kind].status
    assert found["detail"]
    assert found["request_id"] == answer.headers["x-request-id"]
    return found


def test_the_same_numbers_as_in_the_process(client: httpx.Client, model: Path) -> None:
    photos = [garment(label, index) for label in ("dress", "shoes") for index in range(3)]
    classifier = Classifier(model)
    expected = [answer.probabilities for answer in classifier.answers(photos)]
    together = client.post("/v1/predict", files=files(*photos)).json()["results"]
    alone = [client.post("/v1/predict", content=photo, headers=JPEG).json()["results"][0] for photo in photos]
    for probabilities, *found in zip(expected, together, alone, strict=True):
        assert probabilities is not None
        for one in found:
            values = {row["category"]: row["probability"] for row in one["categories"]}
            assert [values[name] for name in classifier.class_names] == pytest.approx(probabilities, abs=1e-4)


def test_an_answer_names_model_and_request_and_ranks_all_categories(client: httpx.Client) -> None:
    answer = client.post("/v1/predict", files=files(garment()), headers={"x-request-id": "mine-1"})
    found = answer.json()
    assert (answer.status_code, found["request_id"], answer.headers["x-request-id"]) == (200, "mine-1", "mine-1")
    assert found["model"]["name"] == "model"
    (result,) = found["results"]
    probabilities = [row["probability"] for row in result["categories"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    assert (result["category"], result["probability"]) == tuple(result["categories"][0].values())
    assert (result["file"], result["problem"]) == ("0.jpg", None)
    assert result["unsure"] == (result["probability"] < 0.2)
    known = client.get("/v1/categories").json()
    assert sorted(known["categories"]) == sorted(row["category"] for row in result["categories"])
    assert (known["unsure_below"], known["feedback"]) == (0.2, True)


def test_an_id_that_is_no_plain_word_is_replaced(client: httpx.Client) -> None:
    answer = client.get("/healthz", headers={"x-request-id": "a b<script>"})
    assert len(answer.headers["x-request-id"]) == 32


def test_a_bad_file_among_good_ones(client: httpx.Client) -> None:
    answer = client.post("/v1/predict", files=files(garment(), b"no photo", garment("hat"), b""))
    good, bad, other, empty = answer.json()["results"]
    assert answer.status_code == 200
    assert good["category"]
    assert other["category"]
    assert (bad["problem"]["status"], bad["categories"]) == (415, [])
    assert (empty["problem"]["status"], empty["category"]) == (422, None)


def test_bad_files_alone_are_a_problem_with_all_results(client: httpx.Client) -> None:
    found = problem(client.post("/v1/predict", files=files(b"no photo", b"")), "no-picture")
    assert [one["problem"]["status"] for one in found["results"]] == [415, 422]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [*corpus.ODD, *corpus.HOSTILE])
def test_odd_and_hostile_files(client: httpx.Client, name: str) -> None:
    if name in corpus.ODD:
        content, right = corpus.ODD[name](), {200}
    else:
        make, right = corpus.HOSTILE[name]
        content = make()
    answer = client.post("/v1/predict", content=content, headers={"content-type": "application/octet-stream"})
    assert answer.status_code in right, answer.text
    if answer.status_code == 200:
        assert answer.json()["results"][0]["category"]
    else:
        assert answer.headers["content-type"] == MEDIA_TYPE
        assert "Traceback" not in answer.text
    assert client.get("/readyz").status_code == 200


def test_the_corpus_is_large_enough() -> None:
    assert len(corpus.ODD) + len(corpus.HOSTILE) >= 60


def test_the_content_decides_and_not_the_name_or_the_type(client: httpx.Client) -> None:
    found = client.post("/v1/predict", files=[("file", ("a.exe", garment(format="PNG"), "text/html"))])
    assert found.status_code == 200
    assert client.post("/v1/predict", content=garment(format="WEBP"), headers=JPEG).status_code == 200


def test_what_is_no_request_for_a_picture(client: httpx.Client) -> None:
    def sent(body: bytes, kind: str) -> httpx.Response:
        return client.post("/v1/predict", content=body, headers={"content-type": kind})

    form = "multipart/form-data; boundary=x"
    disposition = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    problem(sent(b"{}", "application/json"), "unsupported")
    problem(sent(b"a=b", "application/x-www-form-urlencoded"), "unsupported")
    problem(sent(b"", "image/jpeg"), "malformed")
    problem(sent(b"", form), "malformed")
    problem(sent(b"--x--\r\n", form), "malformed")
    problem(sent(garment(), "multipart/form-data"), "malformed")
    problem(sent(garment(), form), "malformed")
    problem(sent(disposition + b"cut", form), "malformed")
    problem(sent(disposition.replace(b'name="file"; ', b"") + b"\r\n--x--\r\n", form), "malformed")
    problem(client.post("/v1/predict", data={"name": "value"}, files=files(garment())), "malformed")
    problem(client.post("/v1/predict", files=files(*[b"x"] * (Limits().files + 1))), "too-many-files")
    problem(client.get("/v1/predict"), "method")
    problem(client.get("/v2/predict"), "not-found")
    problem(client.get("/static/../../etc/passwd"), "not-found")


def test_a_body_that_is_too_large_is_refused_by_its_header_and_by_its_length(client: httpx.Client) -> None:
    large = bytes(Limits().body_bytes + 1)
    problem(client.post("/v1/predict", content=large, headers=JPEG), "too-large")
    problem(client.post("/v1/predict", content=iter([large[:6_000_000]] * 2), headers=JPEG), "too-large")
    assert client.post("/v1/predict", content=garment(), headers=JPEG).status_code == 200


def test_headers_that_browsers_obey(client: httpx.Client) -> None:
    for path in ("/", "/docs", "/openapi.json", "/v1/categories", "/nowhere"):
        headers = client.get(path, headers={"origin": "https://elsewhere.example"}).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert not [name for name in headers if name.startswith("access-control-")]
        assert "server" not in headers


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/healthz", "/readyz", "/metrics", "/v1/categories"])
def test_head_is_get_without_a_body(client: httpx.Client, path: str) -> None:
    get, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert int(head.headers["content-length"]) > 0
    assert "HEAD" in client.delete(path).headers["allow"]


def test_head_of_what_is_not_to_be_read(client: httpx.Client) -> None:
    assert client.head("/v1/predict").status_code == 405
    assert client.head("/nowhere").status_code == 404
    assert "head" not in client.get("/openapi.json").json()["paths"]["/healthz"]


def test_pages_ask_nothing_of_others(client: httpx.Client) -> None:
    for path in ("/", "/docs"):
        page = client.get(path).text
        assert page.startswith("<!doctype html>")
        for found in ("https://", "http://"):
            assert [line for line in page.splitlines() if found in line and "127.0.0.1" not in line] == []
    assert all(f'id="{kind}"' in client.get("/docs").text for kind in KINDS)


def test_figures_for_prometheus(client: httpx.Client) -> None:
    client.post("/v1/predict", content=garment(), headers=JPEG)
    client.post("/v1/predict", content=b"no photo", headers=JPEG)
    text = client.get("/metrics").text
    for line in (
        'fashion_requests_total{path="/v1/predict",status="200"}',
        'fashion_errors_total{kind="no-picture"}',
        'fashion_request_seconds_bucket{le="0.1",path="/v1/predict"}',
        "fashion_queue_pictures 0.0",
        "fashion_batch_pictures_bucket",
        'fashion_model{name="model"',
        "fashion_predictions_total{category=",
        "process_resident_memory_bytes",
    ):
        assert line in text


def test_what_libraries_print_is_counted_and_kept_out_of_the_log(server: Server, client: httpx.Client) -> None:
    def printed() -> float:
        lines = client.get("/metrics").text.splitlines()
        return float(next(line for line in lines if line.startswith("fashion_library_lines_total")).split()[1])

    before, log, started = printed(), len(server.said), time.monotonic()
    for number in range(1, 4):
        assert client.post("/v1/predict", content=corpus.fax(), headers=JPEG).status_code == 200
        wait_for(lambda number=number: printed() - before > 1900 * number)
    minutes = 1 + (time.monotonic() - started) / 60
    assert len(server.said) - log <= (LINES_PER_MINUTE + 1) * minutes  # and a line a minute that sums up the rest


def test_each_problem_is_counted_once(client: httpx.Client) -> None:
    def count() -> float:
        lines = client.get("/metrics").text.splitlines()
        return sum(
            float(line.split()[-1]) for line in lines if line.startswith('fashion_errors_total{kind="no-picture"')
        )

    for photos, problems in (([b"no photo"], 1), ([b"no", b"photo"], 2), ([garment(), b"no photo"], 1)):
        before = count()
        client.post("/v1/predict", files=files(*photos))
        assert count() == before + problems


def choose(client: httpx.Client, photo: bytes, category: str, **more: object) -> httpx.Response:
    """Asks for an answer and chooses."""
    (result,) = client.post("/v1/predict", content=photo, headers=JPEG).json()["results"]
    return client.post("/v1/feedback", data={"id": result["id"], "category": category, **more.pop("data", {})}, **more)  # type: ignore[arg-type, dict-item]


def test_choices_are_kept_and_pictures_only_by_consent(client: httpx.Client) -> None:
    photo = garment("hat", 3)
    image = {"image": ("image", photo)}
    kept = choose(client, photo, "hat", files={"consent": (None, "false")})
    assert (kept.status_code, kept.json()["image"]) == (200, False)
    kept = choose(client, photo, "hat", data={"consent": "true"}, files=image)
    assert (kept.status_code, kept.json()["image"]) == (200, True)
    problem(choose(client, photo, "hat", files=image), "invalid")
    problem(choose(client, garment("hat", 4), "hat", data={"consent": "true"}, files=image), "invalid")
    problem(choose(client, photo, "sock", files={"consent": (None, "false")}), "invalid")
    problem(choose(client, photo, "hat"), "unsupported")
    problem(client.post("/v1/feedback", files={"id": (None, "x"), "category": (None, "hat")}), "not-found")


def test_a_reload_needs_a_server_with_a_token(client: httpx.Client) -> None:
    problem(client.post("/v1/reload"), "forbidden")


def test_a_request_that_is_no_http(server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    for sent in (
        b"\x16\x03\x01\0\xa5" * 20,
        b"GET / HTTP/1.1\r\nx: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GARBAGE\r\n\r\n",
    ):
        with socket.create_connection((host, int(port)), timeout=10) as line:
            line.sendall(sent)
            line.settimeout(10)
            try:
                answer = line.recv(1000)
            except ConnectionResetError:
                continue
        assert answer.startswith(b"HTTP/1.1 400")


def test_who_goes_away_in_the_middle_harms_nobody(server: Server, client: httpx.Client) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    for _ in range(5):
        with socket.create_connection((host, int(port)), timeout=10) as line:
            line.sendall(b"POST /v1/predict HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n" + bytes(1000))
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset, as a crash does
    assert client.post("/v1/predict", content=garment(), headers=JPEG).status_code == 200
    assert "Traceback" not in "".join(server.said)
