"""What a file is that is not read here, told by its first bytes, and what to do with it."""

from __future__ import annotations

import re
from typing import Final

NO_IMAGE: Final = "not an image, or a kind that isn't read here"

# Of ISO's container for media (ISO/IEC 14496-12, "ftyp"; brands: mp4ra.org). HEIC's own first: pictures as phones
# take them (heic), of ten bits (heix), of several layers (heim, heis), and all of these in sequences (hev.).
_HEIC: Final = frozenset({"heic", "heix", "heim", "heis", "hevc", "hevx", "hevm", "hevs"})
_AVIF: Final = frozenset({"avif", "avis", "avio"})
_SOME_HEIF: Final = frozenset({"mif1", "mif2", "msf1", "miaf"})  # of any coding; phones write it with HEVC
_VIDEO: Final = re.compile(r"isom|iso\d|mp4\d|avc1|m4v.?|qt|3g[2p].|dash|f4v|mmp4|msnv")
_STARTS: Final = (
    (rb"\x00\x00\x00\x0cJXL \r\n\x87\n|\xff\x0a", "JPEG XL, which Pillow can't read: save it as JPEG"),
    (rb"%PDF-", "a PDF: export its pictures as JPEG"),
    (rb"8BPS", "a Photoshop file: export it as JPEG"),
    (rb"FUJIFILMCCD-RAW|.{8}\x1aHEAPCCDR", "a camera's raw file: develop it and save it as JPEG"),
    (rb"\x1aE\xdf\xa3", "a video, not a photo"),
    (rb"RIFF....AVI ", "a video, not a photo"),
    (rb"version https://git-lfs", "a pointer of Git LFS in place of the file: git lfs pull fetches it"),
    (rb"(?i)\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!doctype svg[^>]*>\s*)?<svg", "an SVG drawing: export it as PNG"),
    (rb"(?i)\s*<(!doctype )?html", "a web page in place of the picture: fetch it anew"),
)  # fmt: skip


def describe_unread(data: bytes) -> str:
    """A clause on a file that Pillow can't tell the kind of; NO_IMAGE where nothing more is known."""
    head = data[:1024].removeprefix(b"\xef\xbb\xbf")
    if head[4:8] == b"ftyp":
        size = int.from_bytes(head[:4], "big")
        words = [head[8:12], *(head[offset : offset + 4] for offset in range(16, min(size, len(head)), 4))]
        return _of_brands([word.decode("latin-1").strip().lower() for word in words])
    return next((words for start, words in _STARTS if re.match(start, head, re.DOTALL)), NO_IMAGE)


def _of_brands(brands: list[str]) -> str:
    major = brands[0]
    if major in _AVIF or (major in _SOME_HEIF and not _HEIC & {*brands} and _AVIF & {*brands}):
        return "AVIF that can't be read: damaged, or Pillow here is older than 11.3; save it as JPEG"
    if major in _HEIC | _SOME_HEIF or _HEIC & {*brands}:
        return "HEIC, which Pillow can't read: save it as JPEG"
    if major == "crx":
        return "a camera's raw file: develop it and save it as JPEG"
    return "a video, not a photo" if any(_VIDEO.fullmatch(brand) for brand in brands) else NO_IMAGE
