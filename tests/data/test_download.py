"""The download, against a server of our own on this machine."""

import hashlib
import io
import socket
import stat
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fashion_tuning.data.download import COMMIT, download_photos, shipped_manifest
from fashion_tuning.data.manifest import SPLITS, Manifest, Photo
from fashion_tuning.errors import DataError, DiskError, PhotosUnreachableError

FILES = {"train/hat/1.jpg": b"one", "validation/hat/2.jpg": b"two", "test/dress/3, 4.jpg": b"three"}


def manifest_of(files: dict[str, bytes]) -> Manifest:
    return Manifest(
        tuple(
            Photo(path, hashlib.sha256(content).hexdigest(), path.split("/")[1], path.split("/")[0])
            for path, content in files.items()
        )
    )


MANIFEST = manifest_of(FILES)


def archive(files: dict[str, bytes], *, top: str = "photos-1234/") -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr(top, b"")
        for path, data in files.items():
            target.writestr(top + path, data)
    return content.getvalue()


class Server(ThreadingHTTPServer):
    """Answers every request with `body`, or only its first `cut` bytes."""

    daemon_threads = True
    body = archive(FILES)
    status = 200
    cut: int | None = None
    chunked = False
    num_requests = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/photos.zip"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.num_requests += 1
        self.send_response(self.server.status)
        if not self.server.chunked:
            self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body[: self.server.cut])

    def log_message(self, *_arguments: object) -> None:
        """Tests read what the program prints, not what the server does."""


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server(("127.0.0.1", 0), Handler) as one:
        thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield one
        one.shutdown()
        thread.join()


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def nothing_remains(target: Path) -> bool:
    return {path.name for path in target.parent.iterdir()} <= {f".{target.name}.lock"}


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("progress", [False, True])
def test_good_archive(server, tmp_path, progress, chunked):
    server.chunked = chunked
    server.body = archive(FILES | {"LICENSE": b"CC0"})
    target = tmp_path / "cache" / "photos"
    download_photos(target, url=server.url, manifest=MANIFEST, progress=progress)
    assert files_below(target) == FILES
    assert {path.name for path in target.parent.iterdir()} <= {"photos", ".photos.lock"}


def test_photos_that_are_there_are_not_fetched_again(server, tmp_path):
    for _ in range(2):
        download_photos(tmp_path / "photos", url=server.url, manifest=MANIFEST)
    assert server.num_requests == 1


