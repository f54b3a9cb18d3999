"""The one place that needs TensorFlow itself: several heads trained together, an epoch per call.

Keras's own `fit` spends most of a head's step on Python and metrics. Here one compiled
graph runs all steps of an epoch for all seeds; the arithmetic is that of Keras (checked
against `train_on_batch` of the whole network in tests/model/test_parity.py).
"""

import gc
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf


def prepare() -> None:
    """Makes runs repeatable and leaves a GPU's memory to others until it is needed.

    Call once per process, before any model is built.
    """
    # Every trial is another graph of the same code, and TensorFlow would warn of each.
    tf.get_logger().setLevel("ERROR")
    tf.config.experimental.enable_op_determinism()
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)


def forget_models() -> None:
    """Frees what earlier models of this process hold: graphs, copies of the features, weights.

    Keras's global seed goes with it; nothing here draws from that.
    """
    keras.utils.clear_session()
    gc.collect()


class FusedAdam(keras.optimizers.Adam):
    """Keras's Adam with its update in one kernel instead of ten.

    Same formula, Kingma & Ba (2015) section 2 with the bias corrections folded into the
    step size; a 2048 x 1000 layer is bound by memory traffic, and this touches it once.
    """

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        step = tf.cast(_tensor(self.iterations) + 1, tf.float32)
        beta_1 = tf.constant(self.beta_1, tf.float32)
        beta_2 = tf.constant(self.beta_2, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=_tensor(variable).handle,
            m=_tensor(self._momentums[index]).handle,
            v=_tensor(self._velocities[index]).handle,
            beta1_power=tf.pow(beta_1, step),
            beta2_power=tf.pow(beta_2, step),
            lr=tf.cast(learning_rate, tf.float32),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.constant(self.epsilon, tf.float32),
            grad=gradient,
        )


class HeadTrainer:
    """Trains one head per seed on the same features, each with its own order of images.

    Args:
      heads: Keras models (batch, features) -> logits (batch, classes), built and unshared.
      learning_rate: Adam's step size.
      features: (images, features) float32.
      labels: (images,) int class indices.
      batch_size: Images per step; the last step of an epoch takes what is left.
    """

    def __init__(
        self,
        heads: Sequence[keras.Model],
        *,
        learning_rate: float,
        features: np.ndarray,
        labels: np.ndarray,
        batch_size: int,
    ) -> None:
        self.heads = tuple(heads)
        self._features = tf.constant(features, tf.float32)
        self._labels = tf.constant(labels, tf.int32)
        self._batch_size = batch_size
        self._variables = [variable for head in self.heads for variable in head.trainable_variables]
        # One optimizer for all heads: Adam is elementwise, so none feels another.
        self._optimizer = FusedAdam(learning_rate)
        self._optimizer.build(self._variables)
        self._epoch = tf.function(
            self._run_steps, input_signature=[tf.TensorSpec((len(self.heads), len(labels)), tf.int32)]
        )
        self._forward = tf.function(
            self._logits, input_signature=[tf.TensorSpec((None, features.shape[1]), tf.float32)]
        )

    def run_epoch(self, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One pass over the images.

        Args:
          order: (seeds, images) int, for each seed the image indices in the order of training.

        Returns:
          Mean loss and mean accuracy of each seed over the epoch, (seeds,) float64 each, as
          training saw them: with dropout, before each step's update.
        """
        loss, correct = self._epoch(tf.constant(order, tf.int32))
        num_images = order.shape[1]
        return loss.numpy().astype(np.float64) / num_images, correct.numpy().astype(np.float64) / num_images

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Logits of every head, (seeds, images, classes) float32."""
        return self._forward(tf.constant(features, tf.float32)).numpy()

    def _logits(self, features):
        return tf.stack([head(features, training=False) for head in self.heads])

    def _run_steps(self, order):
        num_images = order.shape[1]
        num_steps = -(-num_images // self._batch_size)

        def step(index, loss, correct):
            batch = order[:, index * self._batch_size : tf.minimum((index + 1) * self._batch_size, num_images)]
            step_loss, step_correct = self._step(batch)
            return index + 1, loss + step_loss, correct + step_correct

        zeros = tf.zeros(len(self.heads))
        # One step at a time: the next one reads the weights and dropout counters this one writes.
        _, loss, correct = tf.while_loop(
            lambda index, *_: index < num_steps, step, (0, zeros, zeros), parallel_iterations=1
        )
        return loss, correct

    def _step(self, batch):
        losses, hits = [], []
        with tf.GradientTape() as tape:
            for head, rows in zip(self.heads, tf.unstack(batch, num=len(self.heads)), strict=True):
                labels = tf.gather(self._labels, rows)
                logits = head(tf.gather(self._features, rows), training=True)
                losses.append(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
                hits.append(tf.reduce_sum(tf.cast(tf.argmax(logits, 1, tf.int32) == labels, tf.float32)))
            total = tf.add_n([tf.reduce_mean(loss) for loss in losses])
        gradients = tape.gradient(total, [_tensor(variable) for variable in self._variables])
        self._optimizer.apply(gradients, self._variables)
        return tf.stack([tf.reduce_sum(loss) for loss in losses]), tf.stack(hits)


def _tensor(variable):
    """The TensorFlow variable inside a Keras variable, or the variable itself."""
    return variable.value if isinstance(variable, keras.Variable) else variable
