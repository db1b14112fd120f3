"""Reading a configuration file: every problem at once, each with its line, none with a secret."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from inotify_bridge.config import Config, ConfigErrors, inspect, load

Write = Callable[[str], Path]

GOOD = """\
watch_groups:
  - name: uploads
    paths: [/srv/uploads]
    sinks: [orders]
sinks:
  - {name: orders, type: memory}
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a configuration file."""

    def write_text(text: str) -> Path:
        file = tmp_path / "config.yaml"
        file.write_text(text)
        return file

    return write_text


def problems(file: Path, **environ: str) -> list[tuple[int, str, str, str, str]]:
    """Line, place, value, reason and suggestion of every problem."""
    return [tuple(problem)[1:] for problem in inspect(file, environ).problems]  # type: ignore[misc]


def test_defaults(write: Write) -> None:
    """A file with a group and a sink is enough; all else has the published defaults."""
    config = load(write(GOOD))
    group = config.watch_groups[0]
    assert group.paths[0].path == b"/srv/uploads"
    assert group.paths[0].name is None
    assert group.kinds == {"created", "written", "attributes_changed", "moved", "deleted"}
    assert (group.recursive, group.one_file_system, group.snapshot) == (True, False, "initial")
    assert (group.heartbeat, group.poll_interval, group.resync_interval, group.ready.settle) == (
        0,
        10,
        3600,
        2,
    )
    assert config.capture.queue_max_bytes == 64 * 1024**2
    assert (config.state.dir, config.state.max_bytes, config.state.retain) == (None, 64 * 1024**2, 0)
    assert config.events.source_of("uploads") == f"inotify://{socket.gethostname()}/uploads"
    assert (config.http.address, config.http.loopback) == (("127.0.0.1", 10477), True)
    assert (config.log.level, config.log.format, config.shutdown_timeout) == ("info", "auto", 30)


def test_the_published_sample(write: Write) -> None:
    """The sample of the documentation is read: every name in it is a name here."""
    config = load(
        write("""\
watch_groups:
  - name: uploads
    paths: [/srv/uploads]
    recursive: true
    one_file_system: false
    heartbeat: 0s
    include: ["*.csv"]
    exclude: [".git/", "*.tmp"]
    kinds: [created, written, attributes_changed, moved, deleted]
    snapshot: initial
    ready: {settle: 2s}
    poll_interval: 10s
    resync_interval: 1h
    sinks: [orders]
sinks:
  - {name: orders, type: memory}
capture: {queue_max_bytes: 64MiB}
state: {dir: /var/lib/inotify-bridge, max_bytes: 1GiB, retain: 0s}
events: {type_prefix: io.inotify-bridge, host: "${NODE_NAME:-}", source: "inotify://{host}/{group}",
         content_mode: structured, partition_by: group}
http: {listen: "127.0.0.1:10477", admin_token_file: /run/secrets/admin,
       admin_socket: /run/inotify-bridge.sock}
log: {level: info, format: auto}
shutdown_timeout: 30s
"""),
        {"NODE_NAME": "web-1"},
    )
    assert config.events.source_of("uploads") == "inotify://web-1/uploads"
    assert config.replicable(config.watch_groups[0])


@pytest.mark.parametrize("path", ["", "a\\0b", "/run/" + "x" * 103, "/run/" + "ä" * 52])
def test_what_is_no_path_of_a_socket(write: Write, path: str) -> None:
    """An admin socket without a name, with a NUL in it or longer than the kernel takes is refused."""
    with pytest.raises(ConfigErrors, match=r"http\.admin_socket: .*is no path that a socket can have"):
        load(write(f'{GOOD}http: {{admin_socket: "{path}"}}\n'), {})


def test_seven_errors_at_once(write: Write) -> None:
    """A file with seven errors of seven kinds reports all seven, in the order of their lines."""
    file = write("""\
watch_groups:
  - name: uploads
    paths: [/srv/uploads]
    recursiv: true
    heartbeat: 5 parsecs
    kinds: [created, writen]
    sinks: [ordres]
  - name: uploads
    paths: [/srv/other]
    sinks: [orders]
sinks:
  - {name: orders, type: memory}
  - {name: print, type: stdot}
http:
  listen: ${LISTEN}
