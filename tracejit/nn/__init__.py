"""Operations of neural networks that NumPy lacks: convolution and pooling.

On NumPy arrays they run in NumPy; inside `jit` and `grad` they are traced.
"""

from .conv import conv
from .pool import avg_pool, max_pool

__all__ = ["avg_pool", "conv", "max_pool"]
