"""What the trainers add to TensorFlow."""

import keras
import numpy as np
import pytest

from fashion_tuning.model import engine

if keras.backend.backend() != "tensorflow":
    pytest.skip("Keras runs on another backend", allow_module_level=True)

import tensorflow as tf


def test_adam_in_one_kernel_is_keras_s_adam() -> None:
    random = np.random.default_rng(2)
    start = random.normal(size=(40, 10)).astype(np.float32)
    scales = 10.0 ** random.uniform(-6, 2, size=start.shape)  # tiny gradients show the epsilon
    gradients = (scales * random.normal(size=(300, *start.shape))).astype(np.float32)

    def moved_by(optimizer: keras.optimizers.Optimizer) -> np.ndarray:
        variable = keras.Variable(start)
        optimizer.build([variable])
        step = tf.function(lambda gradient: optimizer.apply([gradient], [variable]))
        for gradient in gradients:
            step(tf.constant(gradient))
        return np.asarray(variable) - start

    expected = moved_by(keras.optimizers.Adam(0.003))
    assert np.abs(expected).mean() > 0.01
    # Float32 resolves 1e-7 near 1; 300 steps may round it up or down each, a walk of some 20 such steps.
    np.testing.assert_allclose(moved_by(engine.Adam(0.003)), expected, rtol=1e-5, atol=2e-6)
