"""Options of several networks: ``NAME=VALUE`` for one, ``VALUE`` for all."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from legodnn.shared.errors import UsageError


def bundle_names(arguments: Sequence[str]) -> List[Tuple[str, str]]:
    """The name and path of every bundle: from ``NAME=FILE``, or a path whose stem is the name.

    Raises `UsageError` for a name given twice.
    """
    named = [_bundle(argument) for argument in arguments]
    for name, count in Counter(name for name, _ in named).items():
        if count > 1:
            path = next(path for other, path in named if other == name)
            raise UsageError(f"{count} networks are called {name}; give them names: one={path} two={path}")
    return named


def _bundle(argument: str) -> Tuple[str, str]:
    name, equals, path = argument.partition("=")
    if not equals or not name or _has_separator(name) or os.path.exists(argument):
        return Path(argument).stem, argument
    return name, path


class Values:
    """The values of an option for each network.

    With a single network, the last text is its value as it is. Raises `UsageError` for unknown names, and for two
    values of one network.
    """

    def __init__(self, option: str, texts: Optional[Sequence[str]], names: Sequence[str]) -> None:
        self.own: Dict[str, str] = {}
        self.common: Optional[str] = None
        if texts and len(names) == 1:
            self.own[names[0]] = texts[-1]
            return
        for text in texts or ():
            name, value = _split(option, text, names)
            if name is not None and name in self.own:
                raise UsageError(f"{option} {text}: {name} has {option} {name}={self.own[name]} already")
            if name is not None:
                self.own[name] = value
            elif self.common is not None:
                raise UsageError(f"{option} {text}: all networks have {option} {self.common} already; say NAME={text}")
            else:
                self.common = value

    def of(self, name: str) -> Optional[str]:
        """A network's own value, or else the common one; None for neither."""
        return self.own.get(name, self.common)


def _split(option: str, text: str, names: Sequence[str]) -> Tuple[Optional[str], str]:
    # Names may contain an equals sign, and one may be a prefix of another.
    for name in sorted(names, key=len, reverse=True):
        if text.startswith(f"{name}="):
            return name, text[len(name) + 1 :]
    name, equals, _ = text.partition("=")
    if equals and not _has_separator(name):
        raise UsageError(f"{option} {text}: no network is called {name}, only {', '.join(names)}")
    return None, text


def _has_separator(text: str) -> bool:
    return os.sep in text or (os.altsep is not None and os.altsep in text)
