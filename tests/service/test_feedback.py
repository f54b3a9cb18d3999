"""Choices in their file, and out of it as a labelled folder."""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from command_line import run
from PIL import Image
from serving import encoded, garment

from fashion_tuning.data.encode import as_jpeg
from fashion_tuning.errors import DiskError, UsageError
from fashion_tuning.service import feedback as module
from fashion_tuning.service.feedback import Feedback, Given, export_feedback

GIVEN = Given("fashion-classifier", "1", "hat", 0.9, "0" * 64)


def test_the_newest_choice_of_an_answer_counts(tmp_path: Path) -> None:
    feedback = Feedback(tmp_path / "deep" / "choices.db")
    feedback.store("a", GIVEN, "hat", None)
    feedback.store("a", GIVEN, "shoes", b"x")
    feedback.store("b", GIVEN, "hat", None)
    feedback.close()
    with closing(sqlite3.connect(tmp_path / "deep" / "choices.db")) as connection:
        rows = connection.execute("SELECT id, suggested, category, image FROM feedback ORDER BY id").fetchall()
    assert rows == [("a", "hat", "shoes", b"x"), ("b", "hat", "hat", None)]


def test_answers_are_remembered_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 2)
    feedback = Feedback(tmp_path / "choices.db")
    for id in "abc":
        feedback.remember(id, GIVEN)
    assert [feedback.given(id) for id in "abc"] == [None, GIVEN, GIVEN]
    feedback.close()


def test_pictures_are_exported_by_category(tmp_path: Path) -> None:
    path, folder = tmp_path / "choices.db", tmp_path / "chosen"
    one, other = as_jpeg(garment("hat")), as_jpeg(garment("shoes"))
    feedback = Feedback(path)
    feedback.store("a", GIVEN, "hat", one)
    feedback.store("b", GIVEN, "shoes", other)
    feedback.store("c", GIVEN, "shoes", None)
    assert export_feedback(path, folder) == module.Exported({"hat": 1, "shoes": 1}, 1)
    assert [file.read_bytes() for file in sorted(folder.rglob("*.jpg"))] == [one, other]
    feedback.store("d", GIVEN, "shoes", one)  # the same picture, corrected later
    feedback.close()
    result = run("feedback", "export", "choices.db", "chosen", folder=tmp_path)
    assert result.stdout.splitlines() == ["shoes: 2 pictures", "2 pictures in chosen; 1 choice came without a picture"]
    assert sorted(file.parent.name for file in folder.rglob("*.jpg")) == ["shoes", "shoes"]
    result = run("feedback", "export", "choices.db", "chosen", "--json", folder=tmp_path)
    assert json.loads(result.stdout) == {"pictures": {"shoes": 2}, "without_picture": 1}


def test_an_export_leaves_what_others_put_there(tmp_path: Path) -> None:
    path, folder = tmp_path / "choices.db", tmp_path / "chosen"
    picture = as_jpeg(garment("hat"))
    name = f"{hashlib.sha256(picture).hexdigest()}.jpg"
    feedback = Feedback(path)
    feedback.store("a", GIVEN, "caf\u00e9", picture)
    feedback.close()
    (folder / "@eaDir" / name).mkdir(parents=True)  # a NAS's thumbnails of a picture are a folder of its name
    (folder / "#recycle").mkdir()
    (folder / "#recycle" / name).write_bytes(b"deleted by somebody")
    (folder / "cafe\u0301").mkdir()  # as a Mac writes it
    export_feedback(path, folder)
    assert {file.relative_to(folder).as_posix() for file in folder.rglob("*.jpg") if file.is_file()} == {
        f"#recycle/{name}",
        f"cafe\u0301/{name}",
    }


def test_mistakes(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database, whatever its name says, and long enough to be looked at\n" * 40)
    with pytest.raises(UsageError, match=r"text\.db"):
        Feedback(tmp_path / "text.db")
    with pytest.raises(DiskError, match=r"text\.db"):
        Feedback(tmp_path / "text.db" / "choices.db")
    with pytest.raises(UsageError, match="no file"):
        export_feedback(tmp_path / "gone.db", tmp_path / "out")
    result = run("feedback", "export", "gone.db", "out", folder=tmp_path)
    assert (result.returncode, "serve --feedback wrote" in result.stderr) == (2, True)


def test_what_is_kept_of_a_picture_is_only_what_is_seen() -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker of cameras", 6
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    photo = encoded(Image.new("RGB", (30, 20), "red"), "JPEG", exif=exif, comment=b"at home")
    kept = as_jpeg(photo)
    assert b"Maker" in photo
    assert b"Maker" not in kept
    assert b"home" not in kept
    with Image.open(io.BytesIO(kept)) as image:
        assert (image.size, dict(image.getexif()), image.format) == ((20, 30), {}, "JPEG")
