"""Every kind of file a person's folder may hold, made with Pillow and read back."""

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from fashion_tuning.data.decode import (
    ASPECTS,
    INTERPOLATIONS,
    Sizing,
    UnreadableImageError,
    decode,
    open_rgb,
    read,
    resize,
)

ORANGE = (240, 120, 20)


def corners(width: int = 40, height: int = 60) -> Image.Image:
    """Four differently coloured quarters, so that every turn and mirroring shows."""
    image = Image.new("RGB", (width, height), (255, 0, 0))
    image.paste((0, 255, 0), (width // 2, 0, width, height // 2))
    image.paste((0, 0, 255), (0, height // 2, width // 2, height))
    image.paste((255, 255, 0), (width // 2, height // 2, width, height))
    return image


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def reason(path: Path) -> str:
    with pytest.raises(UnreadableImageError) as caught:
        open_rgb(path)
    return caught.value.reason


def png(header: bytes, rows: bytes) -> bytes:
    """A PNG by hand, for what Pillow reads but doesn't write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_plain_photo_is_unchanged(tmp_path):
    image = corners()
    reading = read(saved(image, tmp_path / "a.png"))
    assert np.array_equal(np.array(reading.image), np.array(image))
    assert reading.image.mode == "RGB"
    assert reading.remarks == ()


def test_reads_from_an_open_file(tmp_path):
    path = saved(corners(), tmp_path / "a.png")
    assert np.array_equal(np.array(open_rgb(io.BytesIO(path.read_bytes()))), np.array(open_rgb(path)))


def test_content_decides_not_the_name(tmp_path):
    path = tmp_path / "really-a-png.jpg"
    corners().save(path, format="PNG")
    reading = read(path)
    assert reading.format == "PNG"
    assert np.array_equal(np.array(reading.image), np.array(corners()))


@pytest.mark.parametrize("content", [b"", b"not an image at all, just text", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n\x00"])
def test_no_image_is_refused(tmp_path, content):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    assert ("empty" in reason(path)) is (content == b"")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_truncated_file_is_refused(tmp_path, kind, part):
    noise = np.random.default_rng(1).integers(0, 256, (80, 60, 3), dtype=np.uint8)
    whole = io.BytesIO()
    Image.fromarray(noise).save(whole, format=kind)
    path = tmp_path / "a.jpg"
    path.write_bytes(whole.getvalue()[: int(len(whole.getvalue()) * part)])
    assert reason(path)


def test_broken_png_is_refused(tmp_path):
    path = saved(corners(), tmp_path / "a.png")
    content = bytearray(path.read_bytes())
    middle = content.index(b"IDAT") + 12
    content[middle : middle + 8] = b"\xa5" * 8
    path.write_bytes(content)
    assert "broken" in reason(path)


@pytest.mark.parametrize("seed", range(40))
def test_random_damage_never_raises_anything_else(tmp_path, seed):
    random = np.random.default_rng(seed)
    kind = ("JPEG", "PNG", "GIF", "WEBP", "TIFF")[seed % 5]
    whole = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a description"
    corners().save(whole, format=kind, **({} if kind == "GIF" else {"exif": exif}))
    content = np.frombuffer(whole.getvalue(), np.uint8).copy()
    content[random.integers(0, len(content), 20)] = random.integers(0, 256, 20)
    path = tmp_path / "a.jpg"
    path.write_bytes(content.tobytes())
    with suppress(UnreadableImageError):
        assert open_rgb(path).mode == "RGB"


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_animation_is_refused(tmp_path, kind):
    path = tmp_path / "a.jpg"
    corners().save(path, format=kind, save_all=True, append_images=[Image.new("RGB", (40, 60), ORANGE)])
    assert "2 frames" in reason(path)


def test_gif_of_one_frame_is_read(tmp_path):
    reading = read(saved(Image.new("RGB", (8, 8), ORANGE), tmp_path / "a.gif"))
    assert reading.image.getpixel((3, 3)) == ORANGE


def test_mpo_of_a_phone_is_its_first_frame(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("RGB", (16, 16), ORANGE).save(
        path, format="MPO", save_all=True, append_images=[Image.new("RGB", (16, 16), "blue")], quality=95
    )
    reading = read(path)
    assert reading.format == "MPO"
    assert np.allclose(np.array(reading.image), ORANGE, atol=4)


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_keeps_its_colour(tmp_path, suffix):
    # Pillow writes a CMYK JPEG the way Adobe does, inverted and marked.
    path = saved(Image.new("RGB", (16, 16), ORANGE).convert("CMYK"), tmp_path / f"a.{suffix}")
    reading = read(path)
    assert np.allclose(np.array(reading.image), ORANGE, atol=4)
    assert "CMYK" in reading.remarks


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_grey_is_spread_over_three_channels(tmp_path, suffix):
    reading = read(saved(Image.new("L", (9, 9), 77), tmp_path / f"a.{suffix}"))
    assert np.all(np.array(reading.image) == 77)
    assert reading.remarks == ("grey",)


def test_black_and_white(tmp_path):
    assert np.all(np.array(open_rgb(saved(Image.new("1", (9, 9), 1), tmp_path / "a.png"))) == 255)


def test_palette_is_expanded(tmp_path):
    reading = read(saved(corners().quantize(8), tmp_path / "a.png"))
    assert np.array_equal(np.array(reading.image), np.array(corners()))
    assert reading.remarks == ("palette",)


def test_alpha_is_laid_over_white(tmp_path):
    image = Image.new("RGBA", (3, 1))
    image.putdata([(10, 20, 30, 0), (10, 20, 30, 255), (0, 0, 0, 51)])
    reading = read(saved(image, tmp_path / "a.png"))
    assert [reading.image.getpixel((x, 0)) for x in range(3)] == [(255, 255, 255), (10, 20, 30), (204, 204, 204)]
    assert any("transparency" in remark for remark in reading.remarks)


def test_grey_with_alpha_is_laid_over_white(tmp_path):
    image = Image.merge("LA", [Image.new("L", (2, 2), 0), Image.new("L", (2, 2), 0)])
    assert np.all(np.array(open_rgb(saved(image, tmp_path / "a.png"))) == 255)


@pytest.mark.parametrize("transparency", [0, b"\x00\xff"])
def test_transparent_palette_is_laid_over_white(tmp_path, transparency):
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, *ORANGE])
    image.putdata([0, 1])
    read_back = open_rgb(saved(image, tmp_path / "a.png", transparency=transparency))
    assert [read_back.getpixel((x, 0)) for x in range(2)] == [(255, 255, 255), ORANGE]


def test_transparent_colour_of_grey_and_rgb(tmp_path):
    for image, colour in ((Image.new("L", (2, 2), 7), 7), (Image.new("RGB", (2, 2), ORANGE), ORANGE)):
        assert np.all(np.array(open_rgb(saved(image, tmp_path / "a.png", transparency=colour))) == 255)


def test_grey_of_16_bits_is_scaled(tmp_path):
    values = np.array([[0, 255, 256, 128 * 257, 65535]], np.uint16)
    reading = read(saved(Image.fromarray(values), tmp_path / "a.png"))
    assert np.array(reading.image)[0, :, 0].tolist() == [0, 0, 1, 128, 255]
    assert any("16 bits" in remark for remark in reading.remarks)
    assert "grey" in reading.remarks


def test_transparent_grey_of_16_bits(tmp_path):
    values = np.array([[300, 40000]], np.uint16)
    read_back = open_rgb(saved(Image.fromarray(values), tmp_path / "a.png", transparency=300))
    assert np.array(read_back)[0, :, 0].tolist() == [255, 40000 >> 8]


def test_colour_of_16_bits_is_scaled(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(
        png(struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0), b"\0" + struct.pack(">HHH", 65535, 128 * 257, 0))
    )
    reading = read(path)
    assert reading.image.getpixel((0, 0)) == (255, 128, 0)
    assert any("16 bits" in remark for remark in reading.remarks)


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_values_without_a_white_are_refused(tmp_path, kind):
    path = saved(Image.fromarray(np.full((4, 4), 100_000, kind)), tmp_path / "a.tif")
    assert "white" in reason(path)


# Where the red quarter (top left of the stored pixels) stands when the photo is upright, by EXIF orientation.
RED = {1: (0, 0), 2: (1, 0), 3: (1, 1), 4: (0, 1), 5: (0, 0), 6: (1, 0), 7: (1, 1), 8: (0, 1)}
# And the green one, stored top right.
GREEN = {1: (1, 0), 2: (0, 0), 3: (0, 1), 4: (1, 1), 5: (0, 1), 6: (1, 1), 7: (1, 0), 8: (0, 0)}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_exif_orientation_is_applied(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    reading = read(saved(corners(), tmp_path / f"a.{suffix}", exif=exif, quality=95))
    width, height = reading.image.size
    assert (width, height) == ((40, 60) if orientation <= 4 else (60, 40))

    def quarter(place: tuple[int, int]) -> tuple[int, ...]:
        return reading.image.getpixel((width // 4 + place[0] * width // 2, height // 4 + place[1] * height // 2))

    assert np.allclose(quarter(RED[orientation]), (255, 0, 0), atol=40)
    assert np.allclose(quarter(GREEN[orientation]), (0, 255, 0), atol=40)
    assert any("upright" in remark for remark in reading.remarks) is (orientation > 1)


def test_broken_exif_does_not_matter(tmp_path):
    path = saved(corners(), tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\x09\0" + b"\xff" * 30)
    assert open_rgb(path).size == (40, 60)


@pytest.mark.parametrize("side", [10_000, 20_000, 60_000])
def test_decompression_bomb_is_refused(tmp_path, side):
    path = tmp_path / "a.png"
    path.write_bytes(png(struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0), b""))
    assert "pixels" in reason(path)


def test_postscript_is_not_run(tmp_path):
    path = saved(corners(), tmp_path / "a.eps")
    assert "not an image" in reason(path)


def test_missing_file_and_folder(tmp_path):
    assert "No such file" in reason(tmp_path / "nothing.jpg")
    assert "directory" in reason(tmp_path)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif_is_read(tmp_path):
    path = saved(Image.new("RGB", (16, 16), ORANGE), tmp_path / "a.avif", quality=95)
    assert np.allclose(np.array(open_rgb(path)), ORANGE, atol=8)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_decode_squashes_the_whole_photo(tmp_path, interpolation):
    pixels = decode(saved(corners(), tmp_path / "a.png"), Sizing(30, interpolation))
    assert pixels.shape == (30, 30, 3)
    assert pixels.dtype == np.uint8
    places = [pixels[5, 5], pixels[5, 25], pixels[25, 5], pixels[25, 25]]
    assert [tuple(place) for place in places] == [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)]


def test_decoded_pixels_are_pinned(tmp_path):
    ramp = np.arange(16 * 16 * 3, dtype=np.uint32).reshape(16, 16, 3) * 7 % 256
    path = saved(Image.fromarray(ramp.astype(np.uint8)), tmp_path / "a.png")
    sums = {name: int(decode(path, Sizing(5, name)).astype(int).sum()) for name in INTERPOLATIONS}
    # Where a number changes, so do the features: raise DECODE_VERSION.
    assert sums == {"nearest": 9455, "bilinear": 9571, "bicubic": 9560, "lanczos": 9564, "box": 9561}


def test_decode_gives_an_array_that_can_be_written(tmp_path):
    pixels = decode(saved(corners(), tmp_path / "a.png"), Sizing(4))
    pixels += 1


@pytest.mark.parametrize("aspect", ["pad", "crop"])
@pytest.mark.parametrize("size", [(40, 60), (60, 40), (50, 50), (3, 90), (200, 1)])
def test_proportions_are_kept(size, aspect):
    """A circle's box stays square: what is drawn twice as wide as high is so afterwards."""
    image = Image.new("RGB", size, "white")
    width, height = size
    image.paste((255, 0, 0), (width // 4, height // 4, width - width // 4, height - height // 4))
    pixels = resize(image, Sizing(120, "nearest", aspect))
    assert pixels.shape == (120, 120, 3)
    red = (pixels == (255, 0, 0)).all(-1)
    rows, columns = red.any(1).sum(), red.any(0).sum()
    scale = 120 / (max(size) if aspect == "pad" else min(size))
    assert abs(columns - min(120, scale * (width - 2 * (width // 4)))) <= 2
    assert abs(rows - min(120, scale * (height - 2 * (height // 4)))) <= 2


def test_padding_is_grey_and_around_the_whole_photo():
    pixels = resize(Image.new("RGB", (20, 40), ORANGE), Sizing(80, "nearest", "pad"))
    assert (pixels[:, 20:60] == ORANGE).all()
    assert (pixels[:, :20] == 128).all()
    assert (pixels[:, 60:] == 128).all()


def test_cropping_takes_the_middle():
    image = Image.new("RGB", (20, 40), "black")
    image.paste(ORANGE, (0, 10, 20, 30))
    assert (resize(image, Sizing(80, "bilinear", "crop")) == ORANGE).all()


def test_a_square_photo_is_the_same_for_every_aspect():
    random = np.random.default_rng(5)
    image = Image.fromarray(random.integers(0, 256, (33, 33, 3), dtype=np.uint8))
    squashed, *others = (resize(image, Sizing(50, "bicubic", aspect)) for aspect in ASPECTS)
    assert all((one == squashed).all() for one in others)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((10, "area"), "lanczos"), ((0,), "at least 1"), ((10, "nearest", "stretch"), "squash, pad, crop")],
)
def test_wrong_sizings(arguments, message):
    with pytest.raises(ValueError, match=message):
        Sizing(*arguments)


def test_threads_agree_with_one_thread(tmp_path):
    random = np.random.default_rng(3)
    paths = [
        saved(Image.fromarray(random.integers(0, 256, (50, 40, 3), dtype=np.uint8)), tmp_path / f"{number}.jpg")
        for number in range(32)
    ]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda path: decode(path, Sizing(20)), paths))
    assert np.array_equal(together, [decode(path, Sizing(20)) for path in paths])
