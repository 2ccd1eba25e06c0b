"""Objectives on a block of outputs: their value, and their derivative by the outputs in place of these."""

from __future__ import annotations

import math

from memcap.engines.fused.functions import exp_stretch
from memcap.engines.fused.simd import equal, lanes_of, less, load, select, store


def cross_entropy(s, outputs, classes, labels, importance, shares, samples):
    """(softmax(z) - onehot) / N in place of z [V, samples]; labels [1, samples] are whole numbers."""
    lanes = lanes_of(s)
    for register in range(samples // lanes):
        i = register * lanes
        top = load(s, outputs + i)
        for k in range(1, classes):
            z = load(s, outputs + k * samples + i)
            top = select(less(top, z), z, top)
        for k in range(classes):
            store(s, outputs + k * samples + i, load(s, outputs + k * samples + i) - top)
    exp_stretch(s, outputs, outputs, classes * samples)
    for register in range(samples // lanes):
        i = register * lanes
        total = load(s, outputs + i)
        for k in range(1, classes):
            total = total + load(s, outputs + k * samples + i)
        share, label = load(s, shares + i), load(s, labels + i)
        scale = share / total
        for k in range(classes):
            probability = load(s, outputs + k * samples + i) * scale
            store(s, outputs + k * samples + i, probability - select(equal(label, float(k)), share, 0.0))


def squared_error(s, outputs, features, targets, importance, shares, samples):
    """2 w_f (x'_f - x_f) / (F N) in place of x' [F, samples]; targets are alike, importance w is [F]."""
    lanes = lanes_of(s)
    for k in range(features):
        weight = 2 * s[importance + k] / features
        row, wanted = outputs + k * samples, targets + k * samples
        for register in range(samples // lanes):
            i = register * lanes
            error = load(s, row + i) - load(s, wanted + i)
            store(s, row + i, error * load(s, shares + i) * weight)


def cross_entropy_value(s, outputs, classes, labels, importance, shares, samples, value):
    """Adds the block's part of the mean loss to what stands at ``value``."""
    for i in range(samples):
        top = s[outputs + i]
        for k in range(1, classes):
            top = max(top, s[outputs + k * samples + i])
        total = 0.0
        for k in range(classes):
            total += math.exp(s[outputs + k * samples + i] - top)
        right = s[outputs + int(s[labels + i]) * samples + i]
        s[value] += (math.log(total) + top - right) * s[shares + i]


def squared_error_value(s, outputs, features, targets, importance, shares, samples, value):
    """Adds the block's part of the mean loss to what stands at ``value``."""
    for k in range(features):
        for i in range(samples):
            error = s[outputs + k * samples + i] - s[targets + k * samples + i]
            s[value] += error * error * s[importance + k] / features * s[shares + i]
