"""A filter in Milvus's language can only narrow an answer."""

from __future__ import annotations

import contextlib
import operator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from cxrclient.archive.index import SimilarityIndex
from cxrclient.archive.milvus import lite
from cxrclient.archive.milvus.layout import FORMAT_1, FORMAT_2
from cxrclient.archive.milvus.raw_filter import comparisons, parenthesised, texts_asked
from cxrclient.archive.selection import films_matching, ids_matching
from cxrclient.errors import ArchiveInput


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
        ("ARRAY_LENGTH(tags) == 2", '(array_length ( metadata["tags"] ) == 2)'),
        ("json_contains_any(a, [1, 'x'])", '(json_contains_any ( metadata["a"] , [1 , "x"] ))'),
        ("metadata['array_length'] > 1", '(metadata["array_length"] > 1)'),
        ("3 < age <= 5", '(metadata["age"] > 3 and metadata["age"] <= 5)'),
        ("-3 == age or (3) != (age)", '(metadata["age"] == - 3 or ( metadata["age"] ) != ( 3 ))'),
        ("1 > metadata['a'][0] >= 2", '(metadata["a"][0] < 1 and metadata["a"][0] >= 2)'),
        ("a[0]['b'] in [1]", '(metadata["a"][0]["b"] in [1])'),
        ("4 == age + 1", '(metadata["age"] + 1 == 4)'),
        (
            "'a' != a && 2 < array_length(b)",
            '(metadata["a"] != "a" && array_length ( metadata["b"] ) > 2)',
        ),
        ("(age - 1) * 12 % 2 == 1", '(( metadata["age"] - 1 ) * 12 % 2 == 1)'),
    ],
)
def test_it_is_written_anew(written: str, read: str) -> None:
    assert parenthesised(written, FORMAT_1) == read


AGE_IS_KNOWN = "age > -1000000000000000.0"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("age < 40", f"((age < 40.0) and {AGE_IS_KNOWN})"),
        ("metadata['age'] != 40", "((age != 40.0) or age <= -1000000000000000.0)"),
        ("3 < age <= 5", f"((age > 3.0) and {AGE_IS_KNOWN}) and ((age <= 5.0) and {AGE_IS_KNOWN})"),
        ("40 == age", f"((age == 40.0) and {AGE_IS_KNOWN})"),
        ("'PA' != view", '((view != "PA") or view == "")'),
        ("view like 'P%'", '((view like "P%") and view != "")'),
        ("view not in ['AP']", '((view not in ["AP" ]) or view == "")'),
        ("exists age", f'({AGE_IS_KNOWN} or exists metadata["age"])'),
        ("not exists view", 'not (view != "" or exists metadata["view"])'),
        ("probability < 0.5", "((probability < 0.5) and probability > -1.0)"),
        ("age > days", f"((age > days) and {AGE_IS_KNOWN} and days > -1000000000000000.0)"),
        # What the field cannot hold lies in the JSON field.
        ("age == '40'", 'metadata["age"] == "40"'),
        ("view == true", 'metadata["view"] == true'),
        ("array_length(age) > 1", 'array_length ( metadata["age"] ) > 1'),
        ("metadata['age'][0] > 1", 'metadata["age"][0] > 1'),
        ("severity > 1", 'metadata["severity"] > 1'),
        ("label != 'x'", 'label != "x"'),
    ],
)
def test_a_column_with_a_field_is_asked_there_and_only_where_it_is_known(
    written: str, read: str
) -> None:
    assert parenthesised(written, FORMAT_2) == f"({read})"