""")
    assert problems(file) == [
        (4, "watch_groups[0].recursiv", "", "unknown key", "did you mean 'recursive'?"),
        (
            5,
            "watch_groups[0].heartbeat",
            "'5 parsecs'",
            "is no time: write a number with a unit such as 5s, 250ms, 10m or 1h",
            "",
        ),
        (
            6,
            "watch_groups[0].kinds[1]",
            "'writen'",
            "is not one of created, written, modified, attributes_changed, moved, deleted, ready",
            "did you mean 'written'?",
        ),
        (7, "watch_groups[0].sinks[0]", "'ordres'", "is no configured sink", "did you mean 'orders'?"),
        (8, "watch_groups[1].name", "'uploads'", "is the name of another group too", "see watch_groups[0]"),
        (13, "sinks[1].type", "'stdot'", "is no known type of sink", "did you mean 'stdout'?"),
        (
            15,
            "http.listen",
            "'${LISTEN}'",
            "environment variable LISTEN is not defined",
            "set it, or write a default: ${LISTEN:-value}",
        ),
    ]


def test_the_error_holds_them_all(write: Write) -> None:
    """`load` raises one error with exit code 78 that holds every problem, one line each."""
    file = write("watch_groups: 5\nsinks: []\nhtp: {}\n")
    with pytest.raises(ConfigErrors) as caught:
        load(file)
    assert caught.value.exit_code == 78
    assert len(caught.value.problems) == 3
    assert str(caught.value.problems[0]).startswith(f"{file}:1: watch_groups: ")
    assert str(caught.value).count("\n") == 2


# Each fragment is put in place of a line of a good file.
WRONG = [
    ("name: uploads", "name: Up_Loads", "watch_groups[0].name", "does not match"),
    ("paths: [/srv/uploads]", "paths: /srv/uploads", "watch_groups[0].paths", "must be a list"),
    ("paths: [/srv/uploads]", "paths: []", "watch_groups[0].paths", "must not be empty"),
    ("paths: [/srv/uploads]", "paths: ['']", "watch_groups[0].paths[0]", "is no path"),
    ("paths: [/srv/uploads]", 'paths: ["a\\0b"]', "watch_groups[0].paths[0]", "NUL"),
    ("paths: [/srv/uploads]", "paths: [{as: x}]", "watch_groups[0].paths[0].path", "is missing"),
    (
        "paths: [/srv/uploads]",
        "paths: [{path: /a, as: b/c}]",
        "watch_groups[0].paths[0].as",
        "without a slash",
    ),
    ("paths: [/srv/uploads]", "paths: [/a/b, /c/b]", "watch_groups[0].paths[1]", "same name"),
    ("paths: [/srv/uploads]", "paths: [/a/b, /a]", "watch_groups[0].paths[1]", "overlap"),
    ("paths: [/srv/uploads]", "paths: [/a, /a/b]", "watch_groups[0].paths[1]", "overlap"),
    ("paths: [/srv/uploads]", "paths: [/a, /b/../a]", "watch_groups[0].paths[1]", "overlap"),
    ("paths: [/srv/uploads]", "line: {}\n    paths: [/a]", "watch_groups[0].line", "unknown key"),
    ("paths: [/srv/uploads]", "paths: [/a]\n    paths: [/b]", "watch_groups[0].paths", "stands twice"),
    ("sinks: [orders]", "sinks: []", "watch_groups[0].sinks", "must not be empty"),
    ("sinks: [orders]", "sinks: [orders, orders]", "watch_groups[0].sinks[1]", "stands twice"),
    ("sinks: [orders]", "sinks: [orders]\n    kinds: []", "watch_groups[0].kinds", "must not be empty"),
    ("sinks: [orders]", "sinks: [orders]\n    exclude: ['!']", "watch_groups[0].exclude[0]", "is no pattern"),
    (
        "sinks: [orders]",
        "sinks: [orders]\n    include: ['# x']",
        "watch_groups[0].include[0]",
        "is no pattern",
    ),
    ("sinks: [orders]", "sinks: [orders]\n    poll_interval: 0s", "watch_groups[0].poll_interval", "greater"),
    ("sinks: [orders]", "sinks: [orders]\n    recursive: maybe", "watch_groups[0].recursive", "boolean"),
    ("sinks: [orders]", "sinks: [orders]\n    ready: 5s", "watch_groups[0].ready", "must be a mapping"),
    ("type: memory", "type: memory, brokr: x", "sinks[0].brokr", "unknown key"),
    ("type: memory", "type: memory, max_message_bytes: 5 XB", "sinks[0].max_message_bytes", "is no size"),
    ("name: orders, type: memory", "type: memory", "sinks[0].name", "is missing"),
    ("type: memory", "tpe: memory", "sinks[0].type", "is missing"),
    ("sinks:\n", "state: {dir: /srv/uploads/state}\nsinks:\n", "state.dir", "would watch itself"),
    ("sinks:\n", "state: {max_bytes: 1}\nsinks:\n", "state.max_bytes", "greater"),
    ("sinks:\n", "http: {listen: 'x:y'}\nsinks:\n", "http.listen", "no address and port"),
    ("sinks:\n", "http: {listen: 'localhost:65536'}\nsinks:\n", "http.listen", "no address and port"),
    ("sinks:\n", "http: {listen: '::1:80'}\nsinks:\n", "http.listen", "no address and port"),
    ("sinks:\n", "http: {admin_token: x, admin_token_file: y}\nsinks:\n", "http", "cannot both be set"),
    ("sinks:\n", "events: {source: 'x/{host}/{path}'}\nsinks:\n", "events.source", "{host} and {group} only"),
    ("sinks:\n", "events: {source: 'x y'}\nsinks:\n", "events.source", "is no URI"),
    ("sinks:\n", "events: {source: '{host'}\nsinks:\n", "events.source", "brace"),
    ("sinks:\n", "events: {host: 5}\nsinks:\n", "events.host", "must be text"),
    ("sinks:\n", "log: {level: loud}\nsinks:\n", "log.level", "is not one of debug"),
    ("sinks:\n", "log: verbose\nsinks:\n", "log", "must be a mapping"),
    ("sinks:\n", "shutdown_timeout: soon\nsinks:\n", "shutdown_timeout", "is no time"),
    ("sinks:\n", "capture: {queue_max_bytes: 1}\nsinks:\n", "capture.queue_max_bytes", "greater"),
    ("sinks:\n", "state: {dir: !!python/name:os.system x}\nsinks:\n", "state.dir", "means nothing here"),
    ("sinks:\n", "? [a]\n: b\nsinks:\n", "", "has a key that is no text"),
]


@pytest.mark.parametrize(("good", "wrong", "where", "reason"), WRONG)
def test_one_mistake_one_problem(write: Write, good: str, wrong: str, where: str, reason: str) -> None:
    """A single mistake gives a single problem, at its place, with its reason."""
    assert good in GOOD
    found = problems(write(GOOD.replace(good, wrong, 1)))
    assert [(place, reason in said) for _, place, _, said, _ in found] == [(where, True)], found


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not a mapping"),
        ("- a\n- b\n", "is not a mapping"),
        ("a: [b\n", "is no YAML"),
        ("a: b\n---\nc: d\n", "is no YAML"),
        ("a: *nowhere\n", "is no YAML"),
        ("a: &a [*a]\n", "nested too deeply"),
        ("a: " + "[" * 5000, "nested too deeply"),
        ("a\x01b: c", "is no YAML"),
        ("# " + "x" * 1024**2, "larger than"),
    ],
)
def test_what_is_no_configuration_at_all(write: Write, text: str, reason: str) -> None:
    """Text that is no usable YAML gives one problem and no traceback."""
    found = problems(write(text))
    assert any(reason in said for _, _, _, said, _ in found), found


def test_aliases_cannot_stand_for_billions(write: Write) -> None:
    """Nine lines of aliases of aliases are refused, and quickly."""
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    assert "too many values" in problems(write("\n".join(lines)))[0][3]


def test_anchors_are_fine(write: Write) -> None:
    """An alias stands for its anchor's value."""
    text = GOOD.replace("[/srv/uploads]", "&p [/srv/uploads]").replace(
        "sinks:\n  -", "  - {name: two, paths: *p, sinks: [orders]}\nsinks:\n  -"
    )
    assert [group.name for group in load(write(text)).watch_groups] == ["uploads", "two"]


