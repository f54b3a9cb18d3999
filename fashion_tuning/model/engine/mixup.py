"""Mixup in Keras alone: each of a batch's images blended with the one before it (Zhang et al. 2018, arXiv:1710.09412).

Here it is features that are blended, pooled ones or maps at a cut, as Verma et al. (2019), arXiv:1806.05236, blend
what hidden layers give. An epoch's order is random, so the image before is any image.
"""

import keras


def blend(values, shares):
    """shares * values + (1 - shares) * those of the image before, which the first one has in the last one.

    Args:
      values: (batch, ...) float.
      shares: (batch,) float; None: values as they are.
    """
    if shares is None:
        return values
    shares = keras.ops.reshape(shares, (-1, *(1 for _ in values.shape[1:])))
    return shares * values + (1 - shares) * keras.ops.roll(values, 1, axis=0)