@pytest.mark.parametrize(
    ("written", "said", "condition", "numbers"),
    [
        ("a == 'x' or age > 60", "age > 60", "age > 60", [60]),
        ("metadata['ICU days'] <= -3", "ICU days <= -3", 'metadata [ "ICU days" ] <= - 3', [-3]),
        ("3 < age <= 5e1", "age for which 3 < age <= 5e1", "3 < age <= 5e1", [3, 50]),
        ("not (b == 'x' or not (age > 60))", "age > 60", "age > 60", [60]),
        ("!(age > 60)", "age for which not (age > 60)", "not ( age > 60 )", [60]),
        ("(age - 1) * 12 > 720", "age for which (age - 1) * 12 > 720", None, []),
        ("-age < 1", "age for which - age < 1", "- age < 1", []),
        ("ward like 'we%'", "ward like 'we%'", "ward like 'we%'", []),
    ],
)
def test_a_comparison_is_read_whatever_stands_around_it(
    written: str, said: str, condition: str | None, numbers: list[float]
) -> None:
    (found,) = comparisons(written.replace("'ICU days'", '"ICU days"'))
    assert (str(found), found.numbers) == (said, numbers)
    assert found.condition == (condition or written.replace("(", "( ").replace(")", " )"))
    parenthesised(found.condition, FORMAT_2)


def test_of_a_list_each_number_is_a_comparison_and_texts_are_none_of_theirs() -> None:
    written = "age in [-1, 2] and b not in ['x', 'y'] and 'z' != c and exists d and a > b"
    assert [str(each) for each in comparisons(written)] == ["age == -1", "age == 2"]
    assert texts_asked(written) == [("b", "x"), ("b", "y"), ("c", "z")]
    assert comparisons("age in []") == []
    assert comparisons("age not in [3]")[0].condition == "age not in [ 3 ]"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ('label == "x") or (label != "x"', "no opening one"),
        ("label == 'x'] or [1", "no opening one"),
        ("(label == 'x'", "is not closed"),
        ("(id in ['x')]", "no opening one"),
        ("label == 'x", "Put text in"),
        ('label == "x\\"', "Put text in"),
        ("label == 'x' -- y'", "Put text in"),
        ("label == 'x'; drop", "cannot be read"),
        ("label = 'x'", "write == for equal"),
        ("label == 'a\\nb'", "only quotes"),
        ("label == 'a\nb'", "control characters"),
        ("age > 3days", "cannot be read"),
        ("x" * 9000, "8192"),
        ("label == 'covid' or 1 == 1", "does not depend on the film"),
        ("'a' != 'b'", "does not depend on the film"),
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
        # Each of these ended Milvus Lite 2.5.1 (SIGSEGV, SIGFPE), for the life of the process.
        ("age > array_length", "array_length, which is a function"),
        ("array_length", "array_length, which is a function"),
        ("array_length() > 1", r"cannot be read at '\( \)'"),
        ("ARRAY_LENGTH('a') > 1", "cannot be read at \"\\( 'a'"),
        ("array_length(1) > 1", r"cannot be read at '\( 1'"),
        ("json_contains > 1", "json_contains, which is a function"),
        ("json_contains(tags)", "takes a column and a value"),
        ("Array_Contains", "array_contains, which is a function"),
        ("3 in [3]", "does not depend on the film"),
        ("'a' in ['a']", "does not depend on the film"),
        ("array_length(tags) in [1]", "nothing computed"),
        ("label like label", "like without a text"),
        ("1 / 0 == probability", "not followed by a number other than 0"),
        ("1 % 0 == probability", "not followed by a number other than 0"),
        ("probability > 1 / 0", "not followed by a number other than 0"),
        ("probability > 1 / 1e-999", "not followed by a number other than 0"),
        ("age > -9223372036854775808 / -1", "not followed by a number other than 0"),
        ("age > 1 / (1 - 1)", "not followed by a number other than 0"),
        # Milvus's parser calls itself for each of these.
        ("(" * 999 + "age > 1" + ")" * 999, "more than 32 things"),
        ("age > " + "-" * 999 + "1", "more than 32 things"),
        ("not (" * 999 + "age > 1" + ")" * 999, "more than 32 things"),
        ("json_contains(a, " + "[" * 999 + "]" * 999 + ")", "more than 32 things"),
        # And these are no conditions.
        ("age", "ends with 'age'"),
        ("age > 1 and true", "ends with 'true'"),
        ("not age > 1", "cannot be read at 'age >'"),
        ("(age > 1) == true", r"cannot be read at '\) =='"),
        ("exists 1", "cannot be read at 'exists 1'"),
        ("label in 3", "cannot be read at 'in 3'"),
        ("label in [label]", r"cannot be read at '\[ label'"),
        ("age is null", "cannot be read at 'age is'"),
        ("text_match(label, 'a')", r"cannot be read at 'text_match \('"),
        ("age > 60 + 5", "between a column and a number"),
        ("age > 1 < 3", "cannot be read at '1 <'"),
        ("metadata['age' > 1]", "cannot be read at"),
        ("days % 2 == 1", "not always whole"),
    ],
)
def test_what_is_not_whole_is_refused(written: str, message: str) -> None:
    with pytest.raises(ArchiveInput, match=message):
        parenthesised(written, FORMAT_2)


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


