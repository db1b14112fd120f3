"""
The configuration as one frozen tree, with every default that there is.

Seconds and bytes everywhere; paths are raw bytes, absolute. A field sees itself alone here: what takes two
fields to see stands in `rules`.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import string
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    SecretStr,
    SerializeAsAny,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from inotify_bridge.capture.change import Kind
from inotify_bridge.config import rules
from inotify_bridge.config.lines import Lines
from inotify_bridge.config.section import Pattern, Section
from inotify_bridge.errors import ConfigError
from inotify_bridge.log import Format, Level
from inotify_bridge.sinks.registry import sink_class, sink_types
from inotify_bridge.units import Bytes, Seconds

REPLICABLE_KINDS: Final = frozenset(("created", "written", "moved", "deleted"))
"""Without one of them a consumer cannot hold the tree."""

_DURABLE_BYTES: Final = 1024**3
_MEMORY_BYTES: Final = 64 * 1024**2
_URI_CHARACTERS: Final = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")
_LISTEN: Final = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:\[\]]*):(?P<port>[0-9]{1,5})")
_PLACEHOLDERS: Final = {"host", "group"}
_SOCKET_PATH_BYTES: Final = 107  # sun_path of unix(7) has 108, one of them ends it


def _absolute(value: Any) -> bytes:
    """A path as raw bytes, from the current directory; ``..`` stays, which a symbolic link may precede."""
    if not isinstance(value, str | bytes) or not value:
        raise ValueError("is no path")
    path = os.fsencode(value)
    if b"\0" in path:
        raise ValueError("is no path: it holds a NUL")
    try:
        whole = path if path.startswith(b"/") else os.path.join(os.getcwdb(), path)
    except FileNotFoundError:
        raise ValueError("is relative, and the current directory has been deleted") from None
    return b"/" + b"/".join(part for part in whole.split(b"/") if part not in (b"", b"."))


def _root_name(value: Any) -> bytes | None:
    if value is None:
        return None
    name = os.fsencode(value) if isinstance(value, str | bytes) else b""
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        raise ValueError("must be a name, without a slash")
    return name


def _source(value: str) -> str:
    try:
        fields = [part[1:] for part in string.Formatter().parse(value) if part[1] is not None]
    except ValueError:
        raise ValueError("has a brace without its partner") from None
    if any(name not in _PLACEHOLDERS or spec or conversion for name, spec, conversion in fields):
        raise ValueError("may hold the placeholders {host} and {group} only")
    if not _URI_CHARACTERS.fullmatch(value.format(host="h", group="g")):
        raise ValueError("is no URI")
    return value


def _listen(value: str) -> str:
    found = _LISTEN.fullmatch(value)
    if not found or int(found["port"]) > 65535:
        raise PydanticCustomError(
            "listen",
            "is no address and port",
            {"suggestion": "write 127.0.0.1:10477, 0.0.0.0:10477 or [::1]:10477"},
        )
    return value


def _socket_path(value: str) -> str:
    if not 0 < len(os.fsencode(value)) <= _SOCKET_PATH_BYTES or "\0" in value:
        raise PydanticCustomError(
            "socket_path",
            "is no path that a socket can have",
            {"suggestion": f"at most {_SOCKET_PATH_BYTES} bytes, for example /run/inotify-bridge/admin.sock"},
        )
    return value


_TEXT_PATH: Final = WithJsonSchema({"type": "string", "minLength": 1})
AbsolutePath = Annotated[bytes, BeforeValidator(_absolute), _TEXT_PATH]
RootName = Annotated[bytes, BeforeValidator(_root_name), _TEXT_PATH]
GroupName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,40}$")]
SinkName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,40}$")]


class RootPath(Section):
    """One root of a group. In YAML a plain string is the path."""

    path: AbsolutePath
    """A directory or a file; relative paths start at the current directory."""
    name: RootName | None = Field(default=None, validation_alias="as")
    """What stands before the paths of this root in events."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str | bytes) else value


