"""Answers of the real server, changed on their way."""

from __future__ import annotations

NAN = float("nan")

DEEP = b"[" * 5000 + b"]" * 5000


def parameter(name, value):
    def change(message):
        message.config.parameters[name].string_value = value
        return message

    return change
