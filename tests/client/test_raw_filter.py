"""A filter in Milvus's language can only narrow an answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrclient._archive_rows import FIELDS
from cxrclient._raw_filter import parenthesised
from cxrclient.errors import ArchiveInput
from cxrclient.index import SimilarityIndex


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("label == 'covid'", '(label == "covid")'),
        ("treatment=='oxygen'", '(metadata["treatment"] == "oxygen")'),
        ("metadata['ICU days'] >= 3", '(metadata["ICU days"] >= 3)'),
        ('metadata["a"]["b"] == -1.5e3', '(metadata["a"]["b"] == - 1.5e3)'),
        ("id in ['1.2', '1.3']", '(id in ["1.2" , "1.3"])'),
        ("NOT (age > 60 AND Age < 70)", '(not ( metadata["age"] > 60 and metadata["Age"] < 70 ))'),
        ("label == 'it\\'s \"x\"'", '(label == "it\'s \\"x\\"")'),
        ("json_contains(tags, 'x')", '(json_contains ( metadata["tags"] , "x" ))'),
        ("größe > 1", '(metadata["größe"] > 1)'),
        ("id not in [] and -age < +1", '(id not in [] and - metadata["age"] < + 1)'),
        ("not exists a and !(b == 1)", '(not exists metadata["a"] and ! ( metadata["b"] == 1 ))'),
        ("a == true || b != 'and'", '(metadata["a"] == true || metadata["b"] != "and")'),
    ],
)
def test_it_is_written_anew(written: str, read: str) -> None:
    assert parenthesised(written, FIELDS) == read


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ('label == "x") or (label != "x"', "nothing opened"),
        ("label == 'x'] or [1", "nothing opened"),
        ("(label == 'x'", "nothing closes"),
        ("(id in ['x')]", "nothing opened"),
        ("label == 'x", "Text stands in"),
        ('label == "x\\"', "Text stands in"),
        ("label == 'x' -- y'", "Text stands in"),
        ("label == 'x'; drop", "cannot be read"),
        ("label = 'x'", "equal is =="),
        ("label == 'a\\nb'", "only quotes"),
        ("label == 'a\nb'", "control characters"),
        ("age > 3days", "cannot be read"),
        ("x" * 9000, "8192"),
        ("label == 'covid' or 1 == 1", "asks nothing of a film"),
        ("'a' != 'b'", "asks nothing of a film"),
        ("label like 3", "like without a text"),  # ends Milvus Lite
        ("label like", "like without a text"),
        ("age == 1 age > 1", "cannot be read at '1 age'"),
        ("label == 'a' 'b'", "cannot be read at"),
        ("label == label label", "cannot be read at 'label label'"),
        ("label (age)", r"cannot be read at 'label \('"),
        ("(age > 1)(age < 3)", r"cannot be read at '\) \('"),
        ("age > 1, age < 3", "cannot be read at '1 ,'"),
        ("and age > 1", "cannot be read at 'and'"),
        ("age > > 1", "cannot be read at '> >'"),
        ("age not 1", "cannot be read at 'age not'"),
        ("()", r"cannot be read at '\( \)'"),
        ("age >", "ends with '>'"),
    ],
)
def test_what_is_not_whole_is_refused(written: str, message: str) -> None:
    with pytest.raises(ArchiveInput, match=message):
        parenthesised(written, FIELDS)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    uri: Path = tmp_path_factory.mktemp("raw") / "cxr.db"
    with SimilarityIndex(uri, model_digest="a" * 64) as index:
        vectors = np.eye(6, 128, dtype=np.float32)
        rows = [{"label": "ab"[n % 2], "secret": n < 3, "age": n} for n in range(6)]
        index.add([f"1.{n}" for n in range(6)], vectors, rows)
        yield index


words = st.sampled_from(
    ["label", "secret", "age", "id", "==", "!=", ">", "or", "and", "not", "in", "(", ")", "[", "]",
     '"a"', "'b'", '"', "'", "\\", "true", "1", "0", ",", "1==1", "||", '") or (', "metadata"]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(parts=st.lists(words, max_size=9), glue=st.sampled_from(["", " "]))
def test_no_filter_finds_a_film_that_another_condition_keeps_out(
    archive: SimilarityIndex, parts: list[str], glue: str
) -> None:
    query = np.zeros(128, np.float32)
    try:
        found = archive.search(query, 50, where=glue.join(parts), secret=False, exclude=["1.5"])
    except ArchiveInput:
        return
    assert {n.id for n in found} <= {"1.3", "1.4"}


@pytest.mark.parametrize(
    "where", ["age == 1 age > 1", "label == 'b' 'b'", "label == label label label"]
)
def test_what_milvus_reads_the_beginning_of_finds_nothing(
    archive: SimilarityIndex, where: str
) -> None:
    with pytest.raises(ArchiveInput, match="cannot be read at"):
        archive.search(np.zeros(128, np.float32), 50, where=where, secret=False)


def test_columns_need_no_word_of_milvus(archive: SimilarityIndex) -> None:
    found = archive.search(
        np.zeros(128, np.float32), where="age >= 2 and (label == 'a' or age > 4)"
    )
    assert sorted(n.id for n in found) == ["1.2", "1.4", "1.5"]
