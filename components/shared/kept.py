"""Values that a server keeps under a key for all visitors, within bounds: those unused longest are forgotten.

Knows keys alone; what a value is and when there are too many is said by who keeps it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

Value = TypeVar("Value")


class Kept(OrderedDict[str, Value]):
    """A dictionary for many threads; the order is that of their last use."""

    def __init__(self, *values: Any) -> None:
        super().__init__(*values)
        self._lock = threading.Lock()

    def keep(self, key: str, value: Value, is_full: Callable[[], bool]) -> Value:
        """Keep a value, and forget those unused longest as long as there are too many; the new one stays."""
        with self._lock:
            self[key] = value
            self.move_to_end(key)
            while len(self) > 1 and is_full():
                self.popitem(last=False)
        return value

    def find(self, key: str) -> Value | None:
        """A value by its key; None if it was never kept, or is forgotten."""
        with self._lock:
            if key in self:
                self.move_to_end(key)
            return self.get(key)

    def drop(self, keys: Iterable[str]) -> None:
        """Forget the values under these keys, where they are kept."""
        with self._lock:
            for key in keys:
                self.pop(key, None)
