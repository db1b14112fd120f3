"""
Shows which test kills each mutant: ``python -m tests.mutants [--only NAME]``.

Every test runs without its mutant first, where it has to pass, and then with it, where it has to fail: by an
assertion or by its time, and after the mutant was met; a mutant with which nothing works shows nothing. The
exit code is 1 where a mutant lives.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from tests.mutants import MUTANTS, Mutant, injection

_PROJECT = Path(__file__).parents[2]
_SITE = Path(__file__).parent / "site"
_ALIVE = "tests/promises/test_alive.py"
_HANGS_SECONDS = 400.0
_END_SECONDS = 60.0
_HONEST = (
    "AssertionError",
    "assert ",
    "Failed: ",
    "TimeoutError",
    "subprocess.TimeoutExpired",
    "tests.fold.",
)
"""How the message of a failure begins that a broken promise caused: an assertion, or a time that ran out."""


class Failure(NamedTuple):
    """
    A test that failed.

    Args:
        test: its module, as pytest's report names it.
        words: the first line of the error, and where it was raised.
    """

    test: str
    words: str


class Result(NamedTuple):
    """
    What a run of tests gave.

    Args:
        passed, skipped: how many.
        failures: each failure and error.
        hung: it did not end in time.
        output: what pytest printed.
    """

    passed: int
    skipped: int
    failures: list[Failure]
    hung: bool
    output: str


class Verdict(NamedTuple):
    """
    What became of a mutant.

    Args:
        dead: whether its test noticed, and rightly.
        word: ``killed``, or what is wrong.
        seconds: of the run with the mutant.
        detail: the failure that it caused.
    """

    dead: bool
    word: str
    seconds: float
    detail: str


def _pytest(tests: Sequence[str], scratch: Path, environment: dict[str, str]) -> Result:
    """Run some tests in a process of their own, to their first failure."""
    report = scratch / "report.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *tests]
    with subprocess.Popen(
        command,
        cwd=_PROJECT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            output, hung = process.communicate(timeout=_HANGS_SECONDS)[0], False
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)  # as Ctrl-C: the fixtures end what they started
            try:
                output, hung = process.communicate(timeout=_END_SECONDS)[0], True
            except subprocess.TimeoutExpired:
                process.kill()
                output, hung = process.communicate()[0], True
    return _read(report, hung, output)


def _read(report: Path, hung: bool, output: str) -> Result:
    if not report.exists():
        return Result(0, 0, [], hung, output)
    cases = list(ElementTree.parse(report).iter("testcase"))
    bad = [(case, one) for case in cases for one in (*case.iter("failure"), *case.iter("error"))]
    skipped = sum(case.find("skipped") is not None for case in cases)
    passed = sum(not list(case.iter("failure")) and not list(case.iter("error")) for case in cases) - skipped
    failures = [
        Failure(case.get("classname") or "", f"{_first(one.get('message'))} ({_last(one.text)})")
        for case, one in bad
    ]
    return Result(passed, skipped, failures, hung, output)


def _first(text: str | None) -> str:
    return (text or "").strip().split("\n")[0]


def _last(text: str | None) -> str:
    """Of a traceback: where it was raised, and what."""
    return (text or "").strip().split("\n")[-1]


def _unharmed(tests: Sequence[str], scratch: Path) -> None:
    """Without a mutant every test has to pass. Raises: SystemExit."""
    result = _pytest(tests, scratch, {})
    if result.failures or result.skipped or result.hung or not result.passed:
        sys.stdout.write(result.output)
        raise SystemExit("without a mutant the tests do not pass: nothing can be said about any")


def _harmed(mutant: Mutant, scratch: Path) -> Verdict:
    """Run the mutant's test with it."""
    trace = scratch / "trace"
    trace.write_text("")
    path = os.pathsep.join(
        filter(None, (os.fspath(_SITE), os.fspath(_PROJECT), os.environ.get("PYTHONPATH")))
    )
    environment = {injection.MUTANT: mutant.name, injection.TRACE: os.fspath(trace), "PYTHONPATH": path}
    began = time.monotonic()
    result = _pytest(["-x", _ALIVE, mutant.test], scratch, environment)
    return _judge(mutant, trace.read_text().splitlines(), result, time.monotonic() - began)


def _judge(mutant: Mutant, trace: list[str], result: Result, seconds: float) -> Verdict:
    broken = [line for line in trace if line.startswith("broken")]
    file = mutant.test.partition("::")[0]
    words = [failure.words for failure in result.failures]
    honest = [line for line in words if line.startswith(_HONEST) or _in_test(line, file)]
    dead = [failure.words for failure in result.failures if failure.test == _module(_ALIVE)]
    if broken:
        return Verdict(False, "does not fit", seconds, broken[0])
    if dead:
        return Verdict(False, "does not work at all", seconds, dead[0])
    if "hit" not in trace:
        return Verdict(False, "never met", seconds, result.output[-2000:])
    if result.hung:
        return Verdict(True, "killed", seconds, "the test did not end")
    if honest:
        return Verdict(True, "killed", seconds, honest[0])
    if result.failures:
        return Verdict(False, "other failure", seconds, words[0])
    return Verdict(False, "lives", seconds, result.output[-500:])


def _module(file: str) -> str:
    return file.removesuffix(".py").replace("/", ".")


def _in_test(failure: str, file: str) -> bool:
    """Whether the test itself found something missing: it took a value from where none was."""
    return f"({file}:" in failure and failure.startswith(("ValueError", "KeyError", "IndexError"))


def _line(mutant: Mutant, verdict: Verdict) -> str:
    test = mutant.test.removeprefix("tests/")
    return f"{mutant.name:<38} | {mutant.promise:<3} | {verdict.word:<8} | {verdict.seconds:6.1f} s | {test}"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    names = [mutant.name for mutant in MUTANTS]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help="may be repeated")
    parser.add_argument("--list", action="store_true", help="name all, with what is wrong with each")
    wanted = parser.parse_args(arguments)
    if wanted.list:
        for mutant in MUTANTS:
            _say(f"{mutant.promise:<3} {mutant.name}: {mutant.harm}")
        return 0
    chosen = [mutant for mutant in MUTANTS if not wanted.only or mutant.name in wanted.only]
    return _run(chosen)


def _run(chosen: Sequence[Mutant]) -> int:
    living: list[tuple[Mutant, Verdict]] = []
    with tempfile.TemporaryDirectory(prefix="inotify-bridge-mutants-") as directory:
        scratch = Path(directory)
        tests = list(dict.fromkeys((_ALIVE, *(mutant.test for mutant in chosen))))
        _unharmed(tests, scratch)
        _say(f"without a mutant {len(tests)} selections of tests pass")
        _say(f"{'mutant':<38} | R   | outcome  |     time | test")
        for mutant in chosen:
            verdict = _harmed(mutant, scratch)
            _say(_line(mutant, verdict))
            _say(f"    {verdict.detail[:200]}")
            if not verdict.dead:
                living.append((mutant, verdict))
    for mutant, verdict in living:
        _say(f"\n{mutant.name}: {verdict.word}\n{verdict.detail}")
    _say(f"{len(chosen) - len(living)} of {len(chosen)} mutants killed")
    return 1 if living else 0


if __name__ == "__main__":
    sys.exit(main())
