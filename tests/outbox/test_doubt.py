"""A database that is opened again: what is believed of it, and what makes the stream begin a new epoch."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from inotify_bridge.errors import ConfigError, StoreError
from inotify_bridge.outbox import database
from inotify_bridge.outbox import directory as state_directory
from inotify_bridge.outbox.directory import Watched, prepare, refuse_watched
from inotify_bridge.outbox.note import Note
from inotify_bridge.outbox.store import Store

SOURCE = "inotify://test/uploads"
FILES = ("group.db", "group.db-wal", "group.db-shm")


def lived(path: Path, records: int = 3) -> str:
    """A life of the store: it goes on with its epoch, or mints one, and records so many; the epoch."""
    store = Store.open(path)
    if store.doubt:
        store.mint_epoch(SOURCE)
    store.commit([b"record"] * records, {})
    store.close()
    return store.epoch


def doubt_of(path: Path) -> str:
    """What is doubted of it now; it is left as it is."""
    store = Store.open(path)
    store.close()
    return store.doubt


def copied(directory: Path, to: Path) -> None:
    """All files of the database, by their contents."""
    to.mkdir()
    for name in FILES:
        if (directory / name).exists():
            shutil.copy(directory / name, to / name)


def overwrite(backup: Path, directory: Path) -> None:
    """Put the backup's bytes into the files that are there: the inode stays."""
    for name in FILES:
        (directory / name).unlink(missing_ok=True) if name != "group.db" else None
    with (directory / "group.db").open("r+b") as file:
        file.truncate(0)
        file.write((backup / "group.db").read_bytes())


def replace(backup: Path, directory: Path) -> None:
    """Put the backup's files in the place of those that are there."""
    for name in FILES:
        (directory / name).unlink(missing_ok=True)
        if (backup / name).exists():
            shutil.move(backup / name, directory / name)


def test_an_untouched_database_goes_on(tmp_path: Path) -> None:
    """Opened again, the epoch and its numbers go on."""
    path = tmp_path / "group.db"
    epoch = lived(path)
    assert lived(path) == lived(path) == epoch
    store = Store.open(path)
    assert (store.doubt, store.last_sequence) == ("", 9)
    store.close()


def test_a_killed_process_leaves_no_doubt(tmp_path: Path) -> None:
    """A process that was killed after its commits leaves a database that goes on."""
    code = (
        "import os, sys; from pathlib import Path; from inotify_bridge.outbox.store import Store\n"
        "store = Store.open(Path(sys.argv[1])); store.mint_epoch('s')\n"
        "for _ in range(50): store.commit([b'x'], {}); store.note_down()\n"
        "os.kill(os.getpid(), 9)"
    )
    path = tmp_path / "group.db"
    done = subprocess.run([sys.executable, "-c", code, os.fspath(path)], check=False)
    assert done.returncode == -9
    store = Store.open(path)
    assert (store.doubt, store.last_sequence) == ("", 50)
    store.close()


@pytest.mark.parametrize(("put_back", "doubt"), [(overwrite, "rolled_back"), (replace, "restored")])
def test_a_restored_database(put_back: Callable[[Path, Path], None], doubt: str, tmp_path: Path) -> None:
    """A backup that is put back, as new files or into the old ones, goes on with a later epoch."""
    state = tmp_path / "state"
    state.mkdir()
    path = state / "group.db"
    epoch = lived(path)
    copied(state, tmp_path / "backup")
    lived(path)
    put_back(tmp_path / "backup", state)
    assert doubt_of(path) == doubt
    assert doubt_of(path) == doubt, "it is doubted until a new epoch is minted"
    later = lived(path)
    assert later > epoch
    assert doubt_of(path) == ""


def test_a_database_of_an_earlier_epoch(tmp_path: Path) -> None:
    """A backup from an earlier epoch is noticed though its numbers are higher."""
    state = tmp_path / "state"
    state.mkdir()
    path = state / "group.db"
    lived(path, records=100)
    copied(state, tmp_path / "backup")
    store = Store.open(path)
    store.mint_epoch(SOURCE)
    store.close()
    overwrite(tmp_path / "backup", state)
    assert doubt_of(path) == "rolled_back"


def test_what_a_restored_database_holds_of_an_earlier_epoch(tmp_path: Path) -> None:
    """
    Messages that no sink had confirmed when a backup was made are not sent from it after a later epoch has
    begun: every consumer would drop them. From a backup of the epoch in force they are.
    """
    state = tmp_path / "state"
    state.mkdir()
    path = state / "group.db"

    def minted() -> Store:
        store = Store.open(path)
        store.set_sinks(["orders"])
        store.mint_epoch(SOURCE)
        return store

    store = minted()
    store.commit([b"waits"] * 5, {})
    store.close()
    copied(state, tmp_path / "backup")
    lived(path)
    overwrite(tmp_path / "backup", state)
    store = minted()
    assert store.behind(store.watermark("orders")) == 5
    store.close()
    overwrite(tmp_path / "backup", state)
    store = minted()
    assert store.behind(store.watermark("orders")) == 0
    store.close()