def test_two_at_once_fetch_once(server, tmp_path):
    threads = [
        threading.Thread(
            target=download_photos, args=[tmp_path / "photos"], kwargs={"url": server.url, "manifest": MANIFEST}
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert files_below(tmp_path / "photos") == FILES
    assert server.num_requests == 1


@pytest.mark.parametrize("changed", [{"train/hat/1.jpg": b"other"}, {"train/hat/1.jpg": b""}])
def test_a_different_photo_is_refused(server, tmp_path, changed):
    server.body = archive(FILES | changed)
    with pytest.raises(DataError, match=r"1 of 3 photos.*train/hat/1\.jpg differs") as caught:
        download_photos(tmp_path / "photos", url=server.url, manifest=MANIFEST)
    assert not isinstance(caught.value, PhotosUnreachableError)
    assert nothing_remains(tmp_path / "photos")


def test_a_missing_photo_is_refused(server, tmp_path):
    server.body = archive({path: content for path, content in FILES.items() if path != "train/hat/1.jpg"})
    with pytest.raises(DataError, match=r"train/hat/1\.jpg is missing"):
        download_photos(tmp_path / "photos", url=server.url, manifest=MANIFEST)
    assert nothing_remains(tmp_path / "photos")


def test_a_member_broken_inside_the_archive_is_refused(server, tmp_path):
    noise = hashlib.shake_256(b"noise").digest(5000)
    files = FILES | {"train/hat/9.jpg": noise}
    body = bytearray(archive(files))
    middle = body.index(b"photos-1234/train/hat/9.jpg") + 2500
    body[middle : middle + 40] = bytes(40)
    server.body = bytes(body)
    with pytest.raises(DataError, match=r"train/hat/9\.jpg is missing or broken"):
        download_photos(tmp_path / "photos", url=server.url, manifest=manifest_of(files))


def test_a_member_far_too_large_is_not_unpacked(server, tmp_path):
    files = {"train/hat/bomb.jpg": bytes(50_000_001)}
    server.body = archive(files)
    with pytest.raises(DataError, match=r"train/hat/bomb\.jpg is missing or broken"):
        download_photos(tmp_path / "photos", url=server.url, manifest=manifest_of(files))


def test_no_member_leaves_the_folder(server, tmp_path):
    content = io.BytesIO(archive(FILES))
    with zipfile.ZipFile(content, "a") as target:
        target.writestr("photos-1234/../../evil.txt", b"evil")
        target.writestr("photos-1234/../evil.txt", b"evil")
        target.writestr("/evil.txt", b"evil")
        link = zipfile.ZipInfo("photos-1234/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        target.writestr(link, "/etc")
    server.body = content.getvalue()
    download_photos(tmp_path / "cache" / "photos", url=server.url, manifest=MANIFEST)
    assert files_below(tmp_path / "cache" / "photos") == FILES
    assert not list(tmp_path.rglob("*evil*"))
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_a_link_in_place_of_a_photo_is_refused(server, tmp_path):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as target:
        link = zipfile.ZipInfo("photos-1234/train/hat/1.jpg")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        target.writestr(link, "/etc/passwd")
    server.body = content.getvalue()
    with pytest.raises(DataError, match=r"train/hat/1\.jpg differs"):
        download_photos(tmp_path / "photos", url=server.url, manifest=manifest_of({"train/hat/1.jpg": b"one"}))
    assert nothing_remains(tmp_path / "photos")


@pytest.mark.parametrize("status", [403, 404, 500])
def test_http_errors(server, tmp_path, status):
    server.status = status
    with pytest.raises(PhotosUnreachableError, match=str(status)) as caught:
        download_photos(tmp_path / "photos", url=server.url, manifest=MANIFEST)
    assert "--data" in caught.value.action
    assert caught.value.__cause__.response.raw.closed  # left open, it is reported whenever it is collected
    assert server.num_requests == 1
    assert nothing_remains(tmp_path / "photos")


@pytest.mark.parametrize("body", [b"", b"<html>Please log in to this network</html>"])
def test_an_answer_that_is_no_archive(server, tmp_path, body):
    server.body = body
    with pytest.raises(PhotosUnreachableError, match="no zip archive"):
        download_photos(tmp_path / "photos", url=server.url, manifest=MANIFEST)
    assert nothing_remains(tmp_path / "photos")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_connection_that_breaks(server, tmp_path, chunked):
    server.cut, server.chunked = 100, chunked
    with pytest.raises(PhotosUnreachableError):
        download_photos(tmp_path / "photos", url=server.url, manifest=MANIFEST)
    assert nothing_remains(tmp_path / "photos")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_connection_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(PhotosUnreachableError, match="Connection refused"):
        download_photos(tmp_path / "photos", url=f"http://127.0.0.1:{free_port()}/photos.zip", manifest=MANIFEST)


def test_a_server_that_never_answers(monkeypatch, tmp_path):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        start = time.monotonic()
        with pytest.raises(PhotosUnreachableError, match="timed out"):
            download_photos(
                tmp_path / "photos",
                url=f"http://127.0.0.1:{silent.getsockname()[1]}/photos.zip",
                manifest=MANIFEST,
                timeout=0.1,
            )
        assert time.monotonic() - start < 5
    assert nothing_remains(tmp_path / "photos")


def test_remains_of_a_killed_download_are_not_taken_for_photos(server, tmp_path):
    remains = tmp_path / ".photos.part-abc" / "photos" / "train"
    remains.mkdir(parents=True)
    (remains / "half.jpg").write_bytes(b"half")
    download_photos(tmp_path / "photos", url=server.url, manifest=MANIFEST)
    assert files_below(tmp_path / "photos") == FILES
    assert not remains.exists()


def test_a_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "cache").touch()
    with pytest.raises(DiskError, match="can't write") as caught:
        download_photos(tmp_path / "cache" / "photos", url=server.url, manifest=MANIFEST)
    assert caught.value.exit_code == 6


def test_shipped_manifest():
    manifest = shipped_manifest()
    counts = {split: sum(numbers.values()) for split, numbers in manifest.counts().items()}
    assert counts == dict(zip(SPLITS, (3068, 341, 372), strict=True))
    assert len(manifest.classes) == 10
    assert manifest.digest == "70d20314c388a60b7fdeb46a0f389dad"
    assert len(COMMIT) == 40
