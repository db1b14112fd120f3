"""The configuration of a ``sql`` sink."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from inotify_bridge.errors import SinkMisconfigured
from inotify_bridge.sinks.base import TakenFields
from inotify_bridge.sinks.registry import is_this_machine
from inotify_bridge.units import Seconds

Family = Literal["file", "log"]
"""Which events a table takes: ``file`` those of files, directories and the stream, ``log`` log entries."""

_MODEL = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True)
_PORTS: Final = {"postgresql": 5432, "mysql": 3306}
_MODULES: Final = {
    "postgresql": ("psycopg", "'inotify-bridge[postgres]'"),
    "mysql": ("pymysql", "PyMySQL"),
}
_PRODUCTS: Final = {"postgresql": "PostgreSQL", "mysql": "MySQL"}
# Up to the last @: a password with an unescaped / or ? must not stay behind in the path or the query.
_USERINFO = re.compile(r"(\w+://)([^:]*)(?::(.*))?@(.*)", re.DOTALL)
_TABLE = re.compile(r"(?:[^\W\d]\w{0,62}\.)?[^\W\d]\w{0,48}")
_COLUMN = re.compile(r"[^\W\d]\w{0,62}")
_ATTRIBUTES: Final = (
    "id",
    "source",
    "type",
    "subject",
    "time",
    "sequence",
    "partitionkey",
    "watchgroup",
    "data",
    "envelope",
)
_FAMILY_PATHS: Final[tuple[tuple[str, Family], ...]] = (
    ("data.file", "file"),
    ("data.move", "file"),
    ("data.origin", "file"),
    ("data.log", "log"),
    ("data.fields", "log"),
    ("data.message", "log"),
)
_FIELDS: Final = "data.fields."
_ALL_FIELDS: Final = ("envelope", "data", "data.fields")
_Time = Annotated[Seconds, Field(gt=0)]
_Table = Annotated[str, Field(max_length=112)]


class TlsOptions(BaseModel):
    """How the connection to a database server is secured."""

    model_config = _MODEL

    ca_file: str | None = None
    """PEM file of the authorities to trust."""
    cert_file: str | None = None
    """PEM file of the client's certificate."""
    key_file: str | None = None
    """PEM file of the client's key."""
    insecure: bool = False
    """Accept any certificate of any host: anyone on the way can read and change everything."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if bool(self.cert_file) != bool(self.key_file):
            raise ValueError("cert_file and key_file need each other")
        if bool(self.ca_file) == self.insecure:
            raise ValueError("needs either ca_file or insecure")
        return self


class ColumnOptions(BaseModel):
    """What one column of a table of one's own takes."""

    model_config = _MODEL

    path: str
    """Where the value stands in the event: ``data.fields.level``; ``envelope`` is the whole event."""
    type: Literal["text", "integer", "float", "boolean", "timestamp", "json"] = "text"
    """Of the column, where the table is made; the one of a table that is there counts."""

    @field_validator("path")
    @classmethod
    def _known_path(cls, value: str) -> str:
        names = value.split(".")
        if names[0] not in _ATTRIBUTES or not all(names) or (len(names) > 1 and names[0] != "data"):
            raise ValueError(
                "is no place in an event: write data.fields.NAME, data.file.size, time … or envelope"
            )
        return value

    @property
    def family(self) -> Family | None:
        """Which events have a value there; None: all."""
        for begin, family in _FAMILY_PATHS:
            if self.path == begin or self.path.startswith(f"{begin}."):
                return family
        return None


