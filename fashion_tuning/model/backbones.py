"""What is known of each backbone without building it: where it can be cut, and what stands before and after.

A cut is named after the first part of the network that trains, as Keras names its layers. Everything before it is
frozen; its features are a map, (height, width, channels). Without a cut all of the backbone is frozen, and its
features are pooled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

# Names in the feature key: they change whenever what they stand for does.
AVERAGE: Final = "avg_pool"
AVERAGE_AND_MAXIMUM: Final = "avg_pool+max_pool"
POOLED: Final = (AVERAGE, AVERAGE_AND_MAXIMUM)


@dataclass(frozen=True)
class Cut:
    """One place to cut a backbone.

    Args:
      layer: Name of the first layer behind it, which takes what is cached.
      channels: Of the cached map.
      halvings: How often the image has been halved by then, see `Backbone.stem`.
      weights: Numbers of the layers behind it that are learned by gradients, batch normalization's not among them.
      normalization: Scales and offsets of batch normalization behind it.
    """

    layer: str
    channels: int
    halvings: int
    weights: int
    normalization: int


@dataclass(frozen=True)
class Backbone:
    """A network of keras.applications without its top.

    Args:
      application: Its name there.
      preprocessing: Keras's name for how pixels are scaled; "tf" is x / 127.5 - 1.
      width: Channels of its last map.
      min_size: The smallest image it takes.
      stem: Pixels a side of an image -> of the map before any halving that rounds up.
      cuts: By name, the deepest first.
    """

    application: str
    preprocessing: str
    width: int
    min_size: int
    stem: Callable[[int], int]
    cuts: dict[str, Cut]

    def map_shape(self, cut: str, image_size: int) -> tuple[int, int, int]:
        """Height, width and channels of what is cached for one image."""
        side, one = self.stem(image_size), self.cuts[cut]
        for _ in range(one.halvings):
            side = -(-side // 2)
        return side, side, one.channels

    def multiplications(self, cut: str, image_size: int) -> int:
        """Of one image through all that stands behind a cut, forward, about."""
        names = list(self.cuts)
        total = deeper = 0
        for name in names[: names.index(cut) + 1]:
            height, width, _ = self.map_shape(name, image_size)
            total += (self.cuts[name].weights - deeper) * height * width
            deeper = self.cuts[name].weights
        return total


def row_shape(backbone: str, cut: str, image_size: int) -> tuple[int, ...]:
    """Shape of the features of one image."""
    found = BACKBONES[backbone]
    if cut in POOLED:
        return (found.width * (1 + POOLED.index(cut)),)
    return found.map_shape(cut, image_size)


BACKBONES: Final = {
    "xception": Backbone(
        application="Xception",
        preprocessing="tf",
        width=2048,
        min_size=71,
        stem=lambda size: (size - 3) // 2 - 1,  # two convolutions without padding, the first with stride 2
        cuts={
            "block14": Cut("block14_sepconv1", 1024, 4, 4_741_632, 7_168),
            "block13": Cut("block13_sepconv1_act", 728, 3, 6_775_664, 12_720),
            "block12": Cut("block12_sepconv1_act", 728, 3, 8_385_272, 17_088),
            "block11": Cut("block11_sepconv1_act", 728, 3, 9_994_880, 21_456),
            "block10": Cut("block10_sepconv1_act", 728, 3, 11_604_488, 25_824),
            "block9": Cut("block9_sepconv1_act", 728, 3, 13_214_096, 30_192),
            "block8": Cut("block8_sepconv1_act", 728, 3, 14_823_704, 34_560),
            "block7": Cut("block7_sepconv1_act", 728, 3, 16_433_312, 38_928),
            "block6": Cut("block6_sepconv1_act", 728, 3, 18_042_920, 43_296),
            "block5": Cut("block5_sepconv1_act", 728, 3, 19_652_528, 47_664),
            "block4": Cut("block4_sepconv1_act", 256, 2, 20_564_104, 52_032),
            "block3": Cut("block3_sepconv1_act", 128, 1, 20_698_632, 53_568),
            "block2": Cut("block2_sepconv1", 64, 0, 20_733_128, 54_336),
        },
    ),
}
