"""Why the compiler did what users ask about: one table of reason codes.

Needs nothing but the names of fusion's refusals. Establishes `REASONS`: for each code
of an explanation its group, what happened, why, and what to change in the program.
docs/reasons.md is this table, as `table` prints it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ..passes.groups import Refusal

GROUPS: Mapping[str, str] = {
    "retrace": "Why a function was traced and compiled again",
    "call": "Why calls take longer than they could",
    "fusion": "Why a value goes through memory between two kernels",
    "memory": "What lies in memory between steps",
    "copy": "What is copied",
    "layout": "What is laid out otherwise",
    "host": "What runs outside of kernels",
    "write-back": "Arguments that the function changes",
    "donation": "Arguments that are given away",
    "capture": "What is found outside of the arguments",
    "specialise": "Values that are constants of the code",
    "loop": "Python loops",
}
NOTHING = "nothing to do"


@dataclass(frozen=True)
class Reason:
    """One reason code.

    Parameters
    ----------
    code : str
    group : str
        Of `GROUPS`.
    title : str
        What happened, in a few words.
    why : str
        What makes it so.
    remedy : str
        How to change the program; `NOTHING` where nothing need be.
    """

    code: str
    group: str
    title: str
    why: str
    remedy: str


def _fusion(name: str, why: str, remedy: str) -> Reason:
    return Reason(name, "fusion", Refusal[name].value, why, remedy)


_TABLE = (
    # --- retrace
    Reason(
        "RETRACE_SHAPE",
        "retrace",
        "an array has another shape",
        "code is compiled for one shape of each array",
        "pad to a few fixed shapes, or cut the data into blocks of one",
    ),
    Reason(
        "RETRACE_DTYPE",
        "retrace",
        "an array has another dtype",
        "code is compiled for one dtype of each array",
        "convert it once, where it is made: x.astype(np.float32)",
    ),
    Reason(
        "RETRACE_STRIDES",
        "retrace",
        "an array lies in memory in another way",
        "strides are constants of the code: views are read without a copy",
        "pass np.ascontiguousarray(x), or the same kind of view each time",
    ),
    Reason(
        "RETRACE_KIND",
        "retrace",
        "a value has another type",
        "an int, a float, a NumPy scalar and an array compute in different dtypes",
        "pass one type: float(x), np.float32(x) or np.asarray(x)",
    ),
    Reason(
        "RETRACE_TREE",
        "retrace",
        "the containers of an argument differ",
        "the trace is of the items that there are: keys, lengths, classes, None",
        "keep the same keys in the same order, and lists of one length; stack what "
        "grows into an array",
    ),
    Reason(
        "RETRACE_VALUE",
        "retrace",
        "a value that is a constant of the code differs",
        "booleans, strings and static arguments decide what is traced",
        "pass a number or an array, and choose with np.where or tj.cond",
    ),
    Reason(
        "RETRACE_OBJECT",
        "retrace",
        "an argument is another object",
        "objects that are no containers are known by their identity alone",
        "pass the same object each time, or a dataclass or dict of its arrays",
    ),
    Reason(
        "RETRACE_INT",
        "retrace",
        "an int changed for the first time",
        "an int is a constant until it changes; from then on it is a run-time value",
        "nothing to do: it happens once for each int; a NumPy integer (np.int64(n)) is "
        "a run-time value from the start",
    ),
    Reason(
        "RETRACE_ASKED",
        "retrace",
        "a number changed that Python had asked for",
        "`if`, `range`, indexing and shapes need the number while the function is "
        "traced, so that the trace is right for that number alone",
        "choose with np.where or tj.cond, repeat with tj.fori_loop, or pass few values",
    ),
    Reason(
        "RETRACE_SWITCH",
        "retrace",
        "a switch of tj.config differs",
        "code depends on these switches",
        "set switches once, before the first call",
    ),
    Reason(
        "RETRACE_DEVICE",
        "retrace",
        "the call runs on another device",
        "code is compiled for one device",
        "keep the arrays of a function on one device",
    ),
    Reason(
        "RETRACE_CAPTURE",
        "retrace",
        "another array is where a captured one was",
        "arrays that are no arguments are captured where they are found; another "
        "object there may have another shape",
        "write into the array (w[:] = new), or pass it as an argument",
    ),
    Reason(
        "RETRACE_CONSTANT",
        "retrace",
        "a value outside of the arguments changed",
        "numbers, strings and functions that the code names are constants of it",
        "pass it as an argument",
    ),
    Reason(
        "RETRACE_ALIASES",
        "retrace",
        "other arguments are one and the same array",
        "what is written to the one is seen in the other, so the trace differs",
        "pass copies, or always the same array twice",
    ),
    Reason(
        "RETRACE_EVICTED",
        "retrace",
        "the code for such calls was forgotten",
        "a function keeps as many compiled forms as the switch max_specializations "
        "says, and forgets the oldest",
        "raise tj.config's max_specializations, or compile for fewer forms",
    ),
    Reason(
        "RETRACE_CLEARED",
        "retrace",
        "the code for such calls was cleared",
        "clear_cache was called",
        "do not call clear_cache between calls",
    ),
    Reason(
        "RETRACE_REPLACED",
        "retrace",
        "the code for such calls was replaced",
        "a later trace with the same numbers asked for other ones first",
        "let the function ask for its numbers in one order",
    ),
    # --- call
    Reason(
        "CALL_PYTHON",
        "call",
        "calls are recognised in Python",
        "machine code cannot check these arguments: about a microsecond a call",
        "pass arrays, numbers, tuples, lists and dicts",
    ),
    Reason(
        "CALL_UNALIGNED",
        "call",
        "an argument is copied at each call",
        "its elements are not at multiples of their size",
        "keep it in an array of its own: np.array(x) once, instead of a field of a "
        "packed record or an odd offset of a buffer",
    ),
    Reason(
        "CALL_OVERLAP",
        "call",
        "calls ran in NumPy, not as compiled code",
        "an argument that is written shares memory with another one",
        "pass copies, or arrays that do not overlap",
    ),
    # --- fusion
    _fusion(
        "SPACE",
        "a kernel has one shape of elements",
        "often nothing: the loops differ",
    ),
    _fusion(
        "VIEW",
        "an element of a kernel knows only the values of its own position",
        "read the array that the value was computed from, so that it can be repeated",
    ),
    _fusion("CYCLE", "its operands need each other through a third kernel", NOTHING),
    _fusion(
        "AXES",
        "the sums of a kernel all keep the same axes",
        "nothing to do: each reads the array once",
    ),
    _fusion(
        "BACK",
        "all rows must be summed before the first can use the sum",
        "put the reduced axis last",
    ),
    _fusion(
        "SHARED",
        "another line reads the value too",
        "nothing to do: repeating it would cost more",
    ),
    _fusion(
        "COST",
        "each element would be computed many times",
        NOTHING,
    ),
    _fusion(
        "SIZE",
        "longer kernels compile slowly and spill registers",
        NOTHING,
    ),
    _fusion(
        "PRODUCT",
        "a product, or a convolution, reads each operand many times",
        NOTHING,
    ),
    _fusion(
        "MEMORY",
        "its places are known at run time only",
        NOTHING,
    ),
    _fusion(
        "THREADS",
        "one sum over all elements of a large product is done by one thread, the "
        "product by all of them; what is summed is stored",
        NOTHING,
    ),
    _fusion(
        "TURNS",
        "a sum or a product would run the loop again and again",
        NOTHING,
    ),
    _fusion(
        "PIECES",
        "of sixteen pieces or more, each is computed in its place; an element would "
        "have to ask for each whether it is in it",
        NOTHING,
    ),
    _fusion(
        "STEPS",
        "its turns or branches run kernels and other steps",
        "nothing to do; a loop whose turns compute each element by itself is one "
        "kernel, and np.where is part of one",
    ),
    _fusion(
        "EXTERN",
        "sorting, scatters, cumulative operations, factorisations, FFTs and complex "
        "functions are steps of their own",
        "nothing to do; elementwise lines before and after it are still fused among "
        "themselves",
    ),
    # --- memory
    Reason(
        "MEMORY_INTERMEDIATE",
        "memory",
        "a value is stored by one step and read by others",
        "no kernel computes it where it is read; the fusion findings say why",
        "see the fusion findings of these lines",
    ),
    Reason(
        "MEMORY_AGAIN",
        "memory",
        "a value is computed again where it is read, and not stored",
        "it follows from values that are stored anyway, in fewer operations than its "
        "bytes are worth",
        NOTHING,
    ),
    # --- copy
    Reason(
        "COPY_RESULT",
        "copy",
        "a result is copied to memory of its own",
        "it is an argument, a constant or a view of something else, and callers may "
        "write to results",
        "return it only if it is needed, or what it is a view of",
    ),
    Reason(
        "COPY_PIECE",
        "copy",
        "a piece of an array is copied to its place",
        "it was in memory before the array was put together",
        "compute the pieces in the function that joins them, or write them to slices",
    ),
    Reason(
        "COPY_PART",
        "copy",
        "the real or imaginary part of an array is copied to its place",
        "it was in memory before the complex array was made",
        NOTHING,
    ),
    Reason(
        "COPY_BRANCH",
        "copy",
        "what a branch gives is copied",
        "the branch returns what it was given, or a constant, and results of branches "
        "share one place",
        NOTHING,
    ),
    Reason(
        "COPY_SLICE",
        "copy",
        "what a turn of a loop stacks is copied",
        "it is a carry, a constant or a view, which lies elsewhere",
        "stack what the turn computes, or return the last carry alone",
    ),
    Reason(
        "COPY_START",
        "copy",
        "what a loop begins with is copied",
        "turns write over it, and something else may need it",
        "nothing to do: once a loop; donate the argument that it is",
    ),
    Reason(
        "COPY_CARRY",
        "copy",
        "what a turn gives is copied for the next one",
        "the next turn still reads what it replaces, or it lies elsewhere",
        "compute carries element by element from themselves where possible",
    ),
    Reason(
        "COPY_WHOLE",
        "copy",
        "an array is copied to be written in part",
        "the argument cannot be written in place before all that may fail is done",
        "write to the argument last, or donate it",
    ),
    Reason(
        "COPY_OPERAND",
        "copy",
        "an operand is copied, as a step works in place",
        "scatters and factorisations write over what they are given, and something "
        "else may need it",
        "donate the argument that it is, or write x[i] = v to an array of the function",
    ),
    # --- layout
    Reason(
        "LAYOUT_STRIDED",
        "layout",
        "an argument is read with strides",
        "it is not C-contiguous, and code is compiled for its strides",
        "nothing to do if it is read once; else pass np.ascontiguousarray(x)",
    ),
    Reason(
        "LAYOUT_RESHAPE",
        "layout",
        "a reshape copies",
        "what it reads is a view whose elements do not lie one after another",
        "reshape before transposing or slicing, or keep the axes",
    ),
    Reason(
        "LAYOUT_PACKED",
        "layout",
        "a transposed matrix is copied once, for many products",
        "a product multiplies rows of its right operand, which are strided here",
        "keep the matrix transposed: pass w.T.copy() and write x @ w",
    ),
    Reason(
        "LAYOUT_APART",
        "layout",
        "short vectors are computed component by component",
        "a last axis of two to four elements fills no vectors",
        NOTHING,
    ),
    # --- host
    Reason(
        "HOST_NUMPY",
        "host",
        "one of NumPy's compiled loops computes it",
        "there is no kernel for it; machine code calls the loop, without Python",
        NOTHING,
    ),
    Reason(
        "HOST_PYTHON",
        "host",
        "Python and NumPy compute it",
        "there is neither a kernel nor a compiled loop for it: each call takes the "
        "interpreter's lock",
        "do it outside of the function, or write it with functions that compile",
    ),
    Reason(
        "HOST_CALLBACK",
        "host",
        "a Python function of yours is called",
        "the program asks for it: a callback, a print or a check",
        "leave debugging calls out of what is to be fast",
    ),
    Reason(
        "HOST_COPIED",
        "host",
        "the host computes it for a device",
        "nothing on the device does: operands are copied to the host, results back",
        "do it before or after what runs on the device",
    ),
    # --- write-back
    Reason(
        "WRITE_IN_PLACE",
        "write-back",
        "an argument is written where it lies",
        "the function writes to it, and nothing reads what is written over",
        NOTHING,
    ),
    Reason(
        "WRITE_COPIED",
        "write-back",
        "an argument is written by a copy at the end",
        "something still reads it when its new value is computed, or may fail after",
        "write to it last, or return the new value instead of writing",
    ),
    Reason(
        "WRITE_CONTAINER",
        "write-back",
        "containers of the arguments are changed",
        "what the function does to lists, dicts and objects is done again after each "
        "call, in Python",
        "return new entries instead of storing them in arguments",
    ),
    # --- donation
    Reason(
        "DONATION_USED",
        "donation",
        "a result lies in the memory of a donated argument",
        "they have one dtype and size, and nothing reads the argument by then",
        NOTHING,
    ),
    Reason(
        "DONATION_SIZE",
        "donation",
        "no result can take a donated argument's memory",
        "none that is a new array has its dtype and size",
        "donate arguments that results are as large as",
    ),
    Reason(
        "DONATION_STRIDES",
        "donation",
        "a donated argument is not C-contiguous",
        "results are C-contiguous",
        "donate np.ascontiguousarray(x)",
    ),
    Reason(
        "DONATION_READ",
        "donation",
        "a donated argument is still read when results are written",
        "or other donated arguments took the place of each such result",
        "donate one argument for each result; use it up before the last line",
    ),
    # --- capture
    Reason(
        "CAPTURE_ARRAY",
        "capture",
        "an array that is no argument is read where it is",
        "the function names it; another array in its place traces again",
        "nothing to do while it stays in place; else pass it as an argument",
    ),
    Reason(
        "CAPTURE_DATA",
        "capture",
        "an array is a constant of the code",
        "it was made while the function was traced",
        "make it with functions called through the numpy module, or pass it",
    ),
    Reason(
        "CAPTURE_VALUE",
        "capture",
        "a number or string outside of the arguments is a constant of the code",
        "the code names it; another value in its place traces again",
        "pass what changes as an argument",
    ),
    Reason(
        "CAPTURE_FUNCTION",
        "capture",
        "functions that the code names are part of it",
        "other functions in their places trace again",
        NOTHING,
    ),
    # --- specialise
    Reason(
        "SPECIAL_INT",
        "specialise",
        "an int is a constant of the code until it changes",
        "ints mostly are sizes, axes and counts",
        "nothing to do: another value traces once more, with it as a run-time value",
    ),
    Reason(
        "SPECIAL_ASKED",
        "specialise",
        "the code is right for one value of a number",
        "Python asked for it while the function was traced",
        "choose with np.where or tj.cond, repeat with tj.fori_loop",
    ),
    Reason(
        "SPECIAL_VALUE",
        "specialise",
        "the code is right for one value of an argument",
        "booleans, strings and static arguments decide what is traced",
        "pass a number or an array, and choose with np.where or tj.cond",
    ),
    Reason(
        "SPECIAL_OBJECT",
        "specialise",
        "the code is right for one object",
        "objects that are no containers are known by their identity alone",
        "pass the same object each time, or a dataclass or dict of its arrays",
    ),
    Reason(
        "SPECIAL_ALIASES",
        "specialise",
        "the code is right for arguments that are one array",
        "what is written to the one is seen in the other",
        "pass copies if both are meant to be apart",
    ),
    # --- loop
    Reason(
        "LOOP_UNROLLED",
        "loop",
        "a line was recorded many times",
        "a Python loop is traced turn by turn",
        "nothing to do for few turns; write tj.fori_loop or tj.scan for many",
    ),
    Reason(
        "LOOP_REROLLED",
        "loop",
        "an unrolled loop became a loop again",
        "its turns do the same",
        "nothing to do; tj.fori_loop or tj.scan would trace faster",
    ),
)

_HEAD = """\
# Reason codes

What `f.explain()` and `tracejit explain` report, group by group. The table is `tracejit.debug.REASONS`; this page is
printed from it. [debugging.md](debugging.md) shows it at work, [fusion.md](fusion.md) what fusion can do.
"""  # noqa: E501

REASONS: Mapping[str, Reason] = {reason.code: reason for reason in _TABLE}


def page() -> str:
    """Return all reasons as Markdown, a table for each group: docs/reasons.md."""
    parts = [_HEAD]
    for group, title in GROUPS.items():
        rows = [r for r in _TABLE if r.group == group]
        parts.append(f"## {title}\n\n{_rows(rows)}\n")
    return "\n".join(parts)


def _rows(reasons: list[Reason]) -> str:
    head = ["| code | what happened | why | what can be done |", "|---|---|---|---|"]
    rows = [
        f"| `{r.code}` | {_sentence(r.title)} | {_sentence(r.why)} | "
        f"{_sentence(r.remedy)} |"
        for r in reasons
    ]
    return "\n".join([*head, *rows])


def _sentence(text: str) -> str:
    first = text[:1].upper() if not text.startswith("`") else text[:1]
    return f"{first}{text[1:]}."
