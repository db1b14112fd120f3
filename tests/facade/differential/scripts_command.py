"""Scripts about the command line: each starts it as a program, and ends it as Ctrl-C does."""

# mypy: ignore-errors

from __future__ import annotations

import os
import re

from tests.facade.differential.scene import Scene, script


@script
def command_raw(scene: Scene) -> None:
    """``-f``: one line an event, without colours."""
    with scene.command("-f", scene.directory) as command:
        os.rename(scene.write("file"), scene.path("end"))
        command.until("name=end")


@script
def command_coloured(scene: Scene) -> None:
    """Without ``-f`` it is coloured, into a file as well."""
    with scene.command("-e", "IN_CREATE", scene.directory) as command:
        scene.write("end")
        command.until("end")


@script
def command_events(scene: Scene) -> None:
    """``-e`` chooses events; ALL_EVENTS is one of its names."""
    with scene.command("-f", "-e", "IN_CREATE,IN_DELETE", scene.directory) as command:
        os.unlink(scene.write("end"))
        command.until("IN_DELETE")
    with scene.command("-f", "--events-list=ALL_EVENTS", scene.directory) as command:
        scene.mkdir("end")
        command.until("name=end")


@script
def command_unknown_event(scene: Scene) -> None:
    """An event that there is not: usage, and exit 2."""
    with scene.command("-e", "IN_CREATE,IN_NONE", scene.directory):
        pass


@script
def command_unknown_option(scene: Scene) -> None:
    """An option that there is not: usage, and exit 2."""
    with scene.command("--no-such-option"):
        pass


@script
def command_help(scene: Scene) -> None:
    """``--help``: the same options, long and short; each side explains them in its own words."""
    with scene.command("--help", recorded=False) as command:
        scene.wait(command.ended, "the end")
        scene.answer("options", re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", command.output()))


@script
def command_version(scene: Scene) -> None:
    """``-V`` prints the version, and goes on."""
    with scene.command("-V", "-f", "-e", "IN_CREATE", scene.directory) as command:
        scene.write("end")
        command.until("name=end")


@script
def command_recursive(scene: Scene) -> None:
    """``-r``: every directory below."""
    scene.mkdir("a", "b")
    with scene.command("-r", "-f", "-e", "IN_CREATE", scene.directory, watches=3) as command:
        scene.write("a", "b", "end")
        command.until("name=end")


@script
def command_auto_add(scene: Scene) -> None:
    """``-a``: directories to come."""
    with scene.command("-r", "--auto_add", "-f", "-e", "IN_CREATE", scene.directory) as command:
        scene.mkdir("d")
        # Told after it was watched and listed: what comes between the two comes twice.
        command.until("name=d ")
        scene.write("d", "end")
        command.until("name=end")


@script
def command_glob(scene: Scene) -> None:
    """``-g``: patterns, which the program expands itself."""
    scene.mkdir("a1")
    scene.mkdir("b1")
    with scene.command("-g", "-f", "-e", "IN_CREATE", scene.path("a*")) as command:
        scene.write("b1", "other")
        scene.write("a1", "end")
        command.until("name=end")


@script
def command_several_paths(scene: Scene) -> None:
    """Paths that cannot be watched are logged, and the rest goes on."""
    scene.mkdir("a")
    scene.mkdir("b")
    with scene.command(
        "-f", "-e", "IN_CREATE", scene.path("a"), scene.path("nowhere"), scene.path("b"), watches=2
    ) as command:
        scene.write("a", "one")
        scene.write("b", "end")
        command.until("name=end")


@script
def command_of_a_command(scene: Scene) -> None:
    """``-c`` starts a shell command after each round, once before any event."""
    with scene.command(
        "-f", "-e", "IN_CREATE", "-c", f"echo ran >> {scene.path('..', 'ran')}", scene.directory
    ) as command:
        scene.wait(lambda: os.path.exists(scene.path("..", "ran")), "the first round")
        scene.write("end")
        command.until("name=end")
        scene.wait(lambda: scene.read("..", "ran").count("ran") >= 2, "the second round")


@script
def command_stats(scene: Scene) -> None:
    """``-s`` prints the count of events in place of them, every five seconds."""
    with scene.command("-s", "-f", "-e", "IN_CREATE", scene.directory) as command:
        scene.write("end")
        command.until("IN_CREATE=1")
        command.until("@")


@script
def command_of_a_name_that_is_not_utf8(scene: Scene) -> None:
    """A name that is not UTF-8 is printed, and the next event too."""
    with scene.command("-f", "-e", "IN_CREATE", scene.directory) as command:
        os.close(os.open(os.fsencode(scene.directory) + b"/\xff", os.O_CREAT | os.O_WRONLY))
        scene.wait(lambda: "name=" in command.output() or command.ended(), "the first line")
        scene.write("end")
        command.until("name=end")
