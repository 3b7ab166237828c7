"""CSV, DataFrame and Parquet have one row a film: the columns, their order and their kinds."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from cxrclient import EnsembleInfo, ModelInfo, Prediction
from cxrclient.cli.output.results import result_writer
from cxrclient.errors import FilmError
from cxrclient.runs import result_columns, result_record, result_row, to_dataframe

MEMBERS = ("resnet50", "vgg16")
PICTURES = {"mask": "masks/a.png", "overlay": "overlays/a.png"}
FAILURE = FilmError("NO_PIXELS", "No image.", status="rejected", path="b.dcm")


@pytest.fixture
def prediction() -> Prediction:
    return Prediction(
        path="a.dcm", film_id="1.2.3", probability=0.75, label="covid",
        members={"vgg16": 0.5, "resnet50": 1.0}, votes=1, lung_fraction=0.25,
        embedding=np.zeros(128, np.float32), flags=("SMALL_FILM", "WINDOW_UNUSABLE"),
        model=ModelInfo("cxr", "0" * 64), latency_ms=12.3,
    )  # fmt: skip


def test_a_row_has_every_column_in_order_and_each_value_is_of_its_kind(prediction):
    columns = result_columns(MEMBERS)
    told = set()
    for record in (result_record(prediction, PICTURES), result_record(FAILURE)):
        row = result_row(record, MEMBERS)
        assert list(row) == list(columns)
        for name, value in row.items():
            assert value is None or type(value) is columns[name], name
            told |= {name} if value is not None else set()
    assert told == set(columns)


def test_a_row_says_all_that_the_line_of_json_says(prediction):
    for result in (prediction, FAILURE):
        record = result_record(result, PICTURES)
        row = result_row(record, MEMBERS)
        nested = {"members": {name: row[name] for name in MEMBERS}}
        nested["model"] = {"name": row["model_name"], "digest": row["model_digest"]}
        assert {name: nested.get(name, row.get(name)) for name in record} == record


def test_a_row_of_a_line_that_was_read_back_is_the_same(prediction):
    record = result_record(prediction, PICTURES)
    assert result_row(json.loads(json.dumps(record)), MEMBERS) == result_row(record, MEMBERS)


def test_the_csv_has_these_columns(prediction):
    info = EnsembleInfo.__new__(EnsembleInfo)
    object.__setattr__(info, "members", MEMBERS)
    stream = io.StringIO(newline="")
    writer = result_writer("csv", stream, info)
    writer.add(prediction, PICTURES)
    writer.add(FAILURE, {})
    writer.close()
    ok, failed = csv.DictReader(io.StringIO(stream.getvalue()))
    assert list(ok) == list(result_columns(MEMBERS))
    assert (ok["resnet50"], ok["flags"], ok["mask"]) == (
        "1.0", "SMALL_FILM WINDOW_UNUSABLE", "masks/a.png",
    )  # fmt: skip
    assert (failed["code"], failed["retriable"], failed["resnet50"]) == ("NO_PIXELS", "False", "")


def test_a_table_of_pandas_has_a_row_a_film_and_those_that_failed_too(prediction):
    other = replace(prediction, path="c.dcm", members={"resnet34": 0.5})
    table = to_dataframe(iter([prediction, FAILURE, other]))
    names = list(result_columns(("vgg16", "resnet50", "resnet34")))
    assert list(table.columns) == [name for name in names if name not in PICTURES]
    assert list(table["path"]) == ["a.dcm", "b.dcm", "c.dcm"]
    assert list(table["status"]) == ["ok", "rejected", "ok"]
    assert list(table["code"].fillna("")) == ["", "NO_PIXELS", ""]
    assert table["probability"].mean() == 0.75
    assert (table["votes"].sum(), str(table["votes"].dtype)) == (2, "Int64")
    assert list(table["resnet34"].isna()) == [True, True, False]
    assert table["flags"][0] == ["SMALL_FILM", "WINDOW_UNUSABLE"]
    assert list(table.query("retriable == False")["path"]) == ["b.dcm"]


def test_a_table_has_embeddings_where_they_are_asked_for(prediction):
    table = to_dataframe([FAILURE, prediction], embedding=True)
    assert np.stack(table["embedding"].dropna()).shape == (1, 128)
    assert "embedding" not in to_dataframe([prediction])


def test_a_table_of_nothing_has_its_columns():
    assert len(to_dataframe([])) == 0
    assert list(to_dataframe([])) == [name for name in result_columns(()) if name not in PICTURES]


def test_a_record_has_the_embedding_where_it_is_asked_for(prediction):
    numbers = np.random.default_rng(1).normal(size=128).astype(np.float32)
    record = replace(prediction, embedding=numbers).record(embedding=True)
    again = np.array(json.loads(json.dumps(record))["embedding"], np.float32)
    np.testing.assert_array_equal(again, numbers)
    assert "embedding" not in prediction.record()


def test_a_film_that_failed_has_a_record_as_the_lines_of_json_have_it():
    assert FAILURE.record() == result_record(FAILURE) == {
        "path": "b.dcm", "status": "rejected", "code": "NO_PIXELS", "message": "No image.",
        "retriable": False,
    }  # fmt: skip
