"""What a linear classifier can do at all: exact answers, without training, beside which trained runs stand.

A linear model's cross-entropy is convex and its separability is a linear program, so both have answers that an
optimizer can only approach. Every answer carries its certificate.
"""