def test_a_missing_database(tmp_path: Path) -> None:
    """Where only the note is left, the next epoch is later than any that was, whatever the clock says."""
    path = tmp_path / "group.db"
    epoch = lived(path)
    note = Note(path)
    assert note.facts.floor == epoch
    far = "f" * 11 + "0" + epoch[12:]
    note.write(epoch, 3, floor=far)
    for name in FILES:
        (tmp_path / name).unlink(missing_ok=True)
    assert doubt_of(path) == "missing"
    assert lived(path) > far


def test_a_missing_note(tmp_path: Path) -> None:
    """A database without its note is not believed, and the note is what is missing."""
    path = tmp_path / "group.db"
    epoch = lived(path)
    Note(path).path.unlink()
    assert doubt_of(path) == "note_missing"
    assert lived(path) > epoch


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "link"])
def test_what_is_no_note(make: Callable[[Path], None], tmp_path: Path) -> None:
    """A pipe or a link in the place of the note is none, and neither waited for nor followed."""
    path = tmp_path / "group.db"
    lived(path)
    note = Note(path).path
    note.unlink()
    make(note)
    assert not Note(path).found


def test_a_database_is_its_users_alone(tmp_path: Path) -> None:
    """Nobody else may read what the state directory keeps, and a link in its place is refused."""
    path = tmp_path / "group.db"
    store = Store.open(path)
    store.mint_epoch(SOURCE)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    store.close()
    assert set(modes.values()) == {0o600}, modes
    (tmp_path / "link.db").symlink_to(path)
    with pytest.raises(StoreError, match="symbolic link"):
        Store.open(tmp_path / "link.db")


@pytest.mark.parametrize("place", [0, 512])
def test_a_torn_note(place: int, tmp_path: Path) -> None:
    """A note of which one place was torn by a crash still says what the other one said."""
    path = tmp_path / "group.db"
    store = Store.open(path)
    epoch = store.mint_epoch(SOURCE)
    note = Note(path)
    note.write(epoch, 0)
    note.write(epoch, 0)
    with note.path.open("r+b") as file:
        file.seek(place + 20)
        file.write(b"\0" * 40)
    assert Note(path).facts.epoch == epoch
    store.close()
    assert doubt_of(path) == ""


@pytest.mark.parametrize("damage", ["header", "text", "empty pages"])
def test_a_damaged_database_is_set_aside(damage: str, tmp_path: Path) -> None:
    """A damaged file is kept under another name, and a new database takes its place, with a later epoch."""
    path = tmp_path / "group.db"
    epoch = lived(path)
    found = path.read_bytes()
    wrong = {
        "header": b"\xff" * 100 + found[100:],
        "text": b"this is a text of some length, and no database" * 100,
        "empty pages": found[:4096] + bytes(len(found) - 4096),
    }[damage]
    path.write_bytes(wrong)
    if damage == "empty pages":  # what only a look at every page finds, which a power loss is reason for
        note = Note(path)
        note._put(dataclasses.replace(note.facts, number=99, boot="another boot"))
    store = Store.open(path)
    assert (store.doubt, store.set_aside, store.last_sequence) == ("corrupt", 1, 0)
    assert store.mint_epoch(SOURCE) > epoch
    store.close()
    (aside,) = tmp_path.glob("group.db.corrupt-*")
    assert aside.read_bytes() == wrong
    assert doubt_of(path) == ""