class SqlOptions(BaseModel):
    """Configuration of a ``sql`` sink."""

    model_config = _MODEL

    url: str = "sqlite:///events.db"
    """``sqlite:///FILE`` (``sqlite:////`` with an absolute path), ``postgresql://user@host:port/database`` or
    ``mysql://user@host:port/database``; a directory of Unix sockets is written with ``%2F`` as the host."""
    username: str = ""
    """User name, where it is not in the URL."""
    password: SecretStr | None = None
    """The password itself; better: password_file."""
    password_file: str | None = None
    """File with the password, read again at every connect."""
    table: _Table | None = None
    """Table of file events, ``schema.table`` also; without it they are not stored."""
    log_table: _Table | None = None
    """Table of log entries; ``<log_table>_rejected`` takes the lines that did not match. Without it none are
    stored."""
    columns: dict[str, ColumnOptions] = Field(default_factory=dict, max_length=300)
    """Columns of one's own instead of the default ones: ``{level: data.fields.level}``, or
    ``{status: {path: data.fields.status, type: integer}}``."""
    create_tables: bool = True
    """Make tables that do not exist."""
    connect_timeout: _Time = 10.0
    """Longest wait for a connection."""
    commit_timeout: _Time = 30.0
    """Longest wait for a batch to be committed before the connection is given up."""
    tls: TlsOptions | None = None
    """For a database server on another machine."""

    @model_validator(mode="before")
    @classmethod
    def _take_credentials_out_of_url(cls, values: Any) -> Any:
        """The URL keeps no password: it is shown in errors, logs and status."""
        if not isinstance(values, dict) or not isinstance(values.get("url"), str):
            return values
        found = _USERINFO.match(values["url"])
        if found is None or values["url"].startswith("sqlite:///"):
            return values
        scheme, username, password, rest = found.groups()
        taken = dict(values, url=scheme + rest)
        if values.get("username"):
            raise ValueError("the user name stands twice: in url and in username")
        taken["username"] = unquote(username)
        if password is not None:
            if values.get("password") or values.get("password_file"):
                raise ValueError("the password stands twice: in url and in password or password_file")
            taken["password"] = unquote(password)
        return taken

    @field_validator("url")
    @classmethod
    def _known_url(cls, value: str) -> str:
        _check_url(value)
        return value

    @field_validator("table", "log_table")
    @classmethod
    def _table_name(cls, value: str | None) -> str | None:
        if value is not None and not _TABLE.fullmatch(value):
            raise ValueError("is no name of a table: letters, digits and _, at most 49; or schema.table")
        return value

    @field_validator("columns", mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: {"path": one} if isinstance(one, str) else one for name, one in value.items()}

    @field_validator("columns")
    @classmethod
    def _column_names(cls, value: dict[str, ColumnOptions]) -> dict[str, ColumnOptions]:
        if any(not _COLUMN.fullmatch(name) for name in value):
            raise ValueError("names a column with something else than letters, digits and _, at most 63")
        return value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.table is None and self.log_table is None:
            raise ValueError("names no table: give table (file events), log_table (log entries), or both")
        if self.table == self.log_table:
            raise ValueError("table and log_table are the same")
        if self.password is not None and self.password_file is not None:
            raise ValueError("at most one of password and password_file")
        if self.path is not None and (self.username or self.password or self.password_file or self.tls):
            raise ValueError("a SQLite file takes no username, password or tls")
        for name, column in self.columns.items():
            if column.family is not None and self.table_of(column.family) is None:
                needed = "table" if column.family == "file" else "log_table"
                raise ValueError(f"column '{name}' takes {column.path}, which needs {needed}")
        return self

    def table_of(self, family: Family) -> str | None:
        """The name of the table that takes these events."""
        return self.table if family == "file" else self.log_table

    def log_fields(self) -> TakenFields | None:
        """See `inotify_bridge.sinks.base.Selective`."""
        if self.log_table is None:
            return None
        own = self.columns_of("log")
        named: dict[tuple[str, ...], str] = {
            ("columns", name): column.path.removeprefix(_FIELDS).partition(".")[0]
            for name, column in own.items()
            if column.path.startswith(_FIELDS)
        }
        return TakenFields(named, not own or any(column.path in _ALL_FIELDS for column in own.values()))

    def columns_of(self, family: Family) -> dict[str, ColumnOptions]:
        """
        The columns of one's own of a table; empty: it has the default ones.

        With both tables a column goes where its value is; what all events have goes to each table that has
        a column of its own.
        """
        chosen = {name: one for name, one in self.columns.items() if one.family in (None, family)}
        families = {one.family for one in self.columns.values()} - {None}
        return chosen if not families or family in families else {}

    @property
    def dialect(self) -> str:
        """``sqlite``, ``postgresql`` or ``mysql``."""
        return self.url.partition(":")[0]

    @property
    def path(self) -> Path | None:
        """The file of a SQLite database; None: the database is a server."""
        return Path(self.url.removeprefix("sqlite:///")) if self.dialect == "sqlite" else None

    @property
    def host(self) -> str:
        """Host name, address, or directory of Unix sockets of a server."""
        parts = urlsplit(self.url)
        # `hostname` is in lower case, and a path is not.
        return unquote(parts.netloc) if parts.netloc.startswith("%") else parts.hostname or ""

    @property
    def port(self) -> int:
        """TCP port of a server."""
        return urlsplit(self.url).port or _PORTS[self.dialect]

    @property
    def database(self) -> str:
        """Name of the database on a server."""
        return unquote(urlsplit(self.url).path[1:])

    @property
    def is_insecure(self) -> bool:
        """Whether others on the way could read and change what is sent."""
        if self.path is not None or self.host.startswith("/"):
            return False
        return self.tls.insecure if self.tls else not is_this_machine(self.host)

    @property
    def place(self) -> str:
        """Which database, for messages."""
        if self.path is not None:
            return f"SQLite {self.path}"
        at = self.host if self.host.startswith("/") else f"{self.host}:{self.port}"
        return f"{_PRODUCTS[self.dialect]} {at} database {self.database}"

    def read_password(self) -> str | None:
        """
        The password as it is now; None: there is none.

        Raises:
            SinkMisconfigured: its file cannot be read.
        """
        if self.password is not None:
            return self.password.get_secret_value()
        if self.password_file is None:
            return None
        try:
            with open(os.fspath(self.password_file), encoding="utf-8") as file:
                return file.read().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise SinkMisconfigured(
                f"{self.place}: password file {self.password_file} cannot be read: {reason}",
                "check password_file and its permissions",
                "auth",
            ) from error


def _check_url(url: str) -> None:
    """Raises: ValueError, which repeats nothing of the URL: there may be a password in it."""
    if url.startswith("sqlite:"):
        if not url.removeprefix("sqlite:///").strip("/") or not url.startswith("sqlite:///"):
            raise ValueError("names no file: write sqlite:///FILE")
        if "?" in url or "\0" in url:
            raise ValueError("takes no ?options")
        return
    parts = urlsplit(url)
    if parts.scheme not in _PORTS:
        raise ValueError("begins with sqlite:///, postgresql:// or mysql://")
    if parts.query or parts.fragment:
        # Drivers take passwords, files and commands from there.
        raise ValueError("takes no ?options: use the options of the sink")
    if not parts.hostname:
        raise ValueError("names no host")
    if len(parts.path) < 2 or "/" in parts.path[1:]:
        raise ValueError("ends in the name of one database: postgresql://user@host/database")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("the port is no number from 1 to 65535") from None
    module, package = _MODULES[parts.scheme]
    if importlib.util.find_spec(module) is None:
        raise ValueError(
            f"needs the Python module '{module}', which is not installed (pip install {package})"
        )
