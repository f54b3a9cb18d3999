"""Errors for a person, each with the exit code of the command that meets it."""

from fashion_tuning.masking import mask


class FashionTuningError(Exception):
    """A problem a person can act on: what was received, what was expected, what to do.

    Args:
      received: What the program found, as a short clause.
      expected: What it needs instead; left out where `received` says it all.
      action: What to do next, ideally a command to type.

    The text of the exception is these parts, one line each, without the passwords of addresses in
    them. `exit_code` is what the command line ends with.
    """

    exit_code = 70

    def __init__(self, received: str, *, expected: str = "", action: str = "") -> None:
        received, expected, action = mask(received), mask(expected), mask(action)
        lines = [received]
        if expected:
            lines.append(f"expected: {expected}")
        if action:
            lines.append(f"what to do: {action}")
        super().__init__("\n".join(lines))
        self.received = received
        self.expected = expected
        self.action = action

    def __reduce__(self):
        # Keyword-only arguments do not survive Exception's own pickling, and errors cross processes.
        return (_rebuild, (type(self), self.received, self.expected, self.action))


def _rebuild(kind: type[FashionTuningError], received: str, expected: str, action: str) -> FashionTuningError:
    return kind(received, expected=expected, action=action)


class UsageError(FashionTuningError):
    """A mistake in the command or the card."""

    exit_code = 2


class DataError(FashionTuningError):
    """Photos are missing or unusable."""

    exit_code = 3


class PhotosUnreachableError(DataError):
    """Nobody named a folder, nothing is cached, and the download did not work."""


class WeightsError(FashionTuningError):
    """Pre-trained weights are missing or unusable."""

    exit_code = 3


class ParityError(FashionTuningError):
    """Two forms of one model answer differently."""

    exit_code = 1


class NoTrialError(FashionTuningError):
    """No trial was completed, or three failed in a row."""

    exit_code = 4


class StoreError(FashionTuningError):
    """The tracking store can't be used."""

    exit_code = 5


class DiskError(FashionTuningError):
    """A disk, or another resource of the machine, is full or refused."""

    exit_code = 6


class StudyOwnedError(FashionTuningError):
    """The study is owned by another live process."""

    exit_code = 7
