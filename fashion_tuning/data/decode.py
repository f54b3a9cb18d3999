"""How a file becomes pixels: any photo, upright, RGB, 8 bits a channel."""

import re
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from PIL import Image

from fashion_tuning.data.listing import read_file
from fashion_tuning.data.unread import describe_unread
from fashion_tuning.stderr_gate import gated_stderr

# Goes into every feature key: raise it when a change of this module changes a pixel.
DECODE_VERSION: Final = 1
# Pillow's own warning threshold, a quarter of a gigabyte as RGB: beyond it a small file can exhaust memory.
MAX_PIXELS: Final = 89_478_485

_RESAMPLING: Final = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}
INTERPOLATIONS: Final = tuple(_RESAMPLING)
ASPECTS: Final = ("squash", "pad", "crop")
_PADDING: Final = 128  # grey: about 0 once a network's preprocessing has centred it

Image.init()
# Only formats that Pillow decodes by itself: its EPS reader would start Ghostscript on a stranger's file.
_FORMATS: Final = tuple(
    name
    for name in ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "BMP", "TIFF", "JPEG2000", "MPO", "PPM")
    if name in Image.OPEN  # AVIF came with Pillow 11.3
)

_TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_EXIF_ORIENTATION: Final = 0x0112
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Sizing:
    """How an image of any size becomes the network's square.

    Args:
      image_size: Pixels a side, at least 1.
      interpolation: One of INTERPOLATIONS.
      aspect: "squash" takes the whole photo and changes its proportions, "pad" keeps them and fills the rest with
        grey, "crop" keeps them and takes the largest square in the middle.

    Raises:
      ValueError: One of them is none of these.
    """

    image_size: int
    interpolation: str = "nearest"
    aspect: str = "squash"

    def __post_init__(self) -> None:
        if self.image_size < 1:
            raise ValueError(f"image_size {self.image_size}, expected at least 1")
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation {self.interpolation!r}, expected one of {', '.join(INTERPOLATIONS)}")
        if self.aspect not in ASPECTS:
            raise ValueError(f"aspect {self.aspect!r}, expected one of {', '.join(ASPECTS)}")


class UnreadableImageError(Exception):
    """A file that is no usable photo.

    Args:
      reason: A short clause saying why.
      kind: "unknown" where it is nothing that is read here, "large" where it has too many pixels, else "broken".
    """

    def __init__(self, reason: str, *, kind: str = "broken") -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind = kind


@dataclass(frozen=True)
class Reading:
    """A photo that was read.

    `image` is RGB and upright; `format` is Pillow's word for the content ("JPEG",
    "PNG"); `remarks` says what had to be changed on the way, usually nothing.
    """

    image: Image.Image
    format: str
    remarks: tuple[str, ...]


