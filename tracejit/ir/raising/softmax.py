"""Recipes for softmax, log-softmax and logsumexp with the maximum subtracted.

The maximum may be taken over more than the axes summed (one for the whole array), and
may stand in a `stop_gradient`: all that counts is that it is the same along each row,
because then it cancels, in the derivative too.
"""

from ..ops.elementwise import add_p, div_p, exp_p, log_p, mul_p, pow_p, sub_p
from ..ops.reduce import reduce_max_p, reduce_sum_p
from .matcher import (
    Bind,
    Constant,
    Raised,
    Reduce,
    Shift,
    Whole,
    match_rows,
    number,
    one_of,
    op,
)
from .recipe import Recipe

X = Whole("x")
TOP = Constant(Shift(reduce_max_p, Constant(X)))
SHIFTED = op(sub_p, X, TOP)
EXPONENTIALS = op(exp_p, SHIFTED)
TOTAL = Reduce(reduce_sum_p, Bind("exponentials"))

LOGSUMEXP = Recipe(
    "logsumexp",
    (add_p,),
    op(add_p, TOP, op(log_p, Reduce(reduce_sum_p, EXPONENTIALS))),
    "add m, (log (reduce_sum (exp (sub x, m)))) -> logsumexp x, m = reduce_max x",
    find=match_rows,
    # Two maxima cancel only if they are the same one.
    accept=lambda m: len(m.shifts) == 1,
)
LOG_SOFTMAX = Recipe(
    "log_softmax",
    (sub_p, log_p),
    one_of(
        op(
            sub_p,
            Bind("shifted", SHIFTED),
            op(log_p, Reduce(reduce_sum_p, op(exp_p, Bind("shifted")))),
        ),
        op(sub_p, X, Raised("logsumexp", X, reduces=True)),
        op(log_p, Raised("softmax", X)),
    ),
    "sub z, (log (reduce_sum (exp z))) -> log_softmax x, z = sub x, (reduce_max x); "
    "sub x, (logsumexp x) -> log_softmax x; log (softmax x) -> log_softmax x",
)
SOFTMAX = Recipe(
    "softmax",
    (div_p, mul_p, exp_p),
    one_of(
        op(div_p, Bind("exponentials", EXPONENTIALS), TOTAL),
        op(mul_p, Bind("exponentials", EXPONENTIALS), op(div_p, number(1), TOTAL)),
        op(mul_p, Bind("exponentials", EXPONENTIALS), op(pow_p, TOTAL, number(-1))),
        op(exp_p, Raised("log_softmax", X)),
    ),
    "div e, (reduce_sum e) -> softmax x, e = exp (sub x, (reduce_max x)); "
    "exp (log_softmax x) -> softmax x",
)
RECIPES = (LOGSUMEXP, LOG_SOFTMAX, SOFTMAX)
