"""
The configuration.

    file.py          a YAML file -> its values, each with its line
    environment.py   ${VAR} in scalar values
    model.py         the frozen tree of values, with every default
    rules.py         what no single field can see: names that must be unique, roots inside roots …
    problems.py      what is wrong, in words for people
    schema.py        the JSON Schema
"""

from inotify_bridge.config.file import Inspection, inspect, load
from inotify_bridge.config.model import (
    Capture,
    Config,
    Events,
    Http,
    Log,
    Ready,
    RootPath,
    SinkEntry,
    State,
    WatchGroup,
)
from inotify_bridge.config.problems import ConfigErrors, Problem
from inotify_bridge.config.schema import json_schema

__all__ = [
    "Capture",
    "Config",
    "ConfigErrors",
    "Events",
    "Http",
    "Inspection",
    "Log",
    "Problem",
    "Ready",
    "RootPath",
    "SinkEntry",
    "State",
    "WatchGroup",
    "inspect",
    "json_schema",
    "load",
]
