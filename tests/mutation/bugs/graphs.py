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
