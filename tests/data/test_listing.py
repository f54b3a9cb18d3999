"""What is a photo: passed over, followed and left out, the same wherever a folder is read."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import PROGRAM, PROJECT, clean_environment, run
from hypothesis import given
from hypothesis import strategies as st
from photo_folders import class_folders, photo, split_folders

from fashion_tuning.data.decode import UnreadableImageError, read
from fashion_tuning.data.joined import labelled_photos
from fashion_tuning.data.listing import (
    HIDDEN,
    SIDECARS,
    SYSTEM_NAMES,
    LeftOut,
    describe_entries,
    list_files,
    list_folders,
)
from fashion_tuning.data.source import open_dataset
from fashion_tuning.service.predict import photo_files

README = (PROJECT / "README.md").read_text(encoding="utf-8")
LEFT_BEHIND = (
    *("lost+found", ".Trash-1000", ".directory", "__MACOSX", "._1.png", ".DS_Store", "Icon\r", "Thumbs.db"),
    *("desktop.ini", "Desktop.ini", "$RECYCLE.BIN", "System Volume Information", "@eaDir", "#recycle", "#snapshot"),
    *(".@__thumb", "@Recycle", ".ipynb_checkpoints", "__pycache__", ".stfolder", "~syncthing~1.png.tmp", "~$1.png"),
    *("mlruns", "mlflow.db", "mlflow.db-journal", ".mlflow.db.lock"),
)


def leave_behind(folder: Path) -> None:
    """Puts all of LEFT_BEHIND into a folder, the one half as files, the other as folders with a photo in each."""
    for number, name in enumerate(LEFT_BEHIND):
        if Path(name).suffix:
            (folder / name).write_bytes(b"no photo")
        else:
            photo(folder / name / "0.png" / "SYNOPHOTO_THUMB_M.jpg", seed=50_000 + number)


@pytest.mark.parametrize("layout", [class_folders, split_folders])
def test_what_systems_leave_behind_changes_no_data_set(tmp_path: Path, layout: Callable[[Path], Path]) -> None:
    root = layout(tmp_path / "photos")
    before = open_dataset(root, cache_dir=tmp_path / "cache").verification
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    for folder in folders:
        leave_behind(folder)
    assert open_dataset(root, cache_dir=tmp_path / "cache").verification == before


def test_joined_folders_and_predictions_follow_the_same_rule(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "photos", each=2)
    files = {f"{label}/{number}.png" for label in ("dress", "hat") for number in (0, 1)}
    for parent in (folder, folder / "hat"):
        leave_behind(parent)
    photos, left_out = labelled_photos(folder, ("dress", "hat"))
    assert ({path.relative_to(folder).as_posix() for path, _, _ in photos}, left_out) == (files, ())
    photos, left_out = photo_files([folder])
    assert ({path.relative_to(folder).as_posix() for path in photos}, left_out) == (files, [])


@given(names=st.lists(st.sampled_from([*LEFT_BEHIND, "a.png", "b.JPG", "c", "d.heic", "é.webp"]), unique=True))
def test_the_order_is_that_of_the_names_whatever_the_disk_says(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in random.sample(names, len(names)):
            Path(folder, name).touch()
        listing = list_files(Path(folder))
    assert listing.files == tuple(sorted(name for name in names if name not in LEFT_BEHIND))
    assert listing.left_out == ()


def links(root: Path) -> None:
    """In hat/: a linked folder and photo, and links that lead back up."""
    class_folders(root.parent / "elsewhere", labels=("more",), each=2, first=900)
    (root / "hat" / "more").symlink_to(root.parent / "elsewhere" / "more")
    (root / "hat" / "linked.png").symlink_to(root.parent / "elsewhere" / "more" / "0.png")
    (root / "hat" / "self").symlink_to(".")
    (root / "hat" / "all").symlink_to("..")
    (root.parent / "elsewhere" / "more" / "back").symlink_to(root / "hat")


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "photos")
    links(root)
    (root / "all").symlink_to(".")
    (root / "disk").symlink_to("/")
    dataset = open_dataset(root, cache_dir=tmp_path / "cache")
    paths = {photo.path for photo in dataset.manifest.photos}
    assert {"hat/more/0.png", "hat/more/1.png", "hat/linked.png"} < paths
    assert len(paths) == 23
    assert {entry.path for entry in dataset.verification.left_out} == {
        "all",
        "disk",
        "hat/all",
        "hat/more/back",
        "hat/self",
    }
    # The same file reached twice is a duplicate.
    assert ["hat/linked.png", "hat/more/0.png"] in [
        [pair.first, pair.second] for pair in dataset.verification.duplicates
    ]
    files, left_out = photo_files([root])
    assert {path.relative_to(root).as_posix() for path in files} == paths
    assert len(left_out) == 5
    assert {entry.reason for entry in left_out} == {"a link to a folder that it lies in"}
    photos, left_out = labelled_photos(root, ("dress", "hat"))
    assert {path.relative_to(root).as_posix() for path, _, _ in photos} == paths
    assert len(left_out) == 5


def test_a_linked_class_folder_is_a_class(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "photos", labels=("dress",))
    class_folders(tmp_path / "elsewhere", labels=("hat",), first=500)
    (root / "hat").symlink_to(tmp_path / "elsewhere" / "hat")
    assert open_dataset(root, cache_dir=tmp_path / "cache").manifest.classes == ("dress", "hat")


def test_pipes_sockets_devices_and_sidecars_are_left_out_unopened(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "photos")
    before = open_dataset(root, cache_dir=tmp_path / "cache").manifest
    os.mkfifo(root / "hat" / "pipe")
    (root / "hat" / "zero").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(root / "hat" / "socket"))  # a socket's name has 108 characters at most
        for number in range(10):  # far more than 1% of the files
            (root / "dress" / f"{number}.json").write_text("{}")
        os.mkfifo(root / "dress" / "pipe.txt")
        done = run("data", "--data", str(root), "--json", folder=tmp_path)
        assert done.returncode == 0, done.stderr
        dataset = json.loads(done.stdout)
        assert dataset["digest"] == before.digest
        reasons = {entry["path"]: entry["reason"] for entry in dataset["left_out"]}
        assert reasons == {
            **{f"dress/{number}.json": "a .json file, not a photo" for number in range(10)},
            "dress/pipe.txt": "a pipe, not a file",
            "hat/pipe": "a pipe, not a file",
            "hat/socket": "a socket, not a file",
            "hat/zero": "a device, not a file",
        }
        joined = open_dataset(split_folders(tmp_path / "base"), joining=[root], cache_dir=tmp_path / "cache")
    assert {entry.path for entry in joined.verification.left_out} == {str(root / path) for path in reasons}
    files, left_out = photo_files([root])
    assert (len(files), {entry.path for entry in left_out}) == (20, {str(root / path) for path in reasons})


def test_links_to_nothing_and_unreadable_files_are_told_and_counted(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "photos", each=100)
    (root / "hat" / "gone.png").symlink_to("nowhere.png")
    (root / "hat" / "circle.png").symlink_to("circle.png")
    verification = open_dataset(root, cache_dir=tmp_path / "cache").verification
    assert [(entry.path, entry.reason) for entry in verification.left_out] == [
        ("hat/circle.png", "Too many levels of symbolic links"),
        ("hat/gone.png", "a link to nothing"),
    ]
    files, _ = photo_files([root])
    assert root / "hat" / "gone.png" in files  # predict says of it what it is


def test_a_pipe_that_is_named_is_read_if_somebody_writes_to_it(tmp_path: Path) -> None:
    photo(tmp_path / "a.png", seed=1)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadableImageError, match="nobody writes"):
        read(tmp_path / "pipe")
    reading, writing = os.pipe()  # what a shell makes of <(curl ...)

    def write() -> None:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write((tmp_path / "a.png").read_bytes())

    thread = threading.Thread(target=write)
    thread.start()
    assert read(Path(f"/dev/fd/{reading}")).format == "PNG"
    thread.join()
    os.close(reading)
    with pytest.raises(UnreadableImageError, match="a device"):
        read(Path("/dev/zero"))


def test_many_sidecars_take_a_few_lines() -> None:
    entries = [LeftOut(f"{number}.json", "a .json file, not a photo") for number in range(3000)]
    lines = describe_entries([LeftOut("a.png", "broken"), *entries])
    assert len(lines) == 7
    assert lines[-1] == "and 2,995 more: a .json file, not a photo"


def report(folder: Path) -> None:
    """As `report` writes it."""
    for name in ("history", "cost"):
        photo(folder / f"{name}.png", seed=1)
        (folder / f"{name}.svg").write_text("<svg/>")
    (folder / "report.html").write_text("<!doctype html>")


def test_what_the_program_writes_among_the_photos_is_no_class(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "photos")
    before = open_dataset(root, cache_dir=root / "cache").verification
    report(root / "reports" / "xception-150")
    report(root / "reports" / "course")
    report(root / "out")
    photo(root / "mlruns" / "1" / ("a" * 32) / "artifacts" / "views.png", seed=2)
    (root / "fashion-classifier-1" / "variables").mkdir(parents=True)
    (root / "fashion-classifier-1" / "saved_model.pb").touch()
    (root / "mlflow.db").touch()
    assert open_dataset(root, cache_dir=root / "cache").verification == before
    assert len(photo_files([root])[0]) == 20


def test_a_class_may_have_the_name_of_an_output(tmp_path: Path) -> None:
    labels = ("cache", "reports", "weights")
    root = class_folders(tmp_path / "photos", labels=labels)
    (root / "reports" / "report.html").write_text("a page that somebody has saved")
    assert open_dataset(root, cache_dir=tmp_path / "cache").manifest.classes == labels
    assert list_folders(root) == list(labels)


def test_a_cache_of_another_program_is_no_class(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "photos", labels=("dress", "hat", "thumbnails", "tagged"))
    (root / "thumbnails" / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n# by somebody\n")
    (root / "tagged" / "CACHEDIR.TAG").write_text("no such signature")
    assert list_folders(root) == ["dress", "hat", "tagged"]


def test_a_copy_of_the_classes_among_them_is_left_out_with_a_line(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "photos")
    before = open_dataset(root, cache_dir=tmp_path / "cache").manifest
    class_folders(root / "chosen", labels=("hat",), first=700)
    photo(root / "loose.png", seed=800)
    dataset = open_dataset(root, joining=[root / "chosen"], cache_dir=tmp_path / "cache")
    assert len(dataset.manifest.photos) == len(before.photos) + 10
    assert {entry.path: entry.reason for entry in dataset.verification.left_out} == {
        "chosen/": "no class, but a folder of classes itself: hat/",
        "loose.png": "in no class's folder",
    }


def test_deep_folders_are_listed(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(1200):  # deeper than Python calls itself
        folder = folder / "d"
        folder.mkdir()
    photo(tmp_path / "d" / "d" / "a.png", seed=1)
    assert list_files(tmp_path).files == ("d/d/a.png",)
    (tmp_path / "d" / "d" / "a.png").unlink()
    while folder != tmp_path:  # pytest calls itself for each when it cleans up
        folder.rmdir()
        folder = folder.parent


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/usr/bin/setpriv").exists(), reason="root reads everything")
def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "photos")
    (root / "hat" / "private").mkdir(mode=0)
    prefix = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*prefix, *PROGRAM, "data", "--data", str(root)],
        cwd=tmp_path,
        env=clean_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, str(root / "hat" / "private") in done.stderr) == (3, True), done.stderr


def test_the_table_of_the_readme_names_what_the_rule_names() -> None:
    section = README[README.index("### What is a photo") :]
    shown = section[: section.index("\n## ")].lower()
    for name in SYSTEM_NAMES - {"icon\r"}:
        assert f"`{name}`" in shown, name
    for beginning in set(HIDDEN) - {"."}:
        assert f"`{beginning}" in shown, beginning
    assert set(shown.replace("`", " ").split()) >= SIDECARS
