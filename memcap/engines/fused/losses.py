"""Objectives on a block of outputs: their value, and their derivative by the outputs in place of these."""

from __future__ import annotations

import math

from memcap.engines.fused.functions import exp_stretch
from memcap.engines.fused.pieces import compiled
from memcap.engines.fused.simd import equal, lanes_of, less, load, select, splat, store


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


_cross_entropy = compiled(cross_entropy)


def cross_entropy_from_others(s, outputs, classes, labels, importance, shares, samples):
    """As ``cross_entropy``, but the label's derivative is minus the sum of the others: they add up to 0.

    p - 1 of a memorized sample has no digits of what is left of 1; the others keep theirs. For norms of samples: a step
    of the training does not wait for it.
    """
    _cross_entropy(s, outputs, classes, labels, importance, shares, samples)
    for register in range(samples // lanes_of(s)):
        i = register * lanes_of(s)
        label, others = load(s, labels + i), splat(s, 0.0)
        for k in range(classes):
            others = others + select(equal(label, float(k)), 0.0, load(s, outputs + k * samples + i))
        for k in range(classes):
            own = load(s, outputs + k * samples + i)
            store(s, outputs + k * samples + i, select(equal(label, float(k)), 0.0 - others, own))


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


def cross_entropy_of_samples(s, outputs, classes, labels, importance, samples, losses, correct, room):
    """-log softmax(z)[label] of each sample, and whether the label is the (first) largest logit: 1 or 0.

    Differences to the largest logit are summed without its own 1, so that a loss below float32's epsilon keeps its
    digits. ``room`` is for [classes, samples]; z stays.
    """
    lanes = lanes_of(s)
    for register in range(samples // lanes):
        i = register * lanes
        top, label = load(s, outputs + i), load(s, labels + i)
        own, place = top, splat(s, 0.0)
        for k in range(1, classes):
            z = load(s, outputs + k * samples + i)
            is_larger = less(top, z)
            top, place = select(is_larger, z, top), select(is_larger, float(k), place)
            own = select(equal(label, float(k)), z, own)
        for k in range(classes):
            difference = load(s, outputs + k * samples + i) - top
            store(s, room + k * samples + i, difference)
        store(s, losses + i, top - own)
        store(s, correct + i, place)
    exp_stretch(s, room, room, classes * samples)
    for register in range(samples // lanes):
        i = register * lanes
        place, label = load(s, correct + i), load(s, labels + i)
        rest = select(equal(place, 0.0), 0.0, load(s, room + i))
        for k in range(1, classes):
            rest = rest + select(equal(place, float(k)), 0.0, load(s, room + k * samples + i))
        store(s, room + i, rest)
        store(s, correct + i, select(equal(place, label), 1.0, 0.0))
    for i in range(samples):
        s[losses + i] += math.log1p(s[room + i])
        if s[losses + i] - s[losses + i] != 0:  # what has no loss is not right
            s[correct + i] = 0


def squared_error_of_samples(s, outputs, features, targets, importance, samples, losses, correct, room):
    """mean_f w_f (x'_f - x_f)² of each sample; for one-hot targets whether the (first) largest output is their 1."""
    lanes = lanes_of(s)
    for register in range(samples // lanes):
        i = register * lanes
        top, at_top = load(s, outputs + i), load(s, targets + i)
        total = splat(s, 0.0)
        for k in range(features):
            x, wanted = load(s, outputs + k * samples + i), load(s, targets + k * samples + i)
            is_larger = less(top, x)
            top, at_top = select(is_larger, x, top), select(is_larger, wanted, at_top)
            total = total + (x - wanted) * (x - wanted) * s[importance + k]
        total = total / float(features)
        store(s, losses + i, total)
        store(s, correct + i, select(equal(total - total, 0.0), at_top, 0.0))


def cross_entropy_tangent(s, outputs, pairs, tangents, classes, labels, importance, shares, samples, count):
    """p (R{z} - sum_k p_k R{z}_k) / N, written to ``outputs`` [V, samples].

    The derivatives δ = (p - onehot) / N stand in every second row of ``pairs`` [V, 2, samples], R{z} in ``tangents``.
    Differences to the label's R{z} are weighed, so that a label whose p is nearly 1 loses no digits.
    """
    lanes = lanes_of(s)
    for register in range(samples // lanes):
        i = register * lanes
        label, share = load(s, labels + i), load(s, shares + i)
        at_label = load(s, tangents + i)
        for k in range(1, classes):
            at_label = select(equal(label, float(k)), load(s, tangents + k * samples + i), at_label)
        mean = at_label - at_label
        for k in range(classes):
            probability = load(s, pairs + 2 * k * samples + i) * float(count)
            difference = load(s, tangents + k * samples + i) - at_label
            mean = mean + select(equal(label, float(k)), 0.0, probability * difference)
        for k in range(classes):
            by_logit = load(s, pairs + 2 * k * samples + i)
            weight = by_logit + select(equal(label, float(k)), share, 0.0)
            difference = load(s, tangents + k * samples + i) - at_label - mean
            store(s, outputs + k * samples + i, weight * difference)


def squared_error_tangent(s, outputs, pairs, tangents, features, targets, importance, shares, samples, count):
    """2 w_f R{x'_f} / (F N), written to ``outputs`` [F, samples]; R{x'} stands in ``tangents``."""
    for k in range(features):
        weight = 2 * s[importance + k] / features
        for register in range(samples // lanes_of(s)):
            i = register * lanes_of(s)
            tangent = load(s, tangents + k * samples + i)
            store(s, outputs + k * samples + i, tangent * load(s, shares + i) * weight)
