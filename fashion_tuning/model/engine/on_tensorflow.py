"""Training on TensorFlow, the one place that needs it itself; the arithmetic is Keras's (tests/model/test_parity.py).

Keras's own `fit` spends most of a head's step on Python and metrics: several heads are trained together here, all
steps of an epoch in one compiled graph. A suffix of the network takes a step per call, since that is long.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from fashion_tuning.hyperparameters import Value, setting
from fashion_tuning.model.engine.batch import Batch
from fashion_tuning.model.engine.heads import Heads
from fashion_tuning.model.engine.loss import Loss
from fashion_tuning.model.engine.mixup import blend
from fashion_tuning.model.engine.optimizers import Group


def make_repeatable() -> None:
    """Makes runs repeatable and leaves a GPU's memory to others until it is needed."""
    # Every trial is another graph of the same code, and TensorFlow would warn of each.
    tf.get_logger().setLevel("ERROR")
    tf.config.experimental.enable_op_determinism()
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)


def device_kind() -> str:
    """What is computed on: "cpu", or what TensorFlow calls a device that it prefers to that, such as "gpu"."""
    # Asked for what is there, not for what a tensor lands on: that would take a GPU's memory.
    others = {device.device_type for device in tf.config.get_visible_devices()} - {"CPU"}
    return min(others).lower() if others else "cpu"


def has_tensor_float_32() -> bool:
    """Whether a GPU may compute float32 products in TF32, which rounds their factors to 10 bits."""
    return bool(tf.config.experimental.tensor_float_32_execution_enabled())


def refuse_tensor_float_32() -> None:
    """Makes a GPU compute float32 products in float32; since Ampere it does not by itself."""
    tf.config.experimental.enable_tensor_float_32_execution(False)


class Adam(keras.optimizers.Adam):
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


class HeadTrainer(Heads):
    """Trains heads, see `Heads`, all steps of an epoch in one graph."""

    adam = Adam

    def _hold(self, features: np.ndarray, labels: np.ndarray, targets: np.ndarray | None) -> None:
        self._features = tf.constant(features, tf.float32)
        self._labels = tf.constant(labels, tf.int32)
        self._targets = None if targets is None else tf.constant(targets, tf.float32)
        self._epoch = tf.function(self._run_steps)
        self._forward = tf.function(
            self._logits, input_signature=[tf.TensorSpec((None, features.shape[1]), tf.float32)]
        )

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Logits of every head, (seeds, images, classes) float32."""
        return self._forward(tf.constant(features, tf.float32)).numpy()

    def _sums(self, order: np.ndarray, shares: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        loss, correct = self._epoch(tf.constant(order, tf.int32), shares if shares is None else tf.constant(shares))
        return loss.numpy(), correct.numpy()

    def _logits(self, features):
        return tf.stack([head(features, training=False) for head in self.heads])

    def _run_steps(self, order, shares):
        num_images = order.shape[1]
        num_steps = -(-num_images // self._batch_size)

        def step(index, loss, correct):
            some = slice(index * self._batch_size, tf.minimum((index + 1) * self._batch_size, num_images))
            step_loss, step_correct = self._step(order[:, some], shares if shares is None else shares[:, some])
            return index + 1, loss + step_loss, correct + step_correct

        zeros = tf.zeros(len(self.heads))
        # One step at a time: the next one reads the weights and dropout counters this one writes.
        _, loss, correct = tf.while_loop(
            lambda index, *_: index < num_steps, step, (0, zeros, zeros), parallel_iterations=1
        )
        return loss, correct

    def _step(self, batch, shares):
        losses, hits = [], []
        with tf.GradientTape() as tape:
            for place, (head, rows) in enumerate(zip(self.heads, tf.unstack(batch, num=len(self.heads)), strict=True)):
                labels = tf.gather(self._labels, rows % len(self._labels))
                some = None if shares is None else shares[place]
                targets = None if self._targets is None else tf.gather(self._targets, rows)
                logits = head(blend(tf.gather(self._features, rows), some), training=True)
                losses.append(self._loss(labels, logits, some, targets))
                hits.append(tf.reduce_sum(tf.cast(tf.argmax(logits, 1, tf.int32) == labels, tf.float32)))
            total = tf.add_n([tf.reduce_mean(loss) for loss in losses])
        gradients = tape.gradient(total, [_tensor(variable) for variable in self._variables])
        self._optimizer.apply(gradients, self._variables)
        return tf.stack([tf.reduce_sum(loss) for loss in losses]), tf.stack(hits)


class Stepper:
    """Trains one model, a suffix of the network and a head, a batch at a time.

    Args:
      model: Features (batch, height, width, channels) -> logits (batch, classes).
      groups: Its variables with the optimizer of each, see engine/suffix.py.
      values, labels: Of the loss; labels of all images.
    """

    def __init__(
        self, model: keras.Model, groups: Sequence[Group], *, values: Mapping[str, Value], labels: np.ndarray
    ) -> None:
        self._model = model
        self._groups = groups
        self._loss = Loss(values, labels, num_classes=model.output_shape[-1])
        given = {
            "features": tf.TensorSpec((None, *model.input_shape[1:]), tf.float32),
            "labels": tf.TensorSpec((None,), tf.int32),
        }
        if float(setting("mixup", values)):
            given["shares"] = tf.TensorSpec((None,), tf.float32)
        if float(setting("distillation", values)):
            given["targets"] = tf.TensorSpec((None, model.output_shape[-1]), tf.float32)
        self._given = given
        self._step = {
            count: tf.function(partial(self._run_step, groups[:count]), input_signature=[given])
            for count in range(1, 1 + len(groups))
        }
        self._forward = tf.function(
            lambda features: model(features, training=False), input_signature=[given["features"]]
        )

    def step(self, batch: Batch, *, num_groups: int) -> tuple[float, int]:
        """Trains the first `num_groups` groups on a batch; the sum of its losses and the number of right answers."""
        given = {name: tf.constant(getattr(batch, name), spec.dtype) for name, spec in self._given.items()}
        loss, correct = self._step[num_groups](given)
        return float(loss), int(correct)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Logits, (batch, classes) float32."""
        return self._forward(tf.constant(features, tf.float32)).numpy()

    def _run_step(self, groups, given):
        labels, shares = given["labels"], given.get("shares")
        features = blend(given["features"], shares)
        variables = [variable for group in groups for variable in group.variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([_tensor(variable) for variable in variables])
            logits = self._model(features, training=True)
            losses = self._loss(labels, logits, shares, given.get("targets"))
            mean = tf.reduce_mean(losses)
        gradients = iter(tape.gradient(mean, [_tensor(variable) for variable in variables]))
        for group in groups:
            group.optimizer.apply([next(gradients) for _ in group.variables], group.variables)
        hits = tf.reduce_sum(tf.cast(tf.argmax(logits, 1, tf.int32) == labels, tf.int32))
        return tf.reduce_sum(losses), hits


def _tensor(variable):
    """The TensorFlow variable inside a Keras variable, or the variable itself."""
    return variable.value if isinstance(variable, keras.Variable) else variable
