"""Who may import what: imports point down the rooms, and each framework has one door."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "fashion_tuning"

# From top to bottom: a room imports from rooms below it, and from itself. What shares a line is
# independent of each other.
ROOMS: list[set[str]] = [
    {"__init__"},
    {"__main__"},
    {"main"},
    {"cli"},
    {"cli_models", "cli_cache", "cli_serve"},
    {"launch_models", "launch_serve"},
    {"launch", "show_models"},
    {"launch_report"},
    {"show_studies"},
    {"show"},
    {"progress", "tables"},
    {"notebook"},
    {"final", "service", "report"},
    {"evaluate"},
    {"study", "figures"},
    {"model", "measures"},
    {"data", "tracking"},
    {"digest"},
    {"config"},
    {"settings"},
    {"space"},
    {"table", "hyperparameters", "card_file"},
    {"backbones"},
    {"locks"},
    {"files", "backend", "lettering", "options", "surroundings"},
    {"quiet", "pulse", "ports"},
    {"seeds", "wording", "streams", "stderr_gate", "fail_points", "errors", "paths"},
    {"masking"},
]

# A framework, and the only files that may import it: below a room, or one file.
DOORS = {
    "mlflow": "tracking/",
    "sqlalchemy": "tracking/",
    "keras_tuner": "study/search/",
    "tensorflow": "model/engine/on_tensorflow.py",
    "torch": "model/engine/on_torch.py",
    "keras": "model/",
    "sklearn": ("study/search/", "measures.py"),
    "matplotlib": ("figures.py", "lettering.py", "notebook.py", "report/"),
    "openvino": "model/exporting.py",
    "onnxruntime": "model/exporting.py",
    "ai_edge_litert": "model/exporting.py",
    "optuna": "report/importance.py",
    "jinja2": ("report/page.py", "service/pages.py"),
    "markupsafe": "report/page.py",
    "h5py": "model/",
    "PIL": "data/",
    "pooch": "data/",
    "typer": ("main.py", "cli.py", "cli_models.py", "cli_cache.py", "cli_serve.py", "options.py"),
    "pandas": ("cli.py", "notebook.py", "model/classifier.py"),
    "pydantic": ("config.py", "settings.py", "space.py", "table.py", "service/schemas.py"),
    "pydantic_core": "table.py",
    "fastapi": "service/",
    "starlette": "service/",
    "uvicorn": "service/server.py",
    "prometheus_client": "service/metrics.py",
    "sqlite3": ("tracking/", "service/feedback.py"),
}

FILES = sorted(PACKAGE.rglob("*.py"))


def names(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imports(path: Path, *, at_start: bool = False) -> Iterator[str]:
    """Dotted names of all that a file imports, inside functions and for type checking too; or only at its start."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if at_start else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{names(path)}: imports are absolute"
            yield node.module or ""
            # `from fashion_tuning.study import selection` names a module, not a value.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(module: str) -> str:
    """The room of a dotted name inside the package."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def level(room: str) -> int:
    return next(number for number, rooms in enumerate(ROOMS) if room in rooms)


def test_every_file_has_a_room_and_every_room_files() -> None:
    assert {names(path).removesuffix(".py").split("/")[0] for path in FILES} == set().union(*ROOMS)


@pytest.mark.parametrize("path", FILES, ids=names)
def test_imports_point_down(path: Path) -> None:
    own = names(path).removesuffix(".py").split("/")[0]
    for module in imports(path):
        if not module.startswith("fashion_tuning."):
            continue
        other = room(module)
        assert other == own or level(other) > level(own), f"{names(path)} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=names)
def test_a_framework_has_one_door(path: Path) -> None:
    for module in imports(path):
        door = DOORS.get(module.partition(".")[0])
        if door is not None:
            assert names(path).startswith(door), f"{names(path)} imports {module}, which is for {door}"


def test_a_command_starts_before_any_framework_does() -> None:
    """What main.py and the launchers import at their start, and what that imports."""
    files = {"fashion_tuning." + names(path).removesuffix(".py").replace("/", "."): path for path in FILES}
    waiting, seen = (
        ["fashion_tuning.main", "fashion_tuning.launch", "fashion_tuning.launch_models", "fashion_tuning.launch_serve"],
        set[str](),
    )
    while waiting:
        module = waiting.pop()
        path = files.get(module) or files.get(f"{module}.__init__")
        if path is None or module in seen:
            continue
        seen.add(module)
        for name in imports(path, at_start=True):
            assert name.partition(".")[0] not in ("tensorflow", "keras", "keras_tuner", "mlflow", "fastapi"), names(
                path
            )
            waiting.append(name)
    assert "fashion_tuning.study.executors" in seen


def test_every_door_is_used() -> None:
    used = {module.partition(".")[0] for path in FILES for module in imports(path)}
    assert set(DOORS) <= used


@pytest.mark.parametrize("path", [path for path in FILES if names(path).startswith("data/")], ids=names)
def test_data_stands_alone(path: Path) -> None:
    for module in imports(path):
        if module.startswith("fashion_tuning."):
            allowed = ("data", "errors", "files", "locks", "paths", "stderr_gate")
            assert room(module) in allowed, f"{names(path)} imports {module}"


def test_every_dependency_that_is_imported_is_declared() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split(r"[<>=~!\[; ]", one)[0].lower() for one in project["dependencies"]}
    imported = {module.partition(".")[0] for path in FILES for module in imports(path)}
    distributions = packages_distributions()
    optional = {"ai_edge_litert", "onnxruntime", "openvino", "torch"}  # in extras
    # pydantic pins its core
    for name in imported - set(sys.stdlib_module_names) - optional - {"fashion_tuning", "pydantic_core"}:
        assert {one.lower().replace("_", "-") for one in distributions[name]} & declared, name
