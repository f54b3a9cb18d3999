"""What is known of each backbone without building it: where it can be cut, and what stands before and after.

A cut is named after the first part of the network that trains, as Keras names its layers. Everything before it is
frozen; its features are a map, (height, width, channels). Without a cut all of the backbone is frozen, and its
features are pooled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
      halvings: How often the stem's map has been halved by then.
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
      file: What Keras calls its ImageNet weights without the top.
      preprocessing: Keras's name for how pixels are scaled: "tf" is x / 127.5 - 1, "torch" takes ImageNet's mean
        of each channel from x / 255 and divides by its deviation.
      width: Channels of its last map.
      final_size: Pixels a side that its ImageNet weights were made for.
      cuts: By name, the deepest first.
      stem: Pixels a side of an image -> of the map before the first of the halvings that its cuts count.
      rounds_up: Whether a halving of an odd side gives the larger half.
      options: For Keras's function that builds it.
    """

    application: str
    file: str
    preprocessing: str
    width: int
    final_size: int
    cuts: Mapping[str, Cut]
    stem: Callable[[int], int] = lambda size: size
    rounds_up: bool = True
    options: Mapping[str, object] = field(default_factory=dict)

    def map_shape(self, cut: str, image_size: int) -> tuple[int, int, int]:
        """Height, width and channels of what is cached for one image."""
        side, one = self.stem(image_size), self.cuts[cut]
        for _ in range(one.halvings):
            side = (side + self.rounds_up) // 2
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
        file="xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
        preprocessing="tf",
        width=2048,
        final_size=299,
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
        stem=lambda size: (size - 3) // 2 - 1,  # two convolutions without padding, the first with stride 2
    ),
    "efficientnetv2_b0": Backbone(
        application="EfficientNetV2B0",
        file="efficientnetv2-b0_notop.h5",
        preprocessing="torch",
        width=1280,
        final_size=224,
        cuts={
            "top": Cut("top_conv", 192, 5, 245_760, 2_560),
            "block6": Cut("block6a_expand_conv", 112, 4, 4_446_124, 40_576),
            "block5": Cut("block5a_expand_conv", 96, 4, 5_378_996, 54_752),
            "block4": Cut("block4a_expand_conv", 48, 3, 5_605_232, 59_168),
            "block3": Cut("block3a_expand_conv", 32, 2, 5_740_400, 60_000),
            "block2": Cut("block2a_expand_conv", 16, 1, 5_792_624, 60_512),
        },
        options={"include_preprocessing": False},
    ),
    "efficientnetv2_b1": Backbone(
        application="EfficientNetV2B1",
        file="efficientnetv2-b1_notop.h5",
        preprocessing="torch",
        width=1280,
        final_size=240,
        cuts={
            "top": Cut("top_conv", 192, 5, 245_760, 2_560),
            "block6": Cut("block6a_expand_conv", 112, 4, 5_010_652, 45_568),
            "block5": Cut("block5a_expand_conv", 96, 4, 6_138_432, 62_656),
            "block4": Cut("block4a_expand_conv", 48, 3, 6_460_692, 68_800),
            "block3": Cut("block3a_expand_conv", 32, 2, 6_688_020, 70_112),
            "block2": Cut("block2a_expand_conv", 16, 1, 6_781_204, 70_944),
        },
        options={"include_preprocessing": False},
    ),
    "efficientnetv2_b2": Backbone(
        application="EfficientNetV2B2",
        file="efficientnetv2-b2_notop.h5",
        preprocessing="torch",
        width=1408,
        final_size=260,
        cuts={
            "top": Cut("top_conv", 208, 5, 292_864, 2_816),
            "block6": Cut("block6a_expand_conv", 120, 4, 6_532_882, 54_784),
            "block5": Cut("block5a_expand_conv", 104, 4, 7_827_522, 73_120),
            "block4": Cut("block4a_expand_conv", 56, 3, 8_208_926, 79_840),
            "block3": Cut("block3a_expand_conv", 32, 2, 8_503_838, 81_328),
            "block2": Cut("block2a_expand_conv", 16, 1, 8_597_022, 82_160),
        },
        options={"include_preprocessing": False},
    ),
    "efficientnetv2_b3": Backbone(
        application="EfficientNetV2B3",
        file="efficientnetv2-b3_notop.h5",
        preprocessing="torch",
        width=1536,
        final_size=300,
        cuts={
            "top": Cut("top_conv", 232, 5, 356_352, 3_072),
            "block6": Cut("block6a_expand_conv", 136, 4, 9_755_040, 73_152),
            "block5": Cut("block5a_expand_conv", 112, 4, 11_679_880, 97_328),
            "block4": Cut("block4a_expand_conv", 56, 3, 12_245_830, 106_512),
            "block3": Cut("block3a_expand_conv", 40, 2, 12_563_270, 108_064),
            "block2": Cut("block2a_expand_conv", 16, 1, 12_703_046, 109_072),
        },
        options={"include_preprocessing": False},
    ),
    "convnext_tiny": Backbone(
        application="ConvNeXtTiny",
        file="convnext_tiny_notop.h5",
        preprocessing="torch",
        width=768,
        final_size=224,
        cuts={
            "stage3": Cut("convnext_tiny_downsampling_block_2", 384, 2, 15_472_128, 0),
            "stage2": Cut("convnext_tiny_downsampling_block_1", 192, 1, 26_585_088, 0),
            "stage1": Cut("convnext_tiny_downsampling_block_0", 96, 0, 27_577_344, 0),
        },
        stem=lambda size: size // 4,
        rounds_up=False,
        options={"include_preprocessing": False},
    ),
    "mobilenetv3_small": Backbone(
        application="MobileNetV3Small",
        file="weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
        preprocessing="tf",
        width=576,
        final_size=224,
        cuts={
            "top": Cut("conv_1", 96, 5, 55_296, 1_152),
            "block10": Cut("expanded_conv_10_expand", 96, 5, 346_896, 3_648),
            "block9": Cut("expanded_conv_9_expand", 96, 5, 638_496, 6_144),
            "block8": Cut("expanded_conv_8_expand", 48, 4, 729_000, 7_488),
            "block7": Cut("expanded_conv_7_expand", 48, 4, 758_128, 8_160),
            "block6": Cut("expanded_conv_6_expand", 40, 4, 779_520, 8_736),
            "block5": Cut("expanded_conv_5_expand", 40, 4, 835_744, 9_776),
            "block4": Cut("expanded_conv_4_expand", 40, 4, 891_968, 10_816),
        },
        options={"include_preprocessing": False},
    ),
    "mobilenetv3_large": Backbone(
        application="MobileNetV3Large",
        file="weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
        preprocessing="tf",
        width=960,
        final_size=224,
        cuts={
            "top": Cut("conv_1", 160, 5, 153_600, 1_920),
            "block14": Cut("expanded_conv_14_expand", 160, 5, 946_800, 6_080),
            "block13": Cut("expanded_conv_13_expand", 160, 5, 1_740_000, 10_240),
            "block12": Cut("expanded_conv_12_expand", 112, 4, 2_166_216, 13_248),
            "block11": Cut("expanded_conv_11_expand", 112, 4, 2_549_424, 16_160),
            "block10": Cut("expanded_conv_10_expand", 80, 4, 2_761_704, 18_304),
            "block9": Cut("expanded_conv_9_expand", 80, 4, 2_792_800, 19_200),
            "block8": Cut("expanded_conv_8_expand", 80, 4, 2_823_896, 20_096),
            "block7": Cut("expanded_conv_7_expand", 80, 4, 2_857_696, 21_056),
        },
        options={"include_preprocessing": False},
    ),
    "resnet50v2": Backbone(
        application="ResNet50V2",
        file="resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
        preprocessing="tf",
        width=2048,
        final_size=224,
        cuts={
            "conv5": Cut("conv5_block1_preact_bn", 1024, 5, 14_950_400, 20_480),
            "conv4": Cut("conv4_block1_preact_bn", 512, 4, 22_035_456, 37_888),
            "conv3": Cut("conv3_block1_preact_bn", 256, 3, 23_250_432, 43_520),
            "conv2": Cut("conv2_block1_preact_bn", 64, 2, 23_464_448, 45_440),
        },
    ),
    "densenet121": Backbone(
        application="DenseNet121",
        file="densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
        preprocessing="torch",
        width=1024,
        final_size=224,
        cuts={
            "conv5": Cut("conv5_block1_0_bn", 512, 3, 2_129_920, 30_208),
            "conv4": Cut("conv4_block1_0_bn", 256, 2, 5_455_872, 68_352),
            "conv3": Cut("conv3_block1_0_bn", 128, 1, 6_496_256, 79_744),
            "conv2": Cut("conv2_block1_0_bn", 64, 0, 6_860_800, 83_520),
        },
        stem=lambda size: -(-size // 4),
        rounds_up=False,
    ),
}

NO_CUT: Final = AVERAGE  # all of the network is frozen
