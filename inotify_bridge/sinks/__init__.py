"""Sinks: the places that take a group's messages. `base` is the contract, every other module one sink."""

from inotify_bridge.sinks.base import ACCEPTED, Message, Outcome, Sink, SinkContext, Verdict, Vigilant

__all__ = ["ACCEPTED", "Message", "Outcome", "Sink", "SinkContext", "Verdict", "Vigilant"]
