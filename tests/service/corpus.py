"""Files that strangers may send: odd ones that are pictures all the same, and hostile ones that are none.

Each entry is a file's content and the statuses that are right for it as the only picture of a request.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, PngImagePlugin
from serving import encoded

OK, NO_PICTURE, BROKEN, LARGE, EMPTY = 200, 415, 422, 413, 400
SIZE = (60, 80)


def picture(mode: str = "RGB", size: tuple[int, int] = SIZE) -> Image.Image:
    """Noise in colours."""
    width, height = size
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8))
    return image.convert(mode)


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, *, data: bytes = b"", depth: int = 8, colour: int = 2) -> bytes:
    """A PNG that says it is so large, whatever it holds."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def frames(format: str) -> bytes:
    """An animation, or several pages."""
    return encoded(picture(), format, save_all=True, append_images=[picture().rotate(90), picture().rotate(180)])


def rotated(orientation: int) -> bytes:
    """A JPEG that is to be turned."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(picture(), "JPEG", exif=exif)


def located() -> bytes:
    """A JPEG that says where and with what it was taken."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Maker of cameras", "Model 1"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    return encoded(picture(), "JPEG", exif=exif)


def deep_grey() -> bytes:
    """16 bits a pixel."""
    values = np.random.default_rng(1).integers(0, 65536, (80, 60), np.uint16)
    return encoded(Image.fromarray(values), "PNG")


def with_text(size: int) -> bytes:
    """A PNG with a compressed text that is much larger unpacked."""
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "a" * size, zip=True)
    return encoded(picture(), "PNG", pnginfo=info)


def bomb(side: int) -> bytes:
    """A real PNG of one colour, tiny as a file."""
    return encoded(Image.new("L", (side, side)), "PNG")


def svg() -> bytes:
    return b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>'


def heic() -> bytes:
    return struct.pack(">I", 24) + b"ftypheic" + b"\0\0\0\0heicmif1" + bytes(200)


def jpeg() -> bytes:
    return encoded(picture(), "JPEG")


def png() -> bytes:
    return encoded(picture(), "PNG")


def spoiled(data: bytes, place: float, *, length: int = 40) -> bytes:
    """With some bytes changed."""
    start = int(len(data) * place)
    return data[:start] + bytes(255 - one for one in data[start : start + length]) + data[start + length :]


def tiff_without_end() -> bytes:
    """A directory of pages that points at itself."""
    return b"II*\0\x08\0\0\0" + struct.pack("<H", 0) + struct.pack("<I", 8)


def fax(height: int = 2000) -> bytes:
    """A TIFF of noise, of which libtiff complains row by row and makes a picture all the same."""
    data = np.random.default_rng(0).bytes(20_000)
    tags = [(256, 64), (257, height), (258, 1), (259, 3), (262, 0), (273, 8), (277, 1), (278, height), (279, len(data))]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + directory + bytes(4)


def bmp_of(width: int, height: int) -> bytes:
    """A BMP that says it is so large."""
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def gif_of(width: int, height: int) -> bytes:
    """A GIF that says it is so large."""
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0\0\0\0\xff\xff\xff;"


ODD: dict[str, Callable[[], bytes]] = {
    "jpeg": jpeg,
    "jpeg grey": lambda: encoded(picture("L"), "JPEG"),
    "jpeg cmyk": lambda: encoded(picture("CMYK"), "JPEG"),
    "jpeg progressive": lambda: encoded(picture(), "JPEG", progressive=True),
    "jpeg with place and camera": located,
    **{f"jpeg to be turned, {number}": lambda number=number: rotated(number) for number in range(1, 10)},
    "jpeg with a broken exif": lambda: encoded(picture(), "JPEG", exif=b"Exif\0\0" + b"\xff" * 40),
    "jpeg with a broken icc profile": lambda: encoded(picture(), "JPEG", icc_profile=b"\0" * 200),
    "jpeg with something behind it": lambda: jpeg() + b"PK\x03\x04" + bytes(500),
    "jpeg and html in one": lambda: encoded(picture(), "JPEG", comment=b"<script>alert(1)</script>"),
    "png": png,
    "png grey": lambda: encoded(picture("L"), "PNG"),
    "png black and white": lambda: encoded(picture("1"), "PNG"),
    "png with a palette": lambda: encoded(picture("P"), "PNG"),
    "png with transparency": lambda: encoded(picture("RGBA"), "PNG"),
    "png grey with transparency": lambda: encoded(picture("LA"), "PNG"),
    "png of 16 bits": deep_grey,
    "png with a long text": lambda: with_text(100_000),
    "png of one pixel": lambda: encoded(picture(size=(1, 1)), "PNG"),
    "png of one line": lambda: encoded(picture(size=(5000, 1)), "PNG"),
    "png of one column": lambda: encoded(picture(size=(1, 5000)), "PNG"),
    "png of 36 MP in few bytes": lambda: bomb(6000),
    "webp": lambda: encoded(picture(), "WEBP"),
    "webp without loss": lambda: encoded(picture("RGBA"), "WEBP", lossless=True),
    "gif": lambda: encoded(picture("P"), "GIF"),
    "bmp": lambda: encoded(picture(), "BMP"),
    "tiff": lambda: encoded(picture(), "TIFF"),
    "tiff with changed pixels": lambda: spoiled(encoded(picture(), "TIFF"), 0.5),
    "tiff cmyk, compressed": lambda: encoded(picture("CMYK"), "TIFF", compression="tiff_lzw"),
    "tiff of a noisy fax": fax,
    "ppm": lambda: encoded(picture(), "PPM"),
    "mpo, as phones write it": lambda: frames("MPO"),
}

