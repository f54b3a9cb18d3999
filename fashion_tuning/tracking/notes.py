"""The program's part of a description in MLflow's UI: a marked block, renewed in place; all around it is a person's.

The marks are comments of Markdown's, which the UI shows in its editor alone. A block that somebody has removed is
written below the rest again. A description has a greatest length: where a person's words leave too little room it is
the block that is shortened.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from mlflow.tracking import MlflowClient
from mlflow.utils.validation import MAX_TAG_VAL_LENGTH

from fashion_tuning.tracking.store import Store

NOTE: Final = "mlflow.note.content"
BEGIN: Final = "<!-- fashion-tuning: from here to the end mark the program writes anew -->"
END: Final = "<!-- fashion-tuning: end -->"
SHORTENED: Final = "\n\n(shortened for want of room)"
COLUMN: Final = 5000  # letters that the descriptions of experiments and versions have in a database
_BLOCK = re.compile(rf"{re.escape(BEGIN)}(?:(?!{re.escape(BEGIN)}).)*?{re.escape(END)}", re.DOTALL)
_MARK = re.compile(rf"(?:{re.escape(BEGIN)}|{re.escape(END)})\n?")

# What versions of the program before the marks wrote: the headings of each section, and which lines stand below them.
_LINKS = r"- (?:no final run yet|final run at|registered model|test, look|the whole report: artifact)\b.*"
EARLIER_RUN: Final = {
    "### Leaderboard": r"\|.*\||and \d+ more|`=` ties with the best: paired difference within one standard error",
    "### In words": r"- (?:The (?:best score|only completed trial|\d+ trials that tie)\b|No other trial ties"
    r"|[\w ]+: .*\bties?\b).*",
    "### From here": _LINKS,
}
EARLIER_EXPERIMENT: Final = {
    "### Where it stands": rf"- (?:newest study with a report|its best|\[its trials, best first\]).*|{_LINKS}"
}
EARLIER_VERSION: Final = {
    "### Data": r"- .*manifest `[0-9a-f]+`.*|- decoded upright as RGB.*",
    "### Training": r"- .* with ImageNet weights `.*|- seed 1 of \d+, epoch .*|- final run `.*",
    "### Figures": r"- (?:validation, mean over seeds|test, look)\b.*|\|.*\|",
    "### Limits": r"- (?:One garment in the picture|Its figures hold for photos|Classes are not equally"
    r"|\*\*Made of drawn garments)\b.*",
}
_VERSION_OPENING = re.compile(r"\ASuggests the category of a garment from its photo(?:: .*)?\.\n?")


def renew_run_note(store: Store, run_id: str, block: str) -> None:
    """Write the block of a run's description."""

    def operation(client: MlflowClient) -> None:
        note = client.get_run(run_id).data.tags.get(NOTE, "")
        client.set_tag(run_id, NOTE, renew(note, block, earlier=EARLIER_RUN, limit=MAX_TAG_VAL_LENGTH))

    store.call(operation)


def renew_experiment_note(store: Store, experiment_id: str, block: str) -> None:
    """Write the block of an experiment's description."""

    def operation(client: MlflowClient) -> None:
        note = client.get_experiment(experiment_id).tags.get(NOTE, "")
        renewed = renew(note, block, earlier=EARLIER_EXPERIMENT, limit=COLUMN)
        client.set_experiment_tag(experiment_id, NOTE, renewed)

    store.call(operation)


def renew_version_note(store: Store, name: str, number: str, block: str) -> None:
    """Write the block of the description of a model's version."""

    def operation(client: MlflowClient) -> None:
        note = client.get_model_version(name, number).description or ""
        if BEGIN not in note:
            note = _VERSION_OPENING.sub("", note)
        renewed = renew(note, block, earlier=EARLIER_VERSION, limit=COLUMN)
        client.update_model_version(name, number, description=renewed)

    store.call(operation)


def renew(note: str, block: str, *, earlier: Mapping[str, str], limit: int) -> str:
    """Put a block in the place of the one in a description, or below all else where there is none.

    Args:
      note: The description as it stands.
      block: Markdown, without marks.
      earlier: Of a block that an earlier version wrote without marks the headings, and a pattern of the lines
        below each; other lines are a person's.
      limit: Letters that the whole may have; a person's are never taken away.
    """
    first = _BLOCK.search(note)
    if first:
        above = _MARK.sub("", note[: first.start()])
        below = _MARK.sub("", _BLOCK.sub("", note[first.end() :]))
    else:
        above, below = _split_earlier(_MARK.sub("", note), earlier)
    before = "\n\n" if not first and above.strip() else ""
    after = "\n\n" if not first and below.strip() else ""
    marked = _marked(block, limit - len(above) - len(before) - len(after) - len(below))
    return f"{above}{before}{marked}{after}{below}" if marked else f"{above}{after}{below}"


def _marked(block: str, room: int) -> str:
    """The block between its marks, cut at the end of a line so that it fits; "" where nothing does."""
    whole = f"{BEGIN}\n{block}\n{END}"
    if len(whole) <= room:
        return whole
    beginning = block[: max(0, room - len(f"{BEGIN}\n{SHORTENED}\n{END}"))].rpartition("\n")[0]
    return f"{BEGIN}\n{beginning}{SHORTENED}\n{END}" if beginning else ""


def _split_earlier(note: str, earlier: Mapping[str, str]) -> tuple[str, str]:
    """What a person has above a block without marks, and all lines after its heading that are not the program's."""
    lines = note.split("\n")
    heading = next(iter(earlier))
    if heading not in lines:
        return note, ""
    start = lines.index(heading)
    below: list[str] = []
    section: str | None = heading
    for line in lines[start + 1 :]:
        if line in earlier:
            section = line
        elif section and (not line.strip() or re.fullmatch(earlier[section], line)):
            continue
        else:
            # After the last section all is a person's; between two of them the program's may still follow.
            if section == list(earlier)[-1] or line.startswith("#"):
                section = None
            below.append(line)
    return "\n".join(lines[:start]).rstrip("\n"), "\n".join(below).strip("\n")
