"""A photo as a file again, with nothing in it but what is seen."""

import io
from typing import Final

from fashion_tuning.data.decode import MAX_PIXELS, open_rgb

QUALITY: Final = 95  # of JPEG; beyond it files grow much faster than likeness


def as_jpeg(data: bytes, *, max_pixels: int = MAX_PIXELS) -> bytes:
    """A photo's bytes as JPEG, upright, RGB, without place, camera, thumbnail or any other metadata.

    Raises:
      UnreadableImageError: It is no usable photo.
    """
    content = io.BytesIO()
    image = open_rgb(io.BytesIO(data), max_pixels=max_pixels)
    image.info.clear()  # Pillow writes a comment and a colour profile that it has read once more
    image.save(content, "JPEG", quality=QUALITY)
    return content.getvalue()
