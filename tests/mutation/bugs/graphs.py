"""Graphs that show bugs which those of other tests do not."""

TWO_CARRIES = """
graph @f(%a: f64[3], %b: f64[3]) -> (f64[3]) {
  %0: f64[3], %1: f64[3] = scan %a, %b {body=graph @turn(%a: f64[3], %b: f64[3]) -> (f64[3], f64[3]) {
    %0: f64[3] = add %a, %b
    %1: f64[3] = sin %b
    return %0, %1
  }, length=4, reverse=false, consts=0, carries=2, unroll=1}
  return %0
}
"""
COUNTED = """
graph @f(%a: f64[3], %n: i64[]) -> (f64[3]) {
  %2: i64[] = and %n, 3:i64
  %0: f64[3], %1: i64[] = while %a, %2 {test=graph @test(%a: f64[3], %n: i64[]) -> (bool[]) {
      %0: bool[] = lt %n, 9:i64
      return %0
    }, body=graph @turn(%a: f64[3], %n: i64[]) -> (f64[3], i64[]) {
      %0: f64[3] = sin %a
      %1: i64[] = add %n, 3:i64
      return %0, %1
    }, test_consts=0, body_consts=0}
  return %0
}
"""
TIES = """
graph @f(%x: i32[8]) -> (i32[4]) {
  %0: i32[8] = and %x, 1:i32
  %1: i32[4] = window_argmax %0 {window=(2), strides=(2), low=(0), high=(0)}
  return %1
}
"""
TINY_DIVISOR = """
graph @f(%x: f32[3]) -> (f32[3]) {
  %0: f32[3] = mul %x, 1e-30
  %1: f32[3] = div %0, 7.346839692639297e-40
  return %1
}
"""
BEHIND_A_WRITE = """
graph @f(%x: f64[6], %u: f64[2]) -> (f64[3]) {
  %0: f64[6] = update_slice %x, %u {start=(2), stride=(1)}
  %1: f64[3] = slice %0 {start=(0), stop=(3), stride=(1)}
  return %1
}
"""
FIXED_CARRY = """
graph @f(%a: f64[3], %b: f64[3], %c: f64[3]) -> (f64[3], f64[3], f64[3]) {
  %0: f64[3], %1: f64[3], %2: f64[3] = scan %a, %b, %c {body=graph @turn(%a: f64[3], %b: f64[3], %c: f64[3]) -> (f64[3], f64[3], f64[3]) {
    %0: f64[3] = add %b, %a
    %1: f64[3] = sin %c
    return %a, %0, %1
  }, length=4, reverse=false, consts=0, carries=3, unroll=1}
  return %0, %1, %2
}
"""
SIGNED_ZEROS = """
graph @f(%x: f64[3]) -> (f64[3], f64[3]) {
  %0: f64[3] = copysign %x, 0.0
  %1: f64[3] = copysign %x, -0.0
  return %0, %1
}
"""
OUTSIDE = """
graph @f(%x: f64[3], %i: i64[2]) -> (f64[3]) {
  %0: i64[2] = add %i, 2:i64
  %1: f64[2] = gather %x, %0 {axes=(0), batch=0, mode="raise"}
  return %x
}
"""
TAKEN = """
graph @f(%x: f64[3], %i: i64[2]) -> (f64[2]) {
  %0: f64[3] = exp %x
  %1: f64[2] = gather %0, %i {axes=(0), batch=0, mode="clip"}
  return %1
}
"""
FOLDED_RESULT = """
graph @f(%x: f64[3]) -> (f64[3], f64[]) {
  %0: f64[] = arctan2 1.0:f64, 2.0:f64
  return %x, %0
}
"""
POWER = """
graph @f(%x: f64[64]) -> (f64[64]) {
  %0: f64[64] = pow %x, EXPONENT
  return %0
}
"""
POWER_1_5 = POWER.replace("EXPONENT", "1.5")
INVERSE_CUBE = POWER.replace("EXPONENT", "-3.0")
ORDERED_COLUMNS = """
graph @f(%x: f64[4,8]) -> (f64[4,8], i64[4,8]) {
  %0: f64[4,8] = sort %x {axis=0}
  %1: i64[4,8] = argsort %x {axis=0}
  return %0, %1
}
"""
MEDIAN = """
graph @f(%x: f64[400]) -> (f64[2], f64[1]) {
  %0: f64[400] = sort %x {axis=0}
  %1: f64[2] = slice %0 {start=(199), stop=(201), stride=(1)}
  %2: f64[1] = slice %0 {start=(399), stop=(400), stride=(1)}
  return %1, %2
}
"""
MEDIANS_OF_ROWS = """
graph @f(%x: f64[6,900]) -> (f64[6,2]) {
  %0: f64[6,900] = sort %x {axis=1}
  %1: f64[6,2] = slice %0 {start=(0, 449), stop=(6, 451), stride=(1, 1)}
  return %1
}
"""
NESTED_RANGES = """
graph @f(%x: f64[400]) -> (f64[10], f64[2]) {
  %0: f64[400] = sort %x {axis=0}
  %1: f64[10] = slice %0 {start=(195), stop=(205), stride=(1)}
  %2: f64[2] = slice %0 {start=(199), stop=(201), stride=(1)}
  return %1, %2
}
"""
PADDED = """
graph @f(%x: f64[6]) -> (f64[4]) {
  %0: f64[6] = exp %x
  %1: f64[6] = neg %0
  %2: f64[4] = window_max %1 {window=(2), strides=(2), low=(1), high=(1)}
  return %2
}
"""
OVERLAPPING_WINDOWS = """
graph @f(%x: f64[7], %g: f64[3]) -> (f64[7]) {
  %0: i32[3] = window_argmax %x {window=(3), strides=(2), low=(0), high=(0)}
  %1: f64[7] = window_place %g, %0 {extents=(7), window=(3), strides=(2), low=(0), high=(0)}
  return %1
}
"""
LOWEST = """
graph @f(%x: i8[6]) -> (i32[4]) {
  %0: i8[6] = minimum %x, -128:i8
  %1: i32[4] = window_argmax %0 {window=(2), strides=(2), low=(1), high=(1)}
  return %1
}
"""
NEGATIVE_ZEROS = """
graph @f(%x: f32[64]) -> (f32[64,64], f32[64,2]) {
  %0: f32[64,64,2] = broadcast_in_dim %x {shape=(64, 64, 2), dims=(0)}
  %1: f32[64,64,2] = abs %0
  %2: f32[64,64,2] = mul %1, -0.0
  %3: f32[64,64] = reduce_sum %2 {axes=(2)}
  %4: f32[64,2] = reduce_sum %2 {axes=(1)}
  return %3, %4
}
"""
FIXED_FIRST = """
graph @f(%x: f64[3], %z: f64[2,3]) -> (f64[2,3]) {
  %0: f64[2,3] = scan %x, %z {body=graph @turn(%x: f64[3], %z: f64[2,3]) -> (f64[2,3]) {
    %0: f64[2,3] = broadcast_in_dim %x {shape=(2, 3), dims=(1)}
    %1: f64[2,3] = sub %0, %z
    return %1
  }, length=5, reverse=false, consts=1, carries=1, unroll=1}
  return %0
}
"""


def _writes(rows: int, *pieces: tuple[int, int, int]) -> str:
    """Return a graph that writes pieces of a start, a length and a step."""
    sizes = {length for _, length, _ in pieces}
    given = "".join(f", %p{n}: f64[{n},32]" for n in sorted(sizes))
    lines = [
        f"  %{k}: f64[{rows},32] = update_slice %{k - 1 if k else 'x'}, %p{length} "
        f"{{start=({start}, 0), stride=({step}, 1)}}"
        for k, (start, length, step) in enumerate(pieces)
    ]
    head = f"graph @f(%x: f64[{rows},32]{given}) -> (f64[{rows},32]) {{"
    return "\n".join([head, *lines, f"  return %{len(pieces) - 1}", "}"])


ROWS_WITH_A_GAP = _writes(20, *((k + 2 * (k > 8), 1, 1) for k in range(16)))
ROWS_THAT_OVERLAP = _writes(40, *((2 * k - (k > 8), 2, 1) for k in range(16)))
ROWS_WITH_STEPS = _writes(20, (0, 2, 2), *((k, 1, 1) for k in range(3, 20)))
