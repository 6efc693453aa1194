"""Writes the SavedModels that test/engine/saved-model.test.ts serves: python3 saved_models.py FOLDER

Each shows something that graphs in TF.js's own format do not have: weights in variables beside the graph, names of
the signature that are not those of its tensors, and types that TF.js lacks. Weights follow a formula, so that the
test can compute the answers by itself.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf  # noqa: E402  (the level above must be set before)


class Dense(tf.Module):
    """Two named inputs, two named outputs: logits = left @ kernel + right + bias, and their softmax."""

    def __init__(self):
        kernel = [[(i * 3 + j) / 10 - 0.5 for j in range(3)] for i in range(4)]
        self.kernel = tf.Variable(kernel, dtype=tf.float32)
        self.bias = tf.Variable([0.5, -0.25, 1.0], dtype=tf.float32)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 4], tf.float32, name="left"),
            tf.TensorSpec([None, 3], tf.float32, name="right"),
        ]
    )
    def serve(self, left, right):
        logits = left @ self.kernel + right + self.bias
        return {"probabilities": tf.nn.softmax(logits), "logits": logits}


class Typed(tf.Module):
    """Whole numbers of one byte in, of eight bytes in and out, and truth values out."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 2], tf.uint8, name="pixels"),
            tf.TensorSpec([None, 2], tf.int64, name="ids"),
        ]
    )
    def serve(self, pixels, ids):
        return {
            "next_ids": ids + 1,
            "is_bright": pixels > 127,
            "brightness": tf.reduce_mean(tf.cast(pixels, tf.float32), axis=1),
        }


class Bytes(tf.Module):
    """An output of a type that tfjs-node cannot read."""

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.uint8, name="pixels")])
    def serve(self, pixels):
        return {"inverted": 255 - pixels}


class Text(tf.Module):
    """An input of a type that predictions do not carry."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def serve(self, text):
        return {"length": tf.strings.length(text)}


class Picture(tf.Module):
    """The mean of each channel of pictures in [0, 1]: the class is the strongest colour."""

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3], tf.float32, name="image")])
    def serve(self, image):
        return {"scores": tf.reduce_mean(image, axis=[1, 2])}


def main():
    for model in (Dense(), Typed(), Bytes(), Text(), Picture()):
        folder = os.path.join(sys.argv[1], type(model).__name__.lower())
        tf.saved_model.save(model, folder, signatures=model.serve)


main()
