"""Names of the tags of studies, trials, final runs and versions in MLflow, and texts of any length in tags."""

from collections.abc import Mapping

KIND = "fashion.kind"
STUDY = "fashion.study"
DIGEST = "fashion.digest"
STAGE = "fashion.stage"
GENERATION = "fashion.generation"
PARTS = "fashion.parts"
DESCRIBED = "fashion.described"
TRIAL = "fashion.trial"
ATTEMPT = "fashion.attempt"
RESUMED_FROM = "fashion.resumed_from"
ASK = "fashion.ask"
TELL = "fashion.tell"
VALUES = "fashion.values"
SCOPE = "fashion.scope"
EPOCHS = "fashion.epochs"
LISTED = "fashion.listed"
SOURCE = "fashion.source"
PUBLISHED = "fashion.published_val_accuracy"
PRUNED = "fashion.pruned"
ERROR = "fashion.error"
ERROR_MESSAGE = "fashion.error_message"
PHOTOS = "fashion.photos"
MANIFEST = "fashion.manifest"
SHARED = "fashion.shared_pictures"  # how many stand in several splits, by these, as JSON
COMMIT = "fashion.commit"
MACHINE = "fashion.machine"
VERSIONS = "fashion.versions"
TEACHER_RUN = "fashion.teacher_run"  # of the trial whose answers a study's trials learn
SOURCE_STUDY_RUN = "fashion.source_study_run"  # of a final run
SOURCE_TRIAL_RUN = "fashion.source_trial_run"
CANDIDATE_RUN = "fashion.candidate_run"
CHOSEN_RUN = "fashion.chosen_run"
TRIAL_RUN = "fashion.trial_run"  # of a registered version: the one that was chosen
STUDY_RUN = "fashion.study_run"
PARENT = "mlflow.parentRunId"

_TAG_LENGTH = 5000  # MLflow cuts longer ones without a word; some databases sooner than others


def long_tags(name: str, text: str) -> dict[str, str]:
    """A text of any length as the tags NAME, NAME.2, NAME.3, ...; `read_long_tag` puts it together."""
    pieces = [text[start : start + _TAG_LENGTH] for start in range(0, len(text), _TAG_LENGTH)]
    return {name if number == 1 else f"{name}.{number}": piece for number, piece in enumerate(pieces, 1)}


def read_long_tag(tags: Mapping[str, str], name: str) -> str:
    """What `long_tags` made tags of.

    Raises:
      KeyError: There is no such tag.
    """
    text, number = tags[name], 2
    while piece := tags.get(f"{name}.{number}"):
        text, number = text + piece, number + 1
    return text
