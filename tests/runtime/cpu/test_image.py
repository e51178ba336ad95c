"""Object code linked to images: the same code at any address, or a clear refusal."""

import ctypes
import json
import os
import sys

import numpy as np
import pytest

from tracejit.codegen.llvm.target import host_target
from tracejit.errors import InternalError
from tracejit.runtime.cpu.elf import Unlinkable, link
from tracejit.runtime.cpu.engine import Engine, engine_for
from tracejit.runtime.cpu.image import PAGE, Image, LoadedImage

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64", reason="ELF for x86-64"
)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return engine_for(host_target())


def linked(engine: Engine, *texts: str) -> Image:
    return link([engine.compile(text) for text in texts])


def call(image: Image, name: str, *args: int, **imports: int) -> int:
    loaded = LoadedImage(image, imports)
    kinds = [ctypes.c_int64] * len(args)
    found: int = ctypes.CFUNCTYPE(ctypes.c_int64, *kinds)(loaded.address(name))(*args)
    return found


CALLER = """
declare hidden i64 @square(i64)
declare i64 @imported(i64)
define i64 @both(i64 %x) {
  %a = call i64 @square(i64 %x)
  %b = call i64 @imported(i64 %a)
  ret i64 %b
}
"""
SQUARE = "define hidden i64 @square(i64 %x) {\n %y = mul i64 %x, %x\n ret i64 %y\n}\n"


def test_objects_call_each_other_and_what_is_imported(engine: Engine) -> None:
    image = linked(engine, CALLER, SQUARE)
    assert image.imports == {"imported"}
    function = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(lambda x: x + 1)
    address = ctypes.cast(function, ctypes.c_void_p).value or 0
    assert call(image, "both", 7, imported=address) == 50


def test_functions_of_the_process_need_no_entry(engine: Engine) -> None:
    text = "declare i64 @labs(i64)\ndefine i64 @f(i64 %x) {\n"
    text += " %y = call i64 @labs(i64 %x)\n ret i64 %y\n}\n"
    assert call(linked(engine, text), "f", -5) == 5


def test_what_is_found_nowhere_is_named(engine: Engine) -> None:
    image = linked(engine, CALLER, SQUARE)
    with pytest.raises(InternalError, match="cannot resolve 'imported'"):
        LoadedImage(image, {})
    with pytest.raises(InternalError, match="without 'other'"):
        LoadedImage(image, {"imported": 1}).address("other")


STATE = """
@count = internal global i64 40
@zeros = internal global [1000 x i64] zeroinitializer
@table = internal constant [2 x ptr] [ptr @count, ptr @zeros]
@outside = external global i64
define i64 @next() {
  %place = getelementptr [2 x ptr], ptr @table, i64 0, i64 0
  %to = load ptr, ptr %place
  %n = load i64, ptr %to
  %m = add i64 %n, 1
  store i64 %m, ptr %to
  %zero = load i64, ptr getelementptr ([1000 x i64], ptr @zeros, i64 0, i64 999)
  %sum = add i64 %m, %zero
  ret i64 %sum
}
define i64 @read() {
  %x = load i64, ptr @outside
  ret i64 %x
}
"""


def test_each_loaded_image_has_memory_of_its_own(engine: Engine) -> None:
    image = linked(engine, STATE)
    number = ctypes.c_int64(123)
    imports = {"outside": ctypes.addressof(number)}
    one, two = LoadedImage(image, imports), LoadedImage(image, imports)
    step = ctypes.CFUNCTYPE(ctypes.c_int64)
    assert [step(one.address("next"))() for _ in range(3)] == [41, 42, 43]
    assert step(two.address("next"))() == 41
    assert step(two.address("read"))() == 123


def test_a_forked_child_has_memory_of_its_own(engine: Engine) -> None:
    loaded = LoadedImage(linked(engine, STATE), {"outside": 8})
    step = ctypes.CFUNCTYPE(ctypes.c_int64)(loaded.address("next"))
    child = os.fork()
    if not child:
        os._exit(step() - 41)
    assert os.waitpid(child, 0)[1] == 0
    assert step() == 41


def test_code_cannot_be_written(engine: Engine) -> None:
    loaded = LoadedImage(linked(engine, SQUARE), {})
    start = loaded.address("square") // PAGE * PAGE
    with open("/proc/self/maps") as file:
        rows = [line.split() for line in file]
    found = [r[1] for r in rows if int(r[0].split("-")[0], 16) == start]
    assert found == ["r-xp"]


def test_data_undoes_itself(engine: Engine) -> None:
    image = linked(engine, STATE, SQUARE)
    data = json.loads(json.dumps(image.as_data()))
    again = Image.from_data(data, image.content)
    assert again.as_data() == image.as_data()
    assert call(again, "square", 9, outside=8) == 81
    for wrong in ({**data, "size": "8"}, {**data, "slots": None}):
        with pytest.raises(TypeError, match="an image without"):
            Image.from_data(wrong, image.content)


def test_the_same_objects_give_the_same_image(engine: Engine) -> None:
    one, two = linked(engine, CALLER, SQUARE), linked(engine, CALLER, SQUARE)
    assert (one.content, one.as_data()) == (two.content, two.as_data())


def test_helpers_for_halves_are_linked_in() -> None:
    engine = engine_for(host_target("baseline"))
    text = "define void @f(ptr %p, ptr %q) {\n %x = load half, ptr %p\n"
    text += " %y = fpext half %x to float\n store float %y, ptr %q\n ret void\n}\n"
    image = engine.image([engine.compile(text)])
    assert image is not None and not image.imports
    x, y = np.array(1.5, np.float16), np.array(0, np.float32)
    loaded = LoadedImage(image, {})
    pointer = ctypes.c_void_p
    run = ctypes.CFUNCTYPE(None, pointer, pointer)(loaded.address("f"))
    run(x.ctypes.data, y.ctypes.data)
    assert y == 1.5


def test_what_is_no_such_file_is_refused(engine: Engine) -> None:
    code = engine.compile(SQUARE)
    for wrong in (
        b"",
        b"text",
        b"\x7fELF\x01" + code[5:],
        code[:16] + b"\2" + code[17:],
    ):
        with pytest.raises(Unlinkable):
            link([wrong])
    with pytest.raises(Unlinkable, match="square is defined twice"):
        link([code, code])
    assert engine.image([b"text"]) is None


def test_memory_of_threads_is_refused(engine: Engine) -> None:
    text = "@t = thread_local global i64 1\ndefine i64 @f() {\n"
    text += " %x = load i64, ptr @t\n ret i64 %x\n}\n"
    with pytest.raises(Unlinkable, match="thread-local"):
        linked(engine, text)
