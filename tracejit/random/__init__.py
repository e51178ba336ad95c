"""Random numbers from keys: pure functions of a key and a shape.

Names and signatures are those of ``jax.random``. Numbers do not depend on the machine,
the number of threads, or on whether keys are used one by one or under `vmap`.
"""

from .keys import fold_in, key, split
from .normal import exponential, normal
from .uniform import bernoulli, bits, uniform

__all__ = ["bernoulli", "bits", "exponential", "fold_in", "key", "normal", "split", "uniform"]