def test_an_earlier_minor_version_is_brought_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A store of the first minor version runs under this release and goes on; the earlier release runs on what
    this one made of it; and a later minor version is left as it is.
    """
    path = tmp_path / "group.db"
    epoch = lived(path)
    connection = sqlite3.connect(path)
    connection.executescript(
        "DROP TABLE roots; DROP TABLE followed; UPDATE meta SET value = 0 WHERE key = 'schema_minor'"
    )
    assert tables(connection) == tables_of_the_first_release()
    connection.close()
    assert lived(path) == epoch
    connection = sqlite3.connect(path)
    assert tables_of_the_first_release().items() <= tables(connection).items(), "a change that is no addition"
    connection.close()
    assert version(path) == len(database.MIGRATIONS) > 0
    with monkeypatch.context() as earlier:
        earlier.setattr(database, "MIGRATIONS", ())
        assert lived(path) == epoch
    connection = sqlite3.connect(path)
    connection.executescript("CREATE TABLE later (x); UPDATE meta SET value = 99 WHERE key = 'schema_minor'")
    connection.close()
    assert lived(path) == epoch
    assert version(path) == 99


def tables(connection: sqlite3.Connection) -> dict[str, str]:
    """How each table and index was made."""
    return dict(connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL"))


def tables_of_the_first_release() -> dict[str, str]:
    """The same of version 1.0."""
    connection = sqlite3.connect(":memory:")
    connection.executescript((Path(database.__file__).parent / "schema.sql").read_text())
    try:
        return tables(connection)
    finally:
        connection.close()


def version(path: Path) -> int:
    """The minor version of a database."""
    connection = sqlite3.connect(path)
    try:
        found: int = connection.execute("SELECT value FROM meta WHERE key = 'schema_minor'").fetchone()[0]
        return found
    finally:
        connection.close()


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that cannot be taken leaves the version before it, and the next start takes it again."""
    path = tmp_path / "group.db"
    epoch = lived(path)
    steps = (*database.MIGRATIONS, "CREATE TABLE more (x); CREATE TABLE more (x);")
    with monkeypatch.context() as broken:
        broken.setattr(database, "MIGRATIONS", steps)
        with pytest.raises(StoreError, match="more"):
            Store.open(path)
    assert version(path) == len(database.MIGRATIONS)
    monkeypatch.setattr(database, "MIGRATIONS", (*database.MIGRATIONS, "CREATE TABLE more (x);"))
    assert lived(path) == epoch


def test_another_writer_is_noticed(tmp_path: Path) -> None:
    """A store into which somebody else has written takes no transaction any more."""
    path = tmp_path / "group.db"
    first = Store.open(path)
    first.mint_epoch(SOURCE)
    first.commit([b"one"], {})
    second = Store.open(path)
    second.commit([b"two"], {})
    with pytest.raises(StoreError, match="taken over") as refused:
        first.commit([b"three"], {})
    assert refused.value.reason == "replaced"
    assert second.last_sequence == 2
    second.close()
    first.close()


@pytest.mark.parametrize(
    ("gone", "said"), [("lock", r"lock file .* is gone"), ("group.db", r"state database .* is gone")]
)
def test_replaced_files_are_noticed(gone: str, said: str, tmp_path: Path) -> None:
    """A store whose lock file or database is gone or was replaced takes no transaction, and says which."""
    (tmp_path / "lock").touch()
    path = tmp_path / "group.db"
    store = Store.open(path)
    store.mint_epoch(SOURCE)
    store.commit([b"one"], {})
    (tmp_path / gone).rename(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=said) as refused:
        store.commit([b"two"], {})
    assert refused.value.reason == "replaced"
    (tmp_path / gone).touch()
    with pytest.raises(StoreError, match="taken over"):
        store.check_ours()
    store.close()


def test_a_state_directory_is_made(tmp_path: Path) -> None:
    """It is made with all above it, for its user and group alone; one that is there is taken as it is."""
    directory = tmp_path / "a" / "b" / "state"
    prepare(directory)
    assert directory.stat().st_mode & 0o777 == 0o750
    prepare(directory)
    assert list(directory.iterdir()) == []


def test_a_state_directory_in_a_root_is_refused(tmp_path: Path) -> None:
    """In a watched root, also by a link, it is refused; beside one, and below one not followed, it is not."""
    root, link = tmp_path / "root", tmp_path / "link"
    (root / "below").mkdir(parents=True)
    link.symlink_to(root / "below")
    for directory in (root, root / "below" / "state", link / "state", root / "below" / ".." / "state"):
        with pytest.raises(ConfigError, match="stands in the watched directory") as refused:
            prepare(directory, [Watched(root, recursive=True)])
        assert refused.value.exit_code == 78
    prepare(tmp_path / "rootstate", [Watched(root, recursive=True)])
    refuse_watched(root / "below", [Watched(root, recursive=False)])
    with pytest.raises(ConfigError):
        refuse_watched(root, [Watched(root, recursive=False)])


def test_a_state_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """Where a file stands in the way, the directory is named with what is wrong."""
    (tmp_path / "file").touch()
    for directory in (tmp_path / "file", tmp_path / "file" / "state"):
        with pytest.raises(ConfigError, match=f"state.dir {directory} cannot be made: "):
            prepare(directory)


def test_a_remote_file_system_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where the kernel names a file system whose locks hold on one machine only, the directory is refused. None
    is to be had in a test, so tmpfs stands for it.
    """
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="inotify-bridge-") as shared:
        prepare(Path(shared))
        monkeypatch.setattr(state_directory, "REMOTE", {0x01021994: "NFS"})
        with pytest.raises(ConfigError, match=f"state.dir {shared} is on NFS"):
            prepare(Path(shared))
