"""Places where the whole program can be made to die, for the tests of what survives it.

FASHION_TUNING_KILL_AT=metrics:3 kills the program's process group with SIGKILL when the point
"metrics" is passed for the third time in one process. Unset, as ever outside those tests,
passing a point costs a look into the environment.
"""

import os
import signal
from collections import Counter
from typing import Final

SETTING: Final = "FASHION_TUNING_KILL_AT"

# Each stands right after a durable write; in the order in which a study comes by.
FAIL_POINTS: Final = (
    "weights",  # stored in the cache
    "database",  # made in one rename, where the store is a local one
    "experiment",  # created
    "study run",  # created
    "study artifact",  # card, manifest or environment, uploaded
    "study described",  # its parameters and artifacts stand
    "lease",  # the owner's name stands in the study run
    "features",  # a shard is finished
    "trial run",  # created
    "parameters",  # of the trial
    "dataset",  # of the trial
    "metrics",  # of one epoch
    "checkpoint",  # uploaded
    "state",  # of a trial behind a cut, from which it goes on, uploaded
    "predictions",  # uploaded
    "best values",  # of the trial
    "told",  # the tell order stands
    "finished",  # the trial's run is FINISHED
    "error",  # and tell order of a failed trial stand
    "failed",  # the trial's run is FAILED
    "standing",  # the study's own metrics after a trial
    "study ended",
    "let go",  # the owner's name says that it has ended
)
# What a final run passes beside those of its trials.
FINAL_FAIL_POINTS: Final = (
    "chosen",  # tags, values and figures of the choice stand
    "version",  # registered
    "look",  # an evaluation run is begun
    "evaluation",  # and FINISHED
)
# What a command passes that finds a local store moved or copied to where it is.
MOVED_FAIL_POINTS: Final = (
    "store copied",  # as it was, beside it
    "locations",  # of its artifacts are put right
)
_ALL: Final = (*FAIL_POINTS, *FINAL_FAIL_POINTS, *MOVED_FAIL_POINTS)

_passed: Counter[str] = Counter()


def passed(name: str) -> None:
    """Kills the program where the environment asks for it.

    Raises:
      ValueError: No such point.
    """
    if name not in _ALL:
        raise ValueError(f"fail point {name!r}, expected one of {', '.join(_ALL)}")
    wanted, _, number = os.environ.get(SETTING, "").partition(":")
    if wanted != name:
        return
    _passed[name] += 1
    if _passed[name] == int(number or 1):
        os.killpg(os.getpgrp(), signal.SIGKILL)  # coordinator and workers alike
