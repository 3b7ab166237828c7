"""What the tests of `cxrclient index` and `similar` share."""

from __future__ import annotations

import json

from click.testing import Result

PATIENT = "PATIENT-4711"
ALL = ("--same-patient", "--all-films")  # every film but the query


def neighbours(result: Result) -> list[dict[str, object]]:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["neighbours"]
