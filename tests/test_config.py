"""Switches: their table, their layers, their environment variables; named logs."""

import asyncio
import dataclasses
import logging
import os
import subprocess
import sys
import threading

import pytest

from tracejit import config, log
from tracejit.errors import InternalError, TracejitError


@pytest.fixture(autouse=True)
def restore_config():
    before = config.current()
    yield
    for name in config.SWITCHES:
        config.set(name, getattr(before, name))


def test_config_has_the_fields_of_the_table():
    names = [field.name for field in dataclasses.fields(config.Config)]
    assert names == list(config.SWITCHES)
    annotations = {f.name: f.type for f in dataclasses.fields(config.Config)}
    for name, switch in config.SWITCHES.items():
        wanted = tuple[str, ...] if switch.type is tuple else switch.type
        assert annotations[name] == wanted
        assert switch.accepts(switch.default)
        assert switch.env == f"TRACEJIT_{name.upper()}"


def test_defaults():
    assert config.load({}) == config.Config(
        isa="auto",
        device="cpu",
        cache_dir="auto",
        cache_bytes=1 << 30,
        fma=True,
        composites=True,
        reroll=True,
        simplify=True,
        donation="on",
        deterministic=False,
        threads=0,
        share_from=8000,
        tf32=False,
        tune="off",
        tuning_file="",
        nans="off",
        interpret=False,
        verify=False,
        validate="off",
        repro_dir="",
        log=(),
        dump="",
        profile=False,
        perf_map=False,
        native_calls=True,
        max_specializations=64,
    )


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("TRACEJIT_ISA", "baseline", "isa", "baseline"),
        ("TRACEJIT_ISA", " avx512 ", "isa", "avx512"),
        ("TRACEJIT_FMA", "0", "fma", False),
        ("TRACEJIT_COMPOSITES", "0", "composites", False),
        ("TRACEJIT_REROLL", "0", "reroll", False),
        ("TRACEJIT_SIMPLIFY", "0", "simplify", False),
        ("TRACEJIT_DONATION", "check", "donation", "check"),
        ("TRACEJIT_DETERMINISTIC", "1", "deterministic", True),
        ("TRACEJIT_THREADS", "3", "threads", 3),
        ("TRACEJIT_SHARE_FROM", "0", "share_from", 0),
        ("TRACEJIT_VERIFY", "On", "verify", True),
        ("TRACEJIT_LOG", "retrace, fusion,", "log", ("retrace", "fusion")),
        ("TRACEJIT_LOG", "", "log", ()),
        ("TRACEJIT_MAX_SPECIALIZATIONS", "8", "max_specializations", 8),
    ],
)
def test_environment_variables(variable, text, name, value):
    assert getattr(config.load({variable: text}), name) == value


@pytest.mark.parametrize(
    ("variable", "text", "allowed"),
    [
        ("TRACEJIT_ISA", "sse9", "one of auto, avx512, avx2, baseline"),
        ("TRACEJIT_VERIFY", "maybe", "one of 1, true, on, yes, 0, false, off, no"),
        (
            "TRACEJIT_LOG",
            "fusion,loud",
            "a list of retrace, fusion, passes, compile, tune, validate",
        ),
        ("TRACEJIT_MAX_SPECIALIZATIONS", "many", "an integer of at least 1"),
        ("TRACEJIT_MAX_SPECIALIZATIONS", "0", "an integer of at least 1"),
        ("TRACEJIT_MAX_SPECIALIZATIONS", "-3", "an integer of at least 1"),
    ],
)
def test_bad_variables_name_variable_value_and_choices(variable, text, allowed):
    with pytest.raises(TracejitError) as raised:
        config.load({variable: text})
    assert str(raised.value) == (
        f"environment variable {variable} cannot be {text!r}\n  try: {allowed}"
    )


def test_the_environment_is_read_at_import():
    run = subprocess.run(
        [sys.executable, "-c", "import tracejit.config"],
        env=os.environ | {"TRACEJIT_ISA": "z80"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "environment variable TRACEJIT_ISA cannot be 'z80'" in run.stderr


def test_switches_are_attributes():
    config.threads = 3
    assert config.threads == config.get("threads") == config.current().threads == 3
    with config.override(threads=2):
        assert config.threads == 2
    with pytest.raises(TracejitError, match="there is no switch 'thread'"):
        config.thread = 2
    with pytest.raises(TracejitError, match="threads"):
        config.threads = "two"
    assert config.threads == 3
    assert not hasattr(config, "thread")
    assert not config.SWITCHES.keys() & vars(config).keys()


def test_set_and_get():
    config.set("isa", "avx2")
    assert config.get("isa") == "avx2"
    assert config.current().isa == "avx2"


def test_unknown_switch_lists_the_known():
    for call in (config.get, lambda name: config.set(name, 1)):
        with pytest.raises(TracejitError, match="there is no switch 'iso'") as raised:
            call("iso")
        assert raised.value.hint == f"one of {', '.join(config.SWITCHES)}"


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("isa", "sse9", "one of auto, avx512, avx2, baseline"),
        ("fma", 1, "True or False"),
        ("max_specializations", True, "an integer of at least 1"),
        ("max_specializations", 0, "an integer of at least 1"),
        ("log", "fusion", "a list of retrace, fusion, passes, compile, tune, validate"),
        ("log", (1,), "a list of retrace, fusion, passes, compile, tune, validate"),
    ],
)
def test_values_of_the_wrong_kind_change_nothing(name, value, hint):
    before = config.current()
    with pytest.raises(TracejitError) as raised:
        config.set(name, value)
    assert str(raised.value) == f"switch {name!r} cannot be {value!r}\n  try: {hint}"
    with pytest.raises(TracejitError), config.override(**{name: value}):
        raise AssertionError("the block must not run")
    assert config.current() == before