def test_words_stay_words(write: Write) -> None:
    """`on`, `no` and `10:30` are text, as YAML 1.2 has it, not booleans and numbers."""
    text = GOOD.replace("[/srv/uploads]", "[{path: /a, as: on}, {path: /b, as: no}, {path: /c, as: 10:30}]")
    assert [root.name for root in load(write(text)).watch_groups[0].roots] == [b"on", b"no", b"10:30"]


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    """A file that cannot be read is one problem that says why."""
    for file, reason in ((tmp_path / "none.yaml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigErrors, match=reason):
            load(file)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"a: b\nc: \xe9\n")
    problem = inspect(latin, {}).problems[0]
    assert (problem.line, problem.reason) == (2, "is not UTF-8")


def test_secrets_are_never_shown(write: Write) -> None:
    """Neither passwords, nor those in URLs, nor what the environment holds stand in any problem."""
    text = GOOD.replace(
        "{name: orders, type: memory}",
        '{name: orders, type: rabbitmq, url: "amqp://u:hunter2@h/a/b", password: [hunter3]}\n'
        '  - {name: two, type: rabbitmq, url: "amqp://u@h", password: hunter7, window: "${W}"}',
    ).replace("sinks:\n", 'http: {admin_token: 5, admin_tokn: hunter4}\nlog: {level: "${L}"}\nsinks:\n', 1)
    found = inspect(write(text), {"W": "hunter5", "L": "hunter6"}).problems
    said = "\n".join(str(problem) for problem in found)
    assert len(found) >= 5, said
    assert "hunter" not in said
    assert "'${W}'" in said


def test_names_in_messages_are_escaped(write: Write) -> None:
    """A value with line breaks and escape sequences stays on its line."""
    text = GOOD.replace("name: uploads", 'name: "a\\nb\\e[31m"')
    line = str(inspect(write(text), {}).problems[0])
    assert "\n" not in line
    assert "\x1b" not in line


def test_values_of_the_environment_are_typed(write: Write) -> None:
    """A number, a time or a truth value may come from the environment."""
    text = GOOD.replace("sinks: [orders]", "recursive: ${R}\n    heartbeat: ${H}\n    sinks: [orders]")
    group = load(write(text), {"R": "false", "H": "5s"}).watch_groups[0]
    assert (group.recursive, group.heartbeat) == (False, 5.0)


def test_environment_left_alone(write: Write) -> None:
    """Without an environment references are not judged, and everything else is."""
    text = GOOD.replace("sinks: [orders]", 'recursive: ${R}\n    heartbeat: "${H}"\n    sinks: [orders]')
    assert inspect(write(text), None) == (None, (), ())
    assert len(inspect(write(text + "htp: {}\n"), None).problems) == 1


def test_empty_sections_have_their_defaults(write: Write) -> None:
    """A section all of whose keys are commented out is as good as none."""
    assert load(write(GOOD + "http:\n  # listen: 0.0.0.0:80\nlog:\n")) == load(write(GOOD))


def test_state_bound_depends_on_the_directory(write: Write) -> None:
    """With a state directory the journal may take 1 GiB by default, without one 64 MiB."""
    assert load(write(GOOD + "state: {dir: /var/lib/x}\n")).state.max_bytes == 1024**3
    assert load(write(GOOD + "state: {dir: /var/lib/x, max_bytes: 2MiB}\n")).state.max_bytes == 2 * 1024**2
    assert load(write(GOOD + "state: {retain: 1h}\n")).state.max_bytes == 64 * 1024**2


def test_relative_paths_start_here(write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A relative path is made absolute from the current directory, and `.` and doubled slashes go."""
    monkeypatch.chdir(tmp_path)
    text = GOOD.replace("[/srv/uploads]", "[./data//in/]")
    assert load(write(text)).watch_groups[0].paths[0].path == os.fsencode(tmp_path) + b"/data/in"


def test_several_roots_are_named(write: Write) -> None:
    """Of several roots one without `as` is named by the last part of its path; a single one needs no name."""
    text = GOOD.replace("[/srv/uploads]", "[/srv/in, {path: /srv/out, as: sent}]")
    assert [root.name for root in load(write(text)).watch_groups[0].roots] == [b"in", b"sent"]
    assert load(write(GOOD)).watch_groups[0].roots[0].name is None


@pytest.mark.parametrize("kind", ["missing", "socket", "fifo"])
def test_unreachable_roots(write: Write, tmp_path: Path, kind: str) -> None:
    """With `reach` a root that is missing, a socket or a fifo is a problem; else the agent waits for it."""
    root = tmp_path / "root"
    if kind == "fifo":
        os.mkfifo(root)
    listener = socket.socket(socket.AF_UNIX)
    if kind == "socket":
        listener.bind(str(root))
    listener.close()
    file = write(GOOD.replace("/srv/uploads", str(root)))
    assert inspect(file, {}).problems == ()
    (problem,) = inspect(file, {}, reach=True).problems
    assert (problem.where, problem.line) == ("watch_groups[0].paths[0]", 3)
    assert (
        "No such file" if kind == "missing" else "neither a directory nor a regular file"
    ) in problem.reason


def test_roots_that_overlap_through_symbolic_links(write: Write, tmp_path: Path) -> None:
    """A root that is another root by way of a symbolic link is found."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    file = write(GOOD.replace("/srv/uploads", f"{tmp_path}/real, {tmp_path}/link"))
    assert "overlap" in problems(file)[0][3]


def test_groups_share_no_source(write: Write) -> None:
    """Two groups whose events would have the same source are refused: each numbers its own."""
    text = GOOD.replace("sinks:\n  -", "  - {name: two, paths: [/b], sinks: [orders]}\nsinks:\n  -")
    (problem,) = problems(write(text + 'events: {source: "inotify://{host}"}\n'))
    assert problem[1] == "events.source"


@pytest.mark.parametrize(
    ("addition", "note"),
    [
        ("kinds: [created]", "not replicable: kinds lacks deleted, moved, written"),
        ("snapshot: never", "not replicable: snapshot is never"),
        ("ready: {settle: 1s}", "ready has no effect"),
    ],
)
def test_notes(write: Write, addition: str, note: str) -> None:
    """What is allowed but may surprise is said in a note."""
    inspection = inspect(write(GOOD.replace("sinks: [orders]", f"{addition}\n    sinks: [orders]")), {})
    assert inspection.problems == ()
    assert any(note in text for text in inspection.notes), inspection.notes


def test_only_order_in_one_partition_is_replicable(write: Write) -> None:
    """A group is replicable with its snapshot, its four kinds, and one partition."""
    assert load(write(GOOD)).replicable(load(write(GOOD)).watch_groups[0])
    spread = load(write(GOOD + "events: {partition_by: path}\n"))
    assert not spread.replicable(spread.watch_groups[0])


def test_configuration_from_python() -> None:
    """A configuration can be made from a mapping in Python, under the same rules."""
    tree = {
        "watch_groups": [{"name": "a", "paths": [b"/srv/\xff"], "sinks": ["m"]}],
        "sinks": [{"name": "m", "type": "memory", "broker": "b"}],
    }
    config = Config.model_validate(tree)
    assert config.watch_groups[0].paths[0].path == b"/srv/\xff"
    assert config.sink("m").options.model_dump()["broker"] == "b"
    assert Config.model_validate(tree) == config
    with pytest.raises(ValueError, match="is no configured sink"):
        Config.model_validate({**tree, "sinks": [{"name": "n", "type": "memory"}]})
    with pytest.raises(ValueError, match="brokr"):
        Config.model_validate({**tree, "sinks": [{"name": "m", "type": "memory", "brokr": "b"}]})


@pytest.mark.parametrize(
    ("path", "group", "refused"),
    [
        ("in/events.jsonl", "", True),
        ("in/deep/events.jsonl", "", True),
        ("link/events.jsonl", "", True),
        ("out/events.jsonl", "", False),
        ("in/events.jsonl", "exclude: ['*.jsonl']", False),
        ("in/events.jsonl", "include: ['*.csv']", False),
        ("in/deep/events.jsonl", "recursive: false", False),
    ],
)
def test_a_journal_is_not_watched_by_its_own_group(
    write: Write, tmp_path: Path, path: str, group: str, refused: bool
) -> None:
    """A file sink inside a root that feeds it is refused, unless the group does not see the file."""
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("in")
    text = GOOD.replace("/srv/uploads", f"{tmp_path}/in").replace(
        "sinks: [orders]", f"{group}\n    sinks: [orders]"
    )
    found = problems(write(text.replace("type: memory", f"type: jsonl, path: {tmp_path}/{path}")))
    assert [place for _, place, _, _, _ in found] == (["sinks[0].path"] if refused else [])
