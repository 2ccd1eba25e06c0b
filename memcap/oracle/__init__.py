"""What a linear classifier can do at all: exact answers, without training, beside which trained runs stand.

A linear model's cross-entropy is convex and its separability is a linear program, so both have answers that an
optimizer can only approach. Every answer carries its certificate.
"""

import os

# As a command: matrices of a few hundred rows, where threads of BLAS wait for each other, on a busy machine 20 times as
# long as they work. Read when NumPy is imported, so it changes nothing for whoever has done that already.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