def test_overrides_nest_and_end():
    config.set("isa", "auto")
    with config.override(isa="avx2", fma=False):
        with config.override(isa="baseline") as inner:
            assert (inner.isa, inner.fma) == ("baseline", False)
            assert config.current() == inner
        assert config.get("isa") == "avx2"
    assert (config.get("isa"), config.get("fma")) == ("auto", True)


def test_override_ends_on_errors():
    before = config.current()
    with pytest.raises(KeyError), config.override(verify=True):
        raise KeyError
    assert config.current() == before


def test_override_is_seen_by_its_own_thread_alone():
    seen = []
    config.set("verify", False)

    def look():
        with config.override(isa="baseline"):
            seen.append((config.get("isa"), config.get("fma")))

    with config.override(isa="avx2"):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert config.get("isa") == "avx2"
    assert seen == [("baseline", True)]


def test_override_is_seen_by_its_own_task_alone():
    async def task(isa, entered, other):
        with config.override(isa=isa):
            entered.set()
            await other.wait()  # both are inside of their blocks now
            return config.get("isa")

    async def both():
        first, second = asyncio.Event(), asyncio.Event()
        return await asyncio.gather(
            task("avx2", first, second), task("baseline", second, first)
        )

    assert asyncio.run(both()) == ["avx2", "baseline"]


def test_set_inside_of_an_override():
    with config.override(isa="avx2"):
        config.set("verify", True)
        assert (config.get("isa"), config.get("verify")) == ("avx2", True)
        with pytest.raises(TracejitError, match="switch 'isa' is overridden here"):
            config.set("isa", "baseline")
    assert config.get("verify") is True


def test_cache_key_changes_with_marked_switches_alone():
    assert [s.name for s in config.SWITCHES.values() if s.in_cache_key] == [
        "isa",
        "device",
        "fma",
        "composites",
        "reroll",
        "simplify",
        "donation",
        "deterministic",
        "threads",
        "share_from",
        "tf32",
        "tune",
        "tuning_file",
        "nans",
        "interpret",
        "profile",
        "perf_map",
    ]
    before = config.cache_key()
    with config.override(verify=True, log=("passes",), max_specializations=1):
        assert config.cache_key() == before
    with config.override(isa="baseline"):
        rest = (
            True,
            True,
            True,
            True,
            "on",
            False,
            0,
            8000,
            False,
            "off",
            "",
            "off",
            False,
        )
        assert config.cache_key() == ("baseline", "cpu", *rest, False, False)
    assert config.cache_key() is before  # made once


def test_table_has_a_row_for_each_switch():
    header, _, *rows = config.table().splitlines()
    assert header == "| switch | variable | values | default | |"
    assert len(rows) == len(config.SWITCHES)
    assert rows[0].startswith("| `isa` | `TRACEJIT_ISA` | one of auto, avx512, avx2,")


def test_log_is_silent_unless_switched_on(capsys):
    with config.override(log=()):
        log.emit("fusion", "two kernels")
    assert capsys.readouterr() == ("", "")
    with config.override(log=("fusion",)):
        log.emit("retrace", "new shape")
        log.emit("fusion", "100% of kernels")
    assert capsys.readouterr() == ("", "[tracejit.fusion] 100% of kernels\n")


def test_log_goes_through_the_logging_module():
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logger = logging.getLogger("tracejit.compile")
    logger.addHandler(handler)
    try:
        with config.override(log=("compile",)):
            log.emit("compile", "3 kernels")
    finally:
        logger.removeHandler(handler)
    assert [record.getMessage() for record in records] == ["3 kernels"]


def test_unknown_artifact_lists_the_known():
    with pytest.raises(InternalError, match="there is no log artifact 'fuse'") as info:
        log.emit("fuse", "two kernels")
    assert info.value.hint == "one of retrace, fusion, passes, compile, tune, validate"