def read(source: Path | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> Reading:
    """Decodes a file wholly and says what was remarkable about it.

    Args:
      max_pixels: More than these are refused before anything is decoded; at most MAX_PIXELS.

    Raises:
      UnreadableImageError: empty, truncated, broken, animated, too large, or no image at all.
    """
    # Pillow warns about sizes and broken metadata, which are judged here. Naming the filter anew is cheap and,
    # unlike catch_warnings, can't restore another thread's filters wrongly.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    data = read_content(source)
    if not data:
        raise UnreadableImageError("the file is empty")
    # libtiff alone prints what it thinks of a picture, a line for each damaged row.
    gate = gated_stderr() if data[:4] in _TIFF else nullcontext()
    try:
        with gate, Image.open(BytesIO(data), formats=_FORMATS) as image:
            return _to_rgb(image, max_pixels=max_pixels)
    except (UnreadableImageError, MemoryError):
        raise
    except Image.UnidentifiedImageError as error:
        raise UnreadableImageError(describe_unread(data), kind="unknown") from error
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(f"more than {max_pixels:,} pixels", kind="large") from error
    except Exception as error:  # Pillow's readers raise nearly every kind on broken bytes
        raise UnreadableImageError(f"broken: {str(error) or type(error).__name__}") from error


def read_content(source: Path | BinaryIO) -> bytes:
    """Read the bytes of a file, or of a pipe that somebody writes to.

    Raises:
      UnreadableImageError: they can't be read, or it is something else.
    """
    try:
        return read_file(source) if isinstance(source, Path) else source.read()
    except OSError as error:
        raise UnreadableImageError(error.strerror or str(error)) from error


def open_rgb(source: Path | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Opens a photo as an upright RGB image, transparent parts laid over white.

    Args:
      max_pixels: As of `read`.

    Raises:
      UnreadableImageError: the file is no usable photo.
    """
    return read(source, max_pixels=max_pixels).image


def decode(source: Path | BinaryIO, sizing: Sizing) -> np.ndarray:
    """Reads a photo as pixels of one size.

    Returns: uint8 array (image_size, image_size, 3), RGB, 0..255.

    Raises:
      UnreadableImageError: the file is no usable photo.
    """
    return resize(open_rgb(source), sizing)


def resize(image: Image.Image, sizing: Sizing) -> np.ndarray:
    """An RGB image as pixels of one size; the second half of `decode`.

    Returns: uint8 array (image_size, image_size, 3), RGB, 0..255.
    """
    # No Image.draft and no reducing_gap: both are faster and change pixels.
    size = sizing.image_size
    if sizing.aspect == "pad":
        return _pad(image, sizing)
    if sizing.aspect == "crop":  # not resize's own box: that looks beyond its edges
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    return _scale(image, (size, size), sizing)


def from_array(pixels: np.ndarray) -> Image.Image:
    """An image out of an array of any size: uint8, grey (height, width) or (height, width, 1), 3 RGB, 4 RGBA.

    Raises:
      UnreadableImageError: the array is no such image.
    """
    if pixels.dtype != np.uint8 or not pixels.size:
        raise UnreadableImageError(f"an array of {pixels.dtype} {pixels.shape}, expected uint8 with 1, 3 or 4 channels")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))):
        raise UnreadableImageError(f"an array of shape {pixels.shape}, expected 1, 3 or 4 channels")
    return _flatten(Image.fromarray(np.ascontiguousarray(pixels)))


def _pad(image: Image.Image, sizing: Sizing) -> np.ndarray:
    size, longest = sizing.image_size, max(image.size)
    width, height = (max(1, round(size * side / longest)) for side in image.size)
    canvas = np.full((size, size, 3), _PADDING, np.uint8)
    left, top = (size - width) // 2, (size - height) // 2
    canvas[top : top + height, left : left + width] = _scale(image, (width, height), sizing)
    return canvas


def _scale(image: Image.Image, size: tuple[int, int], sizing: Sizing) -> np.ndarray:
    # No Image.draft and no reducing_gap: both are faster and change pixels.
    return np.array(image.resize(size, _RESAMPLING[sizing.interpolation], reducing_gap=None))


def _to_rgb(image: Image.Image, *, max_pixels: int) -> Reading:
    width, height = image.size
    if width * height > max_pixels:
        raise UnreadableImageError(f"{width} x {height} is more than {max_pixels:,} pixels", kind="large")
    content = str(image.format)
    # A phone's MPO is one photo with a depth map or a preview behind it.
    num_frames = 1 if content == "MPO" else getattr(image, "n_frames", 1)
    if num_frames > 1:
        raise UnreadableImageError(f"animated or several pages: {num_frames} frames")
    remarks = []
    if _has_16_bits(image):
        remarks.append("16 bits a channel, read as 8")
    image.load()
    orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    if image.mode in ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N"):
        remarks.append("grey")
    elif image.mode in ("P", "PA"):
        remarks.append("palette")
    elif image.mode == "CMYK":
        remarks.append("CMYK")
    if image.has_transparency_data:
        remarks.append("transparency, laid over white")
    image = _flatten(image)
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
        remarks.append(f"turned upright (EXIF orientation {orientation})")
    return Reading(image, content, tuple(remarks))


def _flatten(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and not image.has_transparency_data:
        return image.copy()  # without the file, its metadata and its plugin
    if image.mode.startswith("I"):
        image = _grey_to_8_bits(image)
    if image.mode == "F":
        raise UnreadableImageError("floating-point pixels, which have no agreed white")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        image = white
    return image.convert("RGB")


def _grey_to_8_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise UnreadableImageError("32-bit integer pixels, which have no agreed white")
    # The high byte, as Pillow itself does for 16-bit colour; convert("L") would cut everything above 255 off.
    grey = (values >> 8).astype(np.uint8)
    if "transparency" in image.info:
        opaque = np.where(values == image.info["transparency"], 0, 255).astype(np.uint8)
        return Image.merge("LA", [Image.fromarray(grey), Image.fromarray(opaque)])
    return Image.fromarray(grey)


def _has_16_bits(image: Image.Image) -> bool:
    return image.mode.startswith("I") or any(re.search(r";16", str(tile.args)) for tile in getattr(image, "tile", ()))