GRAMMAR = st.sampled_from(
    ["age", "label", "id", "probability", "metadata", "array_length", "ARRAY_LENGTH",
     "json_contains", "json_contains_any", "JSON_CONTAINS_ALL", "array_contains",
     "array_contains_any", "exists", "like", "in", "not", "and", "or", "true", "false", "is",
     "null", "text_match", "phrase_match", "random_sample", "(", "(", ")", ")", "[", "]", ",",
     "==", "!=", "<", ">", "<=", ">=", "+", "-", "*", "/", "%", "0", "1", "1.5", '"a"', '""',
     '"%"', "!", "&&", "||"]
)  # fmt: skip
PARTS = st.one_of(
    GRAMMAR,
    st.sampled_from(
        ["age > 1", "label == 'a'", "array_length(age)", "json_contains(age, 1)", "[1, 2]",
         "label like 'a%'", "age in [1]", "(age)", "1 / 0", 'metadata["age"]["x"]']
    ),
)  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(parts=st.lists(PARTS, min_size=1, max_size=9))
def test_no_filter_of_the_grammars_words_ends_milvus_lite(
    archive: SimilarityIndex, parts: list[str]
) -> None:
    """A long search (16,000 filters that were let through) found none more."""
    with contextlib.suppress(ArchiveInput):
        archive.search(np.zeros(128, np.float32), 50, where=" ".join(parts))
    process = lite.serving(Path(archive.uri).resolve())
    assert process is not None
    assert process.poll() is None


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


SIGNS = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt,
    "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
KNOWN = {
    f"1.{n}": {"age": age, "sex": sex, "label": label, "probability": age / 100, "score": age % 5,
               "treatment": label * 2, "dose mg": age / 2}
    for n, (age, sex, label) in enumerate(
        zip([77, 88, 77, 40, 77, 57, 58], "FMFMFMF", "abcabca", strict=True)
    )
}  # fmt: skip


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """An archive in which all that is asked for is known of each film."""
    with SimilarityIndex(tmp_path_factory.mktemp("known") / "cxr.db", model_digest="a" * 64) as i:
        i.add(list(KNOWN), np.eye(len(KNOWN), 128, dtype=np.float32), list(KNOWN.values()))
        yield i


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("name", ["id", *KNOWN["1.0"]])
def test_a_value_before_its_column_asks_what_it_says(known, name: str, sign: str) -> None:
    """Milvus Lite 2.5.1 itself takes such a == for !=, and != for ==."""
    rows = {film: {"id": film, **row} for film, row in KNOWN.items()}
    value = rows["1.2"][name]
    where = f"{value!r} {sign} metadata['{name}']" if " " in name else f"{value!r} {sign} {name}"
    wanted = [film for film, row in rows.items() if SIGNS[sign](value, row[name])]
    assert ids_matching(known, where) == wanted  # what is removed
    assert [film.id for film in films_matching(known, where=where)] == wanted
    found = known.search(np.zeros(128, np.float32), 50, where=where)
    assert sorted(n.id for n in found) == wanted


@pytest.mark.parametrize("name", ["age", "score", "treatment", "label", "id"])
def test_a_chain_asks_for_what_is_between(known, name: str) -> None:
    rows = {film: {"id": film, **row} for film, row in KNOWN.items()}
    low, *_, high = sorted(row[name] for row in rows.values())
    wanted = [film for film, row in rows.items() if low < row[name] <= high]
    assert ids_matching(known, f"{low!r} < {name} <= {high!r}") == wanted
    assert ids_matching(known, f"{high!r} >= {name} > {low!r}") == wanted