class Ready(Section):
    """When a file counts as ready."""

    settle: Seconds = 2.0
    """Seconds without a change."""


class WatchGroup(Section):
    """One inotify instance with its roots, its outbox and one totally ordered stream."""

    name: GroupName
    """Name of the group: lower-case letters, digits and hyphens."""
    paths: Annotated[tuple[RootPath, ...], Field(min_length=1)]
    """Directories or files to watch; `{path: …, as: …}` names a root."""
    recursive: bool = True
    """Watch the directories below as well."""
    one_file_system: bool = False
    """Do not descend into other mounts."""
    heartbeat: Seconds = 0.0
    """Publish `stream.heartbeat` so often; 0: never."""
    include: tuple[Pattern, ...] = ()
    """gitignore patterns; applies to files, directories are always followed."""
    exclude: tuple[Pattern, ...] = ()
    """gitignore patterns; an excluded directory gets no watch."""
    kinds: Annotated[frozenset[Kind], Field(min_length=1)] = frozenset(
        ("created", "written", "attributes_changed", "moved", "deleted")
    )
    """Kinds of events to publish."""
    snapshot: Literal["initial", "never"] = "initial"
    """Whether a new epoch begins with everything that is there."""
    ready: Ready = Ready()
    """For the kind `ready`."""
    poll_interval: Annotated[Seconds, Field(gt=0)] = 10.0
    """How often directories are looked at that inotify cannot cover."""
    resync_interval: Seconds = 3600.0
    """How often the stream is audited against the disk; 0: never."""
    lines: Lines | None = None
    """Follow log files: what is written into them becomes `log.entry` events."""
    sinks: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names of the sinks that get the stream."""

    @property
    def roots(self) -> tuple[RootPath, ...]:
        """The paths with their names: of several, one without `as` has the last part of its path."""
        if len(self.paths) == 1:
            return self.paths
        return tuple(
            root
            if root.name is not None
            else RootPath(path=root.path, name=os.path.basename(root.path) or b"root")
            for root in self.paths
        )


class SinkEntry(Section):
    """
    A named sink: a template from which every group gets a connection of its own.

    In YAML the options stand beside ``name`` and ``type``.
    """

    name: SinkName
    """Name by which groups refer to it."""
    type: str
    """What it is; `inotify-bridge sinks` lists the types."""
    options: SerializeAsAny[BaseModel]
    """The options of this type, an instance of the sink class's `Options`."""

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, value: Any) -> Any:
        if not isinstance(value, dict) or isinstance(value.get("options"), BaseModel):
            return value
        own = {key: value[key] for key in ("name", "type") if key in value}
        return {**own, "options": {key: value[key] for key in value if key not in own}}

    @field_validator("type")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            sink_class(value)
        except ConfigError as error:
            reason = error.message.removeprefix(f"sink type '{value}' ")
            if value not in sink_types():
                reason = "is no known type of sink"
            raise PydanticCustomError(
                "sink_type", "{reason}", {"reason": reason, "suggestion": error.hint}
            ) from None
        return value

    @field_validator("options", mode="before")
    @classmethod
    def _by_type(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, BaseModel):
            return value
        if "type" not in info.data:
            return Section()  # the type is refused already, so nothing can be said about its options
        return sink_class(info.data["type"]).Options.model_validate(value)


class Capture(Section):
    """Reading the kernel's events."""

    queue_max_bytes: Annotated[Bytes, Field(ge=64 * 1024)] = 64 * 1024**2
    """Memory of the kernel's records that wait for the recorder, for each group."""


