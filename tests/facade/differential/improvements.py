"""
Where the façade may differ from the original, and how: each is a defect of the original that it mends.

A script that stands here must differ, in these columns and in no other; one that does not must be equal.
"""

from __future__ import annotations

from typing import NamedTuple


class Improvement(NamedTuple):
    """
    A difference that is meant.

    Args:
        script: whose records differ.
        why: what the original does wrong, and what the façade does.
        columns: of the table: exactly these differ.
        shows: texts of the façade's records that the original's do not have.
        since: the first Python on which it is so.
    """

    script: str
    why: str
    columns: frozenset[str]
    shows: tuple[str, ...] = ()
    since: tuple[int, int] = (3, 11)


IMPROVEMENTS: tuple[Improvement, ...] = (
    Improvement(
        "names_that_are_not_utf8",
        "a name that is not UTF-8 loses no batch: it comes as os.fsdecode has it",
        frozenset({"sequence"}),
        (
            "udcff",
            "'name': 'after'",
        ),
    ),
    Improvement(
        "a_directory_that_is_not_utf8",
        "a directory whose name is not UTF-8 can be watched and walked",
        frozenset({"sequence"}),
        ("udcff/file",),
    ),
    Improvement(
        "command_of_a_name_that_is_not_utf8",
        "a name that is not UTF-8 does not end the command",
        frozenset({"exit", "stderr", "stdout"}),
        ("name=end",),
    ),
    Improvement(
        "a_thread_stopped_twice",
        "the second stop() does nothing, where the original writes to a closed descriptor",
        frozenset({"sequence"}),
        ("'answer': None",),
    ),
    Improvement(
        "a_thread_stopped_before_it_starts",
        "stop() before start() closes the instance",
        frozenset({"sequence"}),
        ("'answer': None",),
    ),
    Improvement(
        "a_thread_stopped_by_its_handler",
        "stop() from a handler ends the thread after that",
        frozenset({"sequence"}),
        ("'answer': None",),
    ),
    Improvement(
        "reading_where_nothing_is",
        "read_events() returns at once where nothing waits, and does not block",
        frozenset({"sequence"}),
        ("'answer': None",),
    ),
    Improvement(
        "removing_in_depth_a_tree",
        "rm_watch(rec=True) removes all of a tree",
        frozenset({"answer", "sequence"}),
        ("'4': True",),
    ),
    Improvement(
        "removing_the_values_of_an_answer",
        "rm_watch takes the values of add_watch's answer, as the tutorial does",
        frozenset({"sequence"}),
        ("'2': True",),
    ),
    Improvement(
        "paths_that_are_no_text_in_a_list",
        "bytes in a list are answered -3, as they are alone",
        frozenset({"sequence"}),
        (": -3",),
    ),
    Improvement(
        "a_tuple_of_paths",
        "a tuple of paths is paths",
        frozenset({"answer"}),
        ("'<T>': 1",),
    ),
    Improvement(
        "updating_auto_add",
        "update_watch(auto_add=True) puts IN_CREATE into the mask, as it is documented",
        frozenset({"sequence"}),
        ("IN_CREATE|IN_ISDIR",),
    ),
    Improvement(
        "updating_the_mask_that_is_inherited",
        "directories added after update_watch(mask=…) get the new mask",
        frozenset({"sequence"}),
        ("IN_DELETE",),
    ),
    Improvement(
        "a_link_to_a_directory_in_a_new_tree",
        "a link to a directory is told as a link and not followed out of the watched tree",
        frozenset({"dir", "mask", "maskname", "str", "sequence"}),
        ("mask=0x100 maskname=IN_CREATE name=link",),
    ),
    Improvement(
        "exclude_filters",
        "the TypeError says what was expected",
        frozenset({"raised"}),
        ("a list of expressions",),
    ),
    Improvement(
        "asking",
        "WatchManager.close() can be called twice",
        frozenset({"sequence"}),
        ("'closed twice', 'answer': None",),
    ),
    Improvement(
        "a_directory_is_made_during_the_walk",
        "each directory is watched before it is listed: what is made meanwhile is not missed",
        frozenset({"answer"}),
        ("<T>/a/late",),
    ),
    Improvement(
        "a_walk_is_heard",
        "the same: so the listing of a directory is heard by its own watch",
        frozenset({"name", "pathname", "str", "sequence"}),
        ("name='' path=<T>/a",),
    ),
    Improvement(
        "asyncore_notifier",
        "without asyncore the module is imported, and the notifier says what to take in its place",
        frozenset({"sequence"}),
        ("AsyncioNotifier",),
        since=(3, 12),
    ),
)