HOSTILE: dict[str, tuple[Callable[[], bytes], set[int]]] = {
    "nothing": (lambda: b"", {EMPTY}),
    "one byte": (lambda: b"\xff", {NO_PICTURE}),
    "zeros": (lambda: bytes(5000), {NO_PICTURE}),
    "noise": (lambda: np.random.default_rng(2).bytes(20_000), {NO_PICTURE}),
    "text": (lambda: b"hello, I am a photo.jpg", {NO_PICTURE}),
    "html": (lambda: b"<!doctype html><script>alert(1)</script>", {NO_PICTURE}),
    "svg": (svg, {NO_PICTURE}),
    "heic": (heic, {NO_PICTURE}),
    "pdf": (lambda: b"%PDF-1.7\n" + bytes(300), {NO_PICTURE}),
    "zip": (lambda: b"PK\x03\x04" + bytes(300), {NO_PICTURE}),
    "executable": (lambda: b"\x7fELF" + bytes(300), {NO_PICTURE}),
    "postscript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", {NO_PICTURE}),
    "xbm": (lambda: b"#define a_width 8\n#define a_height 1\nstatic char a_bits[] = {0x01};", {NO_PICTURE}),
    "psd": (lambda: b"8BPS\0\x01" + bytes(300), {NO_PICTURE}),
    "ico": (lambda: encoded(picture(size=(16, 16)), "ICO"), {NO_PICTURE}),
    "jpeg's first bytes only": (lambda: jpeg()[:3], {NO_PICTURE, BROKEN}),
    "jpeg cut in its header": (lambda: jpeg()[:100], {NO_PICTURE, BROKEN}),
    "jpeg cut in the middle": (lambda: jpeg()[: len(jpeg()) // 2], {BROKEN}),
    "jpeg's markers spoiled": (lambda: spoiled(jpeg(), 0.02), {NO_PICTURE, BROKEN}),
    "png cut in its header": (lambda: png()[:20], {NO_PICTURE, BROKEN}),
    "png cut in the middle": (lambda: png()[: len(png()) // 2], {BROKEN}),
    "png spoiled": (lambda: spoiled(png(), 0.5), {BROKEN}),
    "png of no pixels": (lambda: png_of(0, 0), {NO_PICTURE, BROKEN}),
    "png with too little in it": (lambda: png_of(100, 100, data=b"\0"), {BROKEN}),
    "png of an impossible depth": (lambda: png_of(10, 10, depth=3), {NO_PICTURE, BROKEN}),
    "png that says 2 gigapixels": (lambda: png_of(50_000, 40_000), {LARGE}),
    "png that says 2^31 a side": (lambda: png_of(2**31 - 1, 2**31 - 1), {LARGE, BROKEN, NO_PICTURE}),
    "png that says 41 MP": (lambda: png_of(8200, 5000), {LARGE}),
    "png of 100 MP in few bytes": (lambda: bomb(10_000), {LARGE}),
    "png with a text bomb": (lambda: with_text(80_000_000), {NO_PICTURE, BROKEN}),
    "bmp that says 2 gigapixels": (lambda: bmp_of(50_000, 40_000), {LARGE}),
    "bmp of a negative width": (lambda: bmp_of(-10, 10), {LARGE, NO_PICTURE, BROKEN}),
    "gif that says 4 gigapixels": (lambda: gif_of(65535, 65535), {NO_PICTURE, LARGE, BROKEN}),
    "gif without a frame": (lambda: gif_of(9, 9), {NO_PICTURE, BROKEN}),
    "gif, moving": (lambda: frames("GIF"), {BROKEN}),
    "png, moving": (lambda: frames("PNG"), {BROKEN}),
    "webp, moving": (lambda: frames("WEBP"), {BROKEN}),
    "webp cut": (lambda: encoded(picture(), "WEBP")[:-200], {NO_PICTURE, BROKEN}),
    "tiff of several pages": (lambda: frames("TIFF"), {BROKEN}),
    "tiff that points at itself": (tiff_without_end, {NO_PICTURE, BROKEN}),
    "tiff of floating-point numbers": (lambda: encoded(picture("F"), "TIFF"), {BROKEN}),
    "tiff cut": (lambda: encoded(picture(), "TIFF")[:3000], {NO_PICTURE, BROKEN}),
    "jpeg 2000 cut": (lambda: b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100), {NO_PICTURE, BROKEN}),
    "avif cut": (lambda: struct.pack(">I", 24) + b"ftypavif" + b"\0\0\0\0avifmif1" + bytes(90), {NO_PICTURE, BROKEN}),
    "ppm with a huge header": (lambda: b"P6 99999 99999 255\n" + bytes(9), {LARGE, BROKEN}),
    "ppm without an end": (lambda: b"P6 " + b"9" * 10_000, {NO_PICTURE, BROKEN}),
    "html that begins as a gif": (lambda: b"GIF89a/*<script>*/=1;" + bytes(100), {NO_PICTURE, BROKEN, LARGE}),
    "a picture in base64": (lambda: b"data:image/png;base64,iVBORw0KGgo=", {NO_PICTURE}),
}


def corpus() -> Iterator[tuple[str, bytes, set[int]]]:
    """Name, content, and the statuses that are right."""
    for name, make in ODD.items():
        yield name, make(), {OK}
    for name, (make, statuses) in HOSTILE.items():
        yield name, make(), statuses
