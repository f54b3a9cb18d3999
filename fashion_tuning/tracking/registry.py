"""Registered models: their versions, aliases, and the files behind them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Final

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, DataType, Schema

from fashion_tuning.backend import choose_backend
from fashion_tuning.errors import StoreError, UsageError
from fashion_tuning.fail_points import passed
from fashion_tuning.files import sha256_of
from fashion_tuning.tracking.artifacts import artifacts
from fashion_tuning.tracking.store import Store

MODEL = "fashion-classifier"
CANDIDATE, CHAMPION = "candidate", "champion"
FOLDER: Final = "model"
DIGEST: Final = "fashion.model_sha256"  # tag of a version: what its file has to be
_FILE: Final = "data/model.keras"
_REQUIRED = ("keras", "mlflow", "numpy", "pandas", "pillow")


@dataclass(frozen=True)
class Version:
    """A version of a registered model.

    Args:
      run_id: The final run that made it.
      tags: What stands in the registry of it.
    """

    name: str
    number: str
    run_id: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_drawn(self) -> bool:
        """Whether it was made of drawn garments."""
        return self.name == model_name(drawn=True)

    def __str__(self) -> str:
        return f"{self.name} version {self.number}"


def model_name(*, drawn: bool) -> str:
    """Name of the registered model; drawn garments have one of their own."""
    return f"{MODEL}-drawn" if drawn else MODEL


def pack(model: Path, target: Path, *, class_names: Sequence[str], example: bytes) -> None:
    """Writes an MLflow model: the Keras file, and this package to load it with, wherever that is.

    Args:
      model: A whole model's .keras file, named model.keras.
      example: An encoded photo.
      target: A folder that does not exist yet.
    """
    package, backend = Path(__file__).parents[1], choose_backend()
    # Without the build that a version may name after "+": an index need not have it.
    required = {name: metadata.version(name).partition("+")[0] for name in (backend, *_REQUIRED)}
    signature = ModelSignature(
        inputs=Schema([ColSpec(DataType.binary, "image")]),
        outputs=Schema([ColSpec(DataType.double, name) for name in class_names]),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow's own types, and of type hints that this way has no place for
        import mlflow.pyfunc

        # MLflow puts the file beside its own: data/model.keras.
        mlflow.pyfunc.save_model(
            target,
            loader_module=f"{package.name}.model.classifier",
            data_path=str(model),
            code_paths=[str(package)],
            pip_requirements=[f"{name}=={version}" for name, version in required.items()],
            signature=signature,
            input_example={"image": [example]},
        )


def register(store: Store, run_id: str, folder: Path, *, name: str, tags: Mapping[str, str]) -> Version:
    """Stores an MLflow model with a run and makes it a version of a registered model, once.

    Raises:
      StoreError, DiskError: The store refuses.
    """
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        inside = path.parent.relative_to(folder)
        store.upload(run_id, path, f"{FOLDER}/{inside.as_posix()}" if inside.parts else FOLDER)

    def operation(client: MlflowClient) -> Version:
        try:
            client.create_registered_model(name, description="Suggests the category of a garment from its photo.")
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        known = client.search_model_versions(f"run_id = '{run_id}'")
        version = (
            known[0]
            if known
            else client.create_model_version(name, source=f"runs:/{run_id}/{FOLDER}", run_id=run_id, tags=dict(tags))
        )
        return _version_of(version)

    version = store.call(operation)
    passed("version")
    return version


def version_of_run(store: Store, run_id: str) -> Version | None:
    """The version that a final run has made, None where there is none; read-only."""
    found = store.call(lambda client: list(client.search_model_versions(f"run_id = '{run_id}'")))
    return _version_of(found[0]) if found else None


def find_version(store: Store, name: str, alias_or_number: str) -> Version | None:
    """A version by its number or by an alias, None where there is none; read-only."""

    def operation(client: MlflowClient) -> Version | None:
        try:
            if alias_or_number.isdigit():
                return _version_of(client.get_model_version(name, alias_or_number))
            return _version_of(client.get_model_version_by_alias(name, alias_or_number))
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    return store.call(operation)


def require_version(store: Store, model: str) -> Version:
    """The version that a person means: NAME, NAME@ALIAS or NAME/NUMBER; a name alone means its champion.

    Where nobody has made a model of photos yet, and no version was named, the drawn garments' is taken.

    Raises:
      UsageError: There is none.
    """
    name, _, chosen = model.replace("@", "/").partition("/")
    version = find_version(store, name, chosen or CHAMPION)
    if version is None and name == MODEL and not chosen and not _exists(store, name):
        version = find_version(store, model_name(drawn=True), CHAMPION)
    if version is not None:
        return version
    raise UsageError(
        f"no model {name}{'@' + chosen if chosen and not chosen.isdigit() else '/' + chosen if chosen else ''}"
        f" in {store.uri}",
        expected="a registered model: NAME, NAME@ALIAS or NAME/VERSION",
        action="fashion-tuning final-train makes one from a finished study",
    )


def _exists(store: Store, name: str) -> bool:
    found = store.call(lambda client: list(client.search_registered_models(f"name = '{name}'")))
    return bool(found)


def set_alias(store: Store, version: Version, alias: str) -> None:
    """Makes an alias point at a version."""
    store.call(lambda client: client.set_registered_model_alias(version.name, alias, version.number))


def tag_version(store: Store, version: Version, tags: Mapping[str, str]) -> None:
    """Adds tags to a version."""

    def operation(client: MlflowClient) -> None:
        for key, value in tags.items():
            client.set_model_version_tag(version.name, version.number, key, value)

    store.call(operation)


@contextmanager
def model_file(store: Store, version: Version) -> Iterator[Path]:
    """The .keras file of a version: the store's own where it is local, else a copy; read-only.

    Raises:
      StoreError: It can't be had, or is not the one that was registered.
    """
    with artifacts(store, version.run_id, f"{FOLDER}/{_FILE}") as folder:
        path = folder / FOLDER / _FILE
        if not path.is_file():
            raise StoreError(f"the file of {version} is gone: {path}")
        expected = version.tags.get(DIGEST, "")  # versions of before it was kept have none
        if expected and (found := sha256_of(path)) != expected:
            raise StoreError(
                f"the file of {version} was changed: {path} has sha256 {found}",
                expected=expected,
                action="name another version with --model; final-train with a changed [final] makes a new one",
            )
        yield path


def _version_of(found: ModelVersion) -> Version:
    return Version(found.name, str(found.version), found.run_id or "", dict(found.tags))
