"""Files that are no photos, or photos of a kind that isn't read: what they are called, and what to do."""

import struct
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from fashion_tuning.data.decode import UnreadableImageError, read
from fashion_tuning.data.unread import NO_IMAGE, describe_unread


def media(major: str, *compatible: str) -> bytes:
    """The beginning of a file in ISO's container."""
    brands = b"".join(brand.ljust(4).encode() for brand in compatible)
    return struct.pack(">I", 16 + len(brands)) + b"ftyp" + major.ljust(4).encode() + bytes(4) + brands + bytes(200)


FILES = {
    **{major: (media(major, "mif1", "heic"), "HEIC") for major in ("heic", "heix", "heim", "heis")},
    **{major: (media(major, "msf1"), "HEIC") for major in ("hevc", "hevx", "hevm", "hevs")},
    "mif1": (media("mif1", "mif1", "heic"), "HEIC"),
    "msf1": (media("msf1", "hevc"), "HEIC"),
    "mif1 alone": (media("mif1"), "HEIC"),
    "an unknown brand, beside heic": (media("MiHE", "MiPr", "heix"), "HEIC"),
    "avif of nothing": (media("avif", "mif1", "miaf"), "AVIF"),
    "mif1 of avif": (media("mif1", "avif", "miaf"), "AVIF"),
    "canon": (media("crx", "isom"), "raw file"),
    "iphone video": (media("qt"), "a video"),
    "mp4": (media("isom", "iso2", "avc1", "mp41"), "a video"),
    "3gp": (media("3gp4"), "a video"),
    "webm": (b"\x1aE\xdf\xa3" + bytes(50), "a video"),
    "jxl": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(50), "JPEG XL"),
    "jxl, bare": (b"\xff\n" + bytes(50), "JPEG XL"),
    "pdf": (b"%PDF-1.7\n", "a PDF"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull"),
    "svg": (b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="x"/>', "SVG"),
    "html": (b"\xef\xbb\xbf<!DOCTYPE html><title>404</title>", "a web page"),
}


@pytest.mark.parametrize("name", FILES)
def test_it_is_called_what_it_is(name: str, tmp_path: Path) -> None:
    content, expected = FILES[name]
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError) as caught:
        read(path)
    assert expected in caught.value.reason
    assert caught.value.kind in ("unknown", "broken")


@pytest.mark.parametrize(
    "content", [b"", b"hello", bytes(40), media("abcd"), b"\0\0\0\x08ftyp", b"\xff\xff\xff\xffftypabcd"]
)
def test_what_nobody_knows_is_no_image(content: bytes) -> None:
    assert describe_unread(content) == NO_IMAGE


def test_a_whole_avif_is_read() -> None:
    file = BytesIO()
    Image.new("RGB", (8, 8)).save(file, "AVIF")
    assert read(BytesIO(file.getvalue())).format == "AVIF"