class State(Section):
    """Where the outbox lives, for each group."""

    dir: AbsolutePath | None = None
    """State directory; none: in memory, each start is a new epoch."""
    max_bytes: Annotated[Bytes, Field(ge=1024**2)] = _MEMORY_BYTES
    """Bound of the journal; by default 1GiB with a state directory, 64MiB in memory."""
    retain: Seconds = 0.0
    """How long acknowledged messages are kept for a replay."""

    @model_validator(mode="before")
    @classmethod
    def _default_bound(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("dir") is not None:
            return {"max_bytes": _DURABLE_BYTES, **value}
        return value


class Events(Section):
    """The envelope of the events."""

    type_prefix: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,99}$")] = (
        "io.inotify-bridge"
    )
    """What every CloudEvents `type` begins with."""
    host: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._~%-]{0,255}$")] = ""
    """The host in `source`; empty: the machine's name."""
    source: Annotated[str, AfterValidator(_source)] = "inotify://{host}/{group}"
    """Template of the CloudEvents `source`, with {host} and {group}."""
    content_mode: Literal["structured", "binary"] = "structured"
    """How an event lies in a message."""
    partition_by: Literal["group", "path", "directory"] = "group"
    """What the partition key is made of; only `group` keeps the whole order."""

    def source_of(self, group: str) -> str:
        """The CloudEvents source of a group's stream."""
        return self.source.format(host=self.host or socket.gethostname(), group=group)


class Http(Section):
    """Metrics, probes and status."""

    listen: Annotated[str, AfterValidator(_listen)] = "127.0.0.1:10477"
    """Address and port, `:PORT` for all addresses; port 0 takes any free one and logs it."""
    admin_token: SecretStr | None = None
    """Bearer token of operator signals, and of page and API for other hosts; better: admin_token_file."""
    admin_token_file: str | None = None
    """File with the token."""
    admin_socket: Annotated[str, AfterValidator(_socket_path)] | None = None
    """Unix socket that answers the agent's own user without a token."""

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if self.admin_token is not None and self.admin_token_file is not None:
            raise ValueError("admin_token and admin_token_file cannot both be set")
        return self

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to bind."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        host = self.address[0]
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


class Log(Section):
    """The log on stderr."""

    level: Level = "info"
    """The least serious level that is written."""
    format: Format = "auto"
    """`auto`: console on a terminal, else json."""


class Config(Section):
    """The whole configuration. Raises pydantic's ValidationError; `load` reads a file and says more."""

    watch_groups: Annotated[tuple[WatchGroup, ...], Field(min_length=1)]
    """What to watch."""
    sinks: Annotated[tuple[SinkEntry, ...], Field(min_length=1)]
    """Where to send it."""
    capture: Capture = Capture()
    state: State = State()
    events: Events = Events()
    http: Http = Http()
    log: Log = Log()
    shutdown_timeout: Seconds = 30.0
    """Longest drain at a stop."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        found = [
            f"{reason} ({suggestion})" for _, reason, suggestion in rules.violations(rules.Parts.of(self))
        ]
        if found:
            raise ValueError("; ".join(found))
        return self

    def group(self, name: str) -> WatchGroup:
        """The watch group of this name. Raises: KeyError."""
        for group in self.watch_groups:
            if group.name == name:
                return group
        raise KeyError(name)

    def sink(self, name: str) -> SinkEntry:
        """The sink entry of this name. Raises: KeyError."""
        for entry in self.sinks:
            if entry.name == name:
                return entry
        raise KeyError(name)

    def obstacles(self, group: WatchGroup) -> tuple[str, ...]:
        """Why a consumer cannot hold the group's tree; empty: the stream is replicable."""
        missing = sorted(REPLICABLE_KINDS - group.kinds)
        reasons = (
            f"kinds lacks {', '.join(missing)}" if missing else "",
            "snapshot is never" if group.snapshot == "never" else "",
            f"partition_by is {self.events.partition_by}" if self.events.partition_by != "group" else "",
        )
        return tuple(filter(None, reasons))

    def replicable(self, group: WatchGroup) -> bool:
        """Whether convergence is promised and a digest published; if not, it is a notification stream."""
        return not self.obstacles(group)
