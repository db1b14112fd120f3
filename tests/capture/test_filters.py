"""Include and exclude: the pattern language of gitignore, on names of any bytes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inotify_bridge.capture.filters import Filters, compile_pattern


@pytest.mark.parametrize(
    ("include", "exclude", "path", "is_dir", "admitted"),
    [
        ([], [], b"any/thing", False, True),
        (["*.csv"], [], b"2026/a.csv", False, True),
        (["*.csv"], [], b"2026/a.txt", False, False),
        (["*.csv"], [], b"2026", True, True),
        (["*.csv"], [], b"x.csv/readme", False, False),
        (["*", "!*.tmp"], [], b"a.tmp", False, False),
        (["logs/"], [], b"a/logs/b/c", False, True),
        (["logs/"], [], b"a/logs", False, False),
        (["logs/", "!secret"], [], b"logs/secret", False, False),
        (["in/2026"], [], b"in/2026/x", False, True),
        (["in/2026"], [], b"y/in/2026/x", False, False),
        ([], [".git/"], b".git", True, False),
        ([], [".git/"], b".git", False, True),
        ([], [".git/"], b"a/.git/config", False, False),
        ([], ["*.tmp"], b"a.tmp", False, False),
        ([], ["*.tmp"], b"a.tmp/b", False, False),
        ([], ["/tmp"], b"tmp", True, False),
        ([], ["/tmp"], b"a/tmp", True, True),
        ([], ["foo/**", "!foo/keep"], b"foo", True, True),
        ([], ["foo/**", "!foo/keep"], b"foo/keep", False, True),
        ([], ["foo/**", "!foo/keep"], b"foo/other", False, False),
        ([], ["*.d", "!keep.d/"], b"keep.d/x", False, True),
        ([], ["build/", "!build/keep"], b"build/keep", False, False),
        ([], ["y", "*.d", "!keep.d"], b"keep.d/y", False, False),
        ([], ["**/", "!a/"], b"a/b", True, False),
        (["*.csv"], ["old/"], b"old/a.csv", False, False),
        ([], ["*"], b"", True, True),
    ],
)
def test_verdicts(include: list[str], exclude: list[str], path: bytes, is_dir: bool, admitted: bool) -> None:
    """Include chooses files, exclude removes files and whole directories; the last match decides."""
    filters = Filters(include, exclude)
    assert filters.admits(path, is_dir) is admitted
    assert filters.admits(path, is_dir) is admitted, "the same from the cache"


@pytest.mark.parametrize(
    ("include", "exclude", "dependent"),
    [
        ([], [], False),
        (["*.csv"], [".git/", "*.tmp"], False),
        (["logs/"], [], True),
        (["/a"], [], True),
        ([], ["a/b"], True),
        ([], ["/a"], True),
        ([], ["**/x"], True),
    ],
)
def test_path_dependence(include: list[str], exclude: list[str], dependent: bool) -> None:
    """Only patterns that look at directories make a rename of one change verdicts below it."""
    assert Filters(include, exclude).path_dependent is dependent


def test_empty_says_so() -> None:
    """Without patterns the filters are empty; one pattern of either kind ends that."""
    assert Filters().empty
    assert not Filters(include=["a"]).empty
    assert not Filters(exclude=["a"]).empty


@pytest.mark.parametrize("text", ["", "  ", "# note", "/", "!", "a\\", "[z"])
def test_patterns_that_match_nothing_are_refused(text: str) -> None:
    """A comment, an empty or a broken pattern is an error, not a pattern without effect."""
    with pytest.raises(ValueError, match=r"matches nothing|Invalid"):
        compile_pattern(text)


def test_names_with_newlines() -> None:
    """A newline in a name neither hides a match nor makes one."""
    filters = Filters(exclude=["*.tmp"])
    assert not filters.admits(b"a\nb.tmp", False)
    assert not filters.admits(b"a\nb/c.tmp", False)
    assert filters.admits(b"a.tmp\n", False)


def test_names_that_are_not_utf8() -> None:
    """Bytes that are not UTF-8 are matched by wildcards like any character."""
    filters = Filters(exclude=["x?.tmp", "d/*.log"])
    assert not filters.admits(b"x\xff.tmp", False)
    assert not filters.admits(b"d/\xfe\xff.log", False)
    assert filters.admits(b"\xff", False)


def test_caches_stay_bounded() -> None:
    """However many names pass, what the filters remember does not grow beyond its bound."""
    filters = Filters(exclude=["*.tmp"])
    for number in range(200_000):
        filters.admits(b"%d/f%d" % (number, number), False)
    assert len(filters._own) <= 65_536
    assert len(filters._followed) <= 65_536


def test_trees_thousands_of_levels_deep() -> None:
    """A path of 3,000 levels is judged without recursion."""
    path = b"/".join([b"d"] * 3000)
    assert Filters(exclude=["*.tmp"]).admits(path, True)
    assert not Filters(exclude=["/d/**/d/d"]).admits(path, True)


SEGMENTS = st.sampled_from(["a", "b", "*", "**", "a*", "?", "[ab]", "*.c", "[!a]"])
PATTERNS = st.builds(
    lambda bang, lead, segments, trail: bang + lead + "/".join(segments) + trail,
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "", "/"]),
    st.lists(SEGMENTS, min_size=1, max_size=3),
    st.sampled_from(["", "", "/"]),
)
PATHS = [
    "a",
    "b",
    "a/a",
    "a/b",
    "b/a",
    "a/x.c",
    "x.c/a",
    "a/b/a",
    "b/b/b",
    "a/a/x.c",
    "xa",
    "ab/b",
    "a/b/a/b",
]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty git repository."""
    top = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", str(top)], check=True, capture_output=True)
    return top


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(patterns=st.lists(PATTERNS, min_size=1, max_size=4))
def test_git_agrees_about_exclusion(repository: Path, patterns: list[str]) -> None:
    """`exclude` admits a file exactly when git, with the same lines in .gitignore, does not ignore it."""
    (repository / ".gitignore").write_text("".join(f"{line}\n" for line in patterns))
    answer = subprocess.run(
        ["git", "check-ignore", "--no-index", "-z", "--stdin"],
        cwd=repository,
        input="\0".join(PATHS).encode(),
        capture_output=True,
        check=False,
    )
    assert answer.returncode in (0, 1), answer.stderr
    ignored = {path.decode() for path in answer.stdout.split(b"\0") if path}
    filters = Filters(exclude=patterns)
    assert {path for path in PATHS if not filters.admits(path.encode(), False)} == ignored


def test_what_is_remembered_is_bounded_in_bytes() -> None:
    """Verdicts on directories of a tree with long paths are remembered in a few megabytes, and stay right."""
    filters = Filters(exclude=["/" + "*/" * 100 + "no"])
    path = b"x" * 255
    for _ in range(400):
        assert filters.admits(path, True)
        assert filters.admits(path + b"/no", True) == (path.count(b"/") != 99)
        path += b"/" + b"x" * 255
    assert 1 << 20 < sum(map(len, filters._followed)) < 10 << 20
