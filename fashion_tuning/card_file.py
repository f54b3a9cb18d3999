"""The text of a card's file, however an editor has saved it."""

from __future__ import annotations

import codecs
import errno
from pathlib import Path
from typing import Final

from fashion_tuning.errors import UsageError

# UTF-32's little-endian mark begins with UTF-16's.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def read_card_text(path: Path) -> str:
    """Reads a card's text: UTF-8, or what its byte order mark says; lines end as they do here. Read-only.

    Raises:
      UsageError: There is no such file, or it is no text in one of these encodings.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise OSError(errno.EINVAL, "it is a device or a pipe")
        return _decode(path.read_bytes())
    except OSError as error:
        problem, action = (
            str(error.strerror),
            "name a card that exists, or go to the project's folder: experiments/ is there",
        )
    except UnicodeDecodeError as error:
        problem, action = _place(error), "save it as UTF-8, which every editor offers"
    raise UsageError(
        f"the card {path} can't be read: {problem}",
        expected="an experiment card: a text file such as experiments/xception_150.toml",
        action=action,
    )


def _decode(content: bytes) -> str:
    mark, encoding = next(((mark, name) for mark, name in _MARKS if content.startswith(mark)), (b"", "utf-8"))
    if not mark and b"\0" in content:  # each of its letters may be UTF-8 all the same
        position = content.index(b"\0")
        raise UnicodeDecodeError("utf-8", content, position, position + 1, "a zero byte, as in UTF-16 without its mark")
    text = content[len(mark) :].decode(encoding)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _place(error: UnicodeDecodeError) -> str:
    before = error.object[: error.start]
    if error.encoding != "utf-8":
        return f"its mark says {error.encoding[:6].upper()}, and byte {error.start + 1} after it is none"
    why = error.reason if error.reason.startswith("a zero byte") else "no UTF-8"
    return f"byte {len(before) + 1}, in line {before.count(10) + 1}, is {why}"
