"""Values that break a careless reader of answers: not a number, and JSON nested too deep."""

from __future__ import annotations

NAN = float("nan")
DEEP = b"[" * 5000 + b"]" * 5000
