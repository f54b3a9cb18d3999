"""What the documents and cards say of the program, held against the program."""

import re
import subprocess
from pathlib import Path

import pytest
import typer
from command_line import PROJECT, commands, groups, run

import fashion_tuning
from fashion_tuning.backbones import BACKBONES
from fashion_tuning.cli import app
from fashion_tuning.config import parse_card
from fashion_tuning.hyperparameters import HYPERPARAMETERS, OPTIONAL, shown

README = (PROJECT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (PROJECT / "ARCHITECTURE.md").read_text(encoding="utf-8")
CHANGELOG = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
MAKEFILE = (PROJECT / "Makefile").read_text(encoding="utf-8")
CARDS = sorted((PROJECT / "experiments").glob("*.toml"))

SOURCES = {
    path.relative_to(PROJECT).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted((PROJECT / "fashion_tuning").rglob("*.py"))
}

VERBS = set(re.findall(r"^([a-z-]+):.*?## ", MAKEFILE, re.MULTILINE))


def documents() -> dict[str, str]:
    """Every text that tells a person what to type; of code the actions that its errors name."""
    names = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", ".ci/run", "mlruns/README.md")
    texts = {name: (PROJECT / name).read_text(encoding="utf-8") for name in names}
    texts |= {f"experiments/{path.name}": path.read_text(encoding="utf-8") for path in CARDS}
    return texts | {name: "\n".join(re.findall(r'action=f?"(.*?)"', text)) for name, text in SOURCES.items()}


def blocks(language: str, *, after: str = "") -> list[str]:
    """README's code blocks of a language; with `after`, those that this HTML comment stands before."""
    mark = rf"<!-- {after} -->\n" if after else ""
    return re.findall(rf"{mark}```{language}\n(.*?)```", README, re.DOTALL)


def named_options(name: str) -> set[str]:
    return {option for parameter in commands()[name].params for option in parameter.opts}


@pytest.mark.parametrize("name", commands())
def test_every_command_stands_in_the_readme(name: str) -> None:
    first, _, last = name.rpartition(" ")
    assert re.search(rf"fashion-tuning {name}\b", README) or (first and f"`{first} {last}`" in README)


@pytest.mark.parametrize("name", commands())
def test_every_command_and_option_has_help(name: str) -> None:
    command = commands()[name]
    assert command.help
    assert command.help.strip().endswith(".")
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{name}: {parameter.opts}"


def test_every_group_has_help() -> None:
    for group in groups():
        command = typer.main.get_command(app)
        for part in group.split():
            command = command.commands[part]  # type: ignore[attr-defined]
        assert command.help


@pytest.mark.parametrize("document", documents())
def test_what_a_document_tells_to_type_exists(document: str) -> None:
    text = documents()[document]
    for verb in re.findall(r"(?:^|`|[A-Z]=\S+ |Run: +)make ([a-z][a-z-]*)", text, re.MULTILINE):
        assert verb in VERBS, f"make {verb}"
    known = {*commands(), *groups()}
    for first, second in re.findall(r"fashion-tuning ([a-z][a-z-]*)( [a-z]+\b)?", text):
        assert first in known, f"fashion-tuning {first}"
        assert first not in groups() or not second or first + second in known, f"fashion-tuning {first}{second}"


def test_the_readme_has_every_verb() -> None:
    missing = {verb for verb in VERBS if not re.search(rf"`make {verb}\b", README)}
    assert missing <= {"help"}


def test_the_readme_has_every_option_of_tune_and_no_other() -> None:
    paragraph = re.search(r"^Options of `tune`: (.*?)\n\n", README, re.DOTALL | re.MULTILINE)
    assert paragraph is not None
    listed = set(re.findall(r"`(--[a-z-]+)", paragraph[1]))
    assert listed == {option for option in named_options("tune") if option.startswith("--")} - {"--help"}


def test_the_readme_has_every_setting_of_the_environment() -> None:
    settings = set(re.findall(r"\bFASHION_TUNING_[A-Z]+\b", "\n".join(SOURCES.values())))
    own = {"FASHION_TUNING_DEBUG"}  # how --debug reaches the end of the program
    assert {f"`{name}`" for name in settings - own} <= set(re.findall(r"`[A-Z_]+`", README))


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_of_the_makefile_can_be_made(verb: str) -> None:
    made = subprocess.run(["make", "-n", verb], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert made.returncode == 0, made.stderr
    for typed in re.findall(r"/fashion-tuning ([a-z-]+)", made.stdout):
        assert typed in {*commands(), *groups()}


def test_make_alone_shows_every_verb() -> None:
    shown = subprocess.run(["make"], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert shown.returncode == 0
    assert {line.split()[1] for line in shown.stdout.splitlines() if line.startswith("  make ")} == VERBS


RUNNABLE = [line for block in blocks("sh", after="runs") for line in block.splitlines() if line.strip()]


def test_the_readme_has_commands_that_run() -> None:
    assert RUNNABLE


@pytest.mark.parametrize("line", RUNNABLE)
def test_a_command_of_the_readme_runs(line: str, tmp_path: Path) -> None:
    words = line.split()
    if words[0] == "make":
        made = subprocess.run(["make", "-n", *words[1:]], cwd=PROJECT, capture_output=True, timeout=60, check=False)
        assert made.returncode == 0
    else:
        assert words[0] == "fashion-tuning"
        result = run(*words[1:], folder=tmp_path)
        assert result.returncode == 0, result.stderr
        assert result.stdout


def test_the_readmes_card_is_a_card() -> None:
    card, *more = blocks("toml")
    assert parse_card(card, name="README.md").name == "xception-150"
    names = ("weight_decay", "distillation")
    for name, lines in zip(names, more, strict=True):
        assert parse_card(card + lines, name="README.md").names(name)


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.name)
def test_a_card_opens_with_a_lab_note(path: Path) -> None:
    note = path.read_text(encoding="utf-8").split("\n\n")[0]
    assert all(line.startswith("#") for line in note.splitlines())
    for entry in ("Run: ", "Photos: ", "Cost: ", "Expected: "):
        assert re.search(rf"^# {entry} *\S", note, re.MULTILINE), entry
    run_line = re.search(r"^# Run: +(.*)$", note, re.MULTILINE)
    assert run_line is not None
    assert path.name in run_line[1] or path.stem in run_line[1] or run_line[1].split()[1] in VERBS


def test_the_architecture_names_every_room_and_no_other() -> None:
    table = re.search(r"^## Rooms\n(.*?)^## ", ARCHITECTURE, re.DOTALL | re.MULTILINE)
    assert table is not None
    first_cells = [line.split("|")[1] for line in table[1].splitlines() if line.startswith("| `")]
    named = {name for cell in first_cells for name in re.findall(r"`([^`]+)`", cell)}
    package = PROJECT / "fashion_tuning"
    modules = {path.name for path in package.glob("*.py")} - {"__init__.py"}
    rooms = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    assert named == modules | rooms


def test_the_architecture_names_what_is_in_the_rooms() -> None:
    for line in ARCHITECTURE.splitlines():
        cells = line.split("|")
        found = re.match(r"\s*`([a-z]+)/`", cells[1]) if len(cells) > 2 else None
        if found is None:
            continue
        folder = PROJECT / "fashion_tuning" / found[1]
        inside = {path.stem for path in folder.glob("*.py")} - {"__init__"}
        inside |= {f"{path.parent.name}/" for path in folder.glob("*/__init__.py")}
        named = set(re.findall(r"`([a-z_]+/?)`", cells[2]))
        assert named == inside, found[1]


def test_the_changelog_has_this_version() -> None:
    assert re.search(rf"^## {re.escape(fashion_tuning.__version__)}\b", CHANGELOG, re.MULTILINE)


def test_every_exit_code_stands_in_the_readme() -> None:
    source = (PROJECT / "fashion_tuning" / "errors.py").read_text(encoding="utf-8")
    codes = set(re.findall(r"exit_code = (\d+)", source)) | {"0", "1", "130", "141"}
    paragraph = re.search(r"^Exit codes: (.*?)\n\n", README, re.DOTALL | re.MULTILINE)
    assert paragraph is not None
    assert set(re.findall(r"(?:^|·\s)(\d+) ", paragraph[1])) == codes


def test_every_picture_of_the_readme_is_there() -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
    assert pictures
    assert [path for path in pictures if not (PROJECT / path).is_file()] == []


def test_the_readme_names_every_backbone_with_its_cuts_and_final_size() -> None:
    table = README[README.index("| backbone |") :].partition("\n\n")[0]
    rows = {}
    for line in table.splitlines()[2:]:
        names, cuts, sizes = (cell.strip() for cell in line.strip("|").split("|"))
        first, *others = re.findall(r"`(\w+)`", names)
        full = [first, *(first.rpartition("_")[0] + other if other.startswith("_") else other for other in others)]
        every = [int(size) for size in sizes.split(", ")]
        ends = re.findall(r"`(\w+)`", cuts)
        rows |= {name: (ends, size) for name, size in zip(full, every * len(full), strict=False)}
    assert rows.keys() == BACKBONES.keys()
    for name, (ends, size) in rows.items():
        cuts = list(BACKBONES[name].cuts)
        assert BACKBONES[name].final_size == size
        assert (ends[0], ends[-1]) == (cuts[0], cuts[-1]), name


def test_the_readme_names_every_hyperparameter_with_its_words_and_default() -> None:
    table = README[README.index("| hyperparameter |") :].partition("\n\n")[0]
    rows = {}
    for line in table.splitlines()[2:]:
        names, values, default, _ = (cell.strip() for cell in line.strip("|").split("|"))
        for name in re.findall(r"`(\w+)`", names):
            rows[name] = (values, default.strip("`"))
    assert set(rows) == set(OPTIONAL)
    for name, (values, default) in rows.items():
        one = HYPERPARAMETERS[name]
        if one.kind is str and name not in ("backbone", "cut"):  # whose values have a table of their own
            assert re.findall(r"`(\w+)`", values) == one.expected.removeprefix("one of ").split(", ")
        if one.default is not None:
            assert default == shown(one.default)
