"""Plain data as YAML. Events go to PyYAML's emitter directly: its nodes take twice as long."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import yaml
from yaml.events import (
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)
from yaml.representer import SafeRepresenter
from yaml.resolver import Resolver

# libyaml is ten times faster; what PyYAML lacks (duplicate keys, YAML 1.2) concerns reading.
_EMITTER: Final = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_STRING: Final = "tag:yaml.org,2002:str"
_REPRESENTER: Final = SafeRepresenter()
_RESOLVER: Final = Resolver()


def yaml_text(value: object) -> str:
    """Return mappings, lists, strings, numbers, truth values and None as YAML, in their order.

    The text is what ``yaml.safe_dump`` writes, but for anchors: every value stands where it is.
    """
    events: list[Event] = [StreamStartEvent(), DocumentStartEvent(explicit=False)]
    _add(value, events)
    events += DocumentEndEvent(explicit=False), StreamEndEvent()
    text: str = yaml.emit(events, Dumper=_EMITTER, allow_unicode=True)
    return text


def _add(value: object, events: list[Event]) -> None:
    if isinstance(value, dict):
        events.append(MappingStartEvent(None, None, True, flow_style=False))
        for key, item in value.items():
            events.append(_string(key))
            _add(item, events)
        events.append(MappingEndEvent())
    elif isinstance(value, list):
        events.append(SequenceStartEvent(None, None, True, flow_style=False))
        for item in value:
            _add(item, events)
        events.append(SequenceEndEvent())
    elif isinstance(value, str):
        events.append(_string(value))
    else:
        text = _REPRESENTER.represent_data(value).value
        events.append(ScalarEvent(None, None, (True, False), text))


@lru_cache(maxsize=4096)
def _string(text: str) -> Event:
    """Return a string, in quotes where it would be read as something else without."""
    tag = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    return ScalarEvent(None, None, (tag == _STRING, True), text)
