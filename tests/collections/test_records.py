from __future__ import annotations

import contextlib
import datetime
import gzip
import json
import math
import random

import lance
import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isometry.collections import csv_files, json_files, records
from isometry.collections.records import ReadReport, read
from isometry.errors import BadRecord, InvalidInput, NotFound, SchemaMismatch

DAY, NOON = datetime.date(2020, 1, 1), datetime.datetime(2020, 1, 1, 12)
DOCUMENTS = [
    {"id": "a", "title": "A", "text": "one", "year": 2019, "score": 1.5, "open": True, "tags": ["x", None]},
    {"id": "b", "title": "B", "text": 'two\nlines, "quoted"', "year": None, "score": 2.0, "open": None, "tags": []},
    {"id": "c", "title": None, "text": "\U0001f600", "year": 2021, "score": None, "open": False, "tags": None},
]


def rows(source, **options):
    return [row for table in read(source, **options) for row in table.to_pylist()]


def write(folder, name, data):
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def lines(documents):
    return "".join(json.dumps(document) + "\n" for document in documents)


# --- every kind of source gives the same rows ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["d.jsonl", "d.ndjson", "d.jsonl.gz", "d.json", "d.json.gz", "array.json", "D.JSONL"])
def test_json_files(tmp_path, name):
    text = json.dumps(DOCUMENTS, indent=1) if name == "array.json" else lines(DOCUMENTS)
    data = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
    assert rows(write(tmp_path, name, data)) == DOCUMENTS
    assert rows(str(write(tmp_path, name, data)), batch_rows=1) == DOCUMENTS


def test_one_printed_object_is_one_record(tmp_path):
    assert rows(write(tmp_path, "d.json", json.dumps(DOCUMENTS[0], indent=2))) == DOCUMENTS[:1]


def arrow():
    return pa.Table.from_pylist(DOCUMENTS)


def pandas_frame():
    return pytest.importorskip("pandas").DataFrame(DOCUMENTS)


def polars_frame():
    return pytest.importorskip("polars").DataFrame(DOCUMENTS)


@pytest.mark.parametrize(
    "make",
    [
        arrow,
        pandas_frame,
        polars_frame,
        lambda: DOCUMENTS,
        lambda: tuple(DOCUMENTS),
        lambda: iter(DOCUMENTS),
        lambda: arrow().to_batches()[0],
        lambda: arrow().to_reader(),
        lambda: arrow().to_batches(max_chunksize=1),
        lambda: iter([arrow().slice(0, 1), arrow().slice(1)]),
        lambda: lance.write_dataset(arrow(), "memory://"),
        lambda: __import__("pyarrow.dataset").dataset.dataset(arrow()),
    ],
)
@pytest.mark.parametrize("batch_rows", [1, 2, 1024])
def test_objects(make, batch_rows):
    tables = list(read(make(), batch_rows=batch_rows))
    assert [row for table in tables for row in table.to_pylist()] == DOCUMENTS
    assert max(table.num_rows for table in tables) <= batch_rows
    assert len(tables) == math.ceil(len(DOCUMENTS) / batch_rows)


def test_arrow_files(tmp_path):
    pq.write_table(arrow(), tmp_path / "d.parquet")
    feather.write_feather(arrow(), tmp_path / "d.feather")
    with pa.ipc.new_stream(tmp_path / "d.arrow", arrow().schema) as sink:
        sink.write_table(arrow())
    for path in sorted(tmp_path.iterdir()):
        assert rows(path) == DOCUMENTS, path
        assert len(list(read(path, batch_rows=2))) == 2, path


@pytest.mark.parametrize("packed", [False, True])
def test_csv_files(tmp_path, packed):
    plain = arrow().drop_columns(["tags"])
    pacsv.write_csv(plain, tmp_path / "d.csv")
    path = tmp_path / "d.csv"
    if packed:
        path = write(tmp_path, "d.csv.gz", gzip.compress(path.read_bytes()))
    assert rows(path) == plain.to_pylist()


def test_a_dict_is_one_record():
    assert rows({"id": 1, "text": "x"}) == [{"id": "1", "text": "x"}]


def test_no_records_in_memory_are_no_error():
    assert rows([]) == rows(arrow().slice(0, 0)) == rows(iter(())) == []


def test_report_counts(tmp_path):
    report = ReadReport()
    path = write(tmp_path, "d.jsonl", lines(DOCUMENTS))
    list(read(path, report=report))
    assert (report.rows, report.bad, report.fraction) == (3, 0, 1.0)
    report = ReadReport()
    list(read(DOCUMENTS, report=report))
    assert (report.rows, report.total) == (3, 3)
    assert report.to_dict() == {"rows": 3, "bad": 0, "bad_lines": []}


# --- what ends the work ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "error", "message"),
    [
        ("e.jsonl", b"", InvalidInput, "is empty"),
        ("e.jsonl", b"\n \n", InvalidInput, "holds no records"),
        ("e.json", b"[]", InvalidInput, "holds no records"),
        ("e.csv", b"id,text\n", InvalidInput, "holds no records"),
        ("e.txt", b"x", InvalidInput, r"unknown kind of name \(\.txt\); expected one of \.jsonl"),
        ("e.jsonll", b"x", InvalidInput, "did you mean '.jsonl'"),
        ("e.parquet.gz", b"x", InvalidInput, r"unknown kind of name \(\.parquet\.gz\)"),
        ("e.jsonl.gz", b"hello", BadRecord, "not a whole gzip file"),
        ("e.csv.gz", b"hello", BadRecord, "not a whole gzip file"),
        ("e.parquet", b"hello", BadRecord, "not a whole parquet file"),
        ("e.arrow", b"hello", BadRecord, "not a whole Arrow file"),
        ("e.feather", b"ARROW1hello", BadRecord, "not a whole Arrow file"),
        ("e.json", b'[{"a": 1}, {"a": 2]', BadRecord, "line 1: bad JSON: Expecting ',' delimiter"),
        ("e.json", b'[{"a": 1}\n {"a": 2}]', BadRecord, r"line 2: bad JSON: expected ',' or '\]'"),
        ("e.json", b'[{"a": 1}', BadRecord, "never closed"),
        ("e.json", b'[{"a": "x', BadRecord, "Unterminated string"),
        ("e.json", b'[{"a": 1}] x', BadRecord, "follows the end"),
        ("e.json", b'[{"a": "\xff"}]', BadRecord, "not UTF-8"),
        ("e.csv", b"\n", InvalidInput, "no header"),
        ("e.csv", b",a\n1,2\n", InvalidInput, "column 1 has no name"),
        ("e.csv", b"a,a\n1,2\n", InvalidInput, "names 'a' twice"),
        ("e.csv", b"a;b\n1;2\n", InvalidInput, "separated by ','"),
        ("e.csv", "a,b\n1,2\n".encode("utf-16"), BadRecord, "header is not UTF-8"),
        ("e.csv", b'id,a\n1,"abc\n2,3\n', BadRecord, "line 2: a quote is opened and never closed"),
        ("e.csv", b"id,_seq\n1,2\n", SchemaMismatch, "reserved"),
    ],
)
@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_spoilt_files(tmp_path, name, data, error, message, on_error):
    with pytest.raises(error, match=message):
        rows(write(tmp_path, name, data), on_error=on_error)


def test_truncated_files_say_so_after_the_rows_that_could_be_read(tmp_path):
    words = random.Random(0)
    data = gzip.compress(lines({"id": i, "x": words.random()} for i in range(20_000)).encode())
    report = ReadReport()
    with pytest.raises(BadRecord, match=r"not a whole gzip file, it breaks off or is damaged after \d{4,} records"):
        list(read(write(tmp_path, "d.jsonl.gz", data[: len(data) // 2]), report=report))
    assert report.rows > 1000
    with pytest.raises(BadRecord, match="not a whole gzip file"):
        rows(write(tmp_path, "d.jsonl.gz", data[:5000] + b"\0" * 100 + data[5100:]))
    pq.write_table(arrow(), tmp_path / "d.parquet")
    whole = (tmp_path / "d.parquet").read_bytes()
    with pytest.raises(BadRecord, match="not a whole parquet file"):
        rows(write(tmp_path, "half.parquet", whole[: len(whole) // 2]))


def test_missing_and_unreadable_paths(tmp_path):
    write(tmp_path, "papers.jsonl", "{}")
    with pytest.raises(NotFound, match=r"did you mean 'papers.jsonl'"):
        read(tmp_path / "paper.jsonl")
    with pytest.raises(InvalidInput, match="is a directory"):
        read(tmp_path)
    for path in ("a\0b.jsonl", "x" * 5000 + ".jsonl", "\ud800.jsonl"):
        with pytest.raises((NotFound, InvalidInput)):
            read(path)


@pytest.mark.parametrize(
    ("source", "message"),
    [(5, "type int; expected a path"), (b"x", "type bytes"), (None, "NoneType"), (["x"], "expected a dict, found str")],
)
def test_unknown_objects(source, message):
    with pytest.raises(InvalidInput, match=message):
        rows(source)


@pytest.mark.parametrize("options", [{"batch_rows": 0}, {"batch_rows": 1.5}, {"on_error": "ignore"}])
def test_options_are_checked_at_once(options):
    with pytest.raises(InvalidInput):
        read([], **options)


# --- bad records -----------------------------------------------------------------------------------------------------

BAD_LINES = [
    (b"{bad}", "bad JSON: Expecting property name enclosed in double quotes at column 2"),
    (b"[1]", r"expected a JSON object, found \[1\]"),
    (b"null", "expected a JSON object, found None"),
    (b'{"x": "\xff"}', "not UTF-8: byte 0xff at position 8"),
    (b'{"x": "\\ud800"}', "lone surrogate"),
    (b'{"x": 9223372036854775808}', "beyond 64 bits"),
    (b'{"x": ' + b"9" * 5000 + b"}", "bad JSON"),
    (b'{"x": ' + b"[" * 100_000 + b"}", "bad JSON"),
    (b'{"x": {"y": 1}}', "nested object"),
    (b'{"x": [1, 2]}', r"a list with 1 \(int\)"),
    (b'{"x": ["a", 1]}', r"a list with 1 \(int\)"),
    (b"{}", "the record is empty"),
    (b'{"": 1}', "name '' is empty"),
    (b'{"_rowid": 1}', "reserved"),
    (b'{"ID2": 1, "id2": 2}', "only in case"),
    (b'{"id": null}', "the id is None"),
    (b'{"id": ""}', "the id is '', which is empty"),
    (b'{"id": " "}', "which is empty"),
    (b'{"id": 1.5}', r"the id is 1.5 \(float\)"),
    (b'{"id": true}', r"the id is True \(bool\)"),
    (b'{"id": ["a"]}', r"\(list\)"),
    (b'{"id": "\\ud800"}', "lone surrogate"),
    (b'{"id": "%s"}' % (b"x" * 2000), "2000 characters"),
    (b'{"id": "a", "_id": "b"}', "keep one of them"),
    (b'{"title": 5}', r"'title' is 5 \(int\), but the column holds text"),
    (b'{"vector": [1, "a"]}', "expected a list of numbers"),
    (b'{"vector": "abc"}', "expected a list of numbers"),
    (b'{"year": "abc"}', r"'year' is 'abc' \(str\), but line 1 has 2019 and so the column holds integers"),
    (b'{"year": true}', r"'year' is True \(bool\), but"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_LINES)
@pytest.mark.parametrize("batch_rows", [1, 1024])
def test_bad_lines_are_named_or_skipped(tmp_path, line, reason, batch_rows):
    good = b'{"id": "%s", "year": 2019}\n'
    path = write(tmp_path, "d.jsonl", good % b"a" + b"\n" + line + b"\n" + good % b"b")
    with pytest.raises((BadRecord, SchemaMismatch), match=rf"d\.jsonl, line 3: .*{reason}"):
        rows(path, batch_rows=batch_rows)
    report = ReadReport()
    kept = rows(path, batch_rows=batch_rows, on_error="skip", report=report)
    assert [row["id"] for row in kept] == ["a", "b"]
    assert (report.rows, report.bad, report.bad_lines[0][0]) == (2, 1, 3)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({1: 2}, "column name 1 is of type int"),
        ({"x": {1, 2}}, "of type set"),
        ({"x": {"a"}}, "of type set"),
        ({"x": b"a"}, "of type bytes"),
        ({"x": object()}, "of type object"),
        ({"x": 1j}, "of type complex"),
        ({"x": 10**5000}, "too large to show"),
        ({"id": float("nan")}, "the id is nan"),
    ],
)
def test_bad_dicts(record, message):
    with pytest.raises(BadRecord, match=f"record 2: .*{message}"):
        rows([{"id": "a"}, record])


@pytest.mark.parametrize("batch_rows", [1, 2])
def test_skipped_lines_are_counted_beyond_those_listed(tmp_path, batch_rows):
    path = write(tmp_path, "d.jsonl", '{"id": 1}\n' + "{bad\n" * 500)
    report = ReadReport()
    assert rows(path, on_error="skip", report=report, batch_rows=batch_rows) == [{"id": "1"}]
    assert (report.bad, len(report.bad_lines), report.bad_lines[-1][0]) == (500, 100, 101)


def test_csv_rows_are_named_by_the_line_they_begin_on(tmp_path):
    text = 'id,a\n1,"x\ny"\n\n2,3,4\n3,ok\n4\n'
    path = write(tmp_path, "d.csv", text)
    with pytest.raises(BadRecord, match=r"d\.csv, line 5: 3 fields where the header has 2: '2,3,4'"):
        rows(path)
    report = ReadReport()
    assert rows(path, on_error="skip", report=report) == [{"id": "1", "a": "x\ny"}, {"id": "3", "a": "ok"}]
    assert [line for line, _ in report.bad_lines] == [5, 7]
    path = write(tmp_path, "d.csv", b"id,a\n1,ok\n2,\xff\n")
    with pytest.raises(BadRecord, match="line 3: 'a' is not UTF-8"):
        rows(path)
    assert rows(path, on_error="skip") == [{"id": "1", "a": "ok"}]


def test_long_lines_and_texts(tmp_path, monkeypatch):
    long = "x" * (10 * 2**20)
    assert rows(write(tmp_path, "d.jsonl", lines([{"text": long}])))[0]["text"] == long
    assert rows(write(tmp_path, "d.json", json.dumps([{"text": long}])))[0]["text"] == long
    assert rows(write(tmp_path, "d.csv", f"id,text\n1,{long}\n"))[0]["text"] == long
    monkeypatch.setattr(json_files, "MAX_RECORD_BYTES", 1000)
    path = write(tmp_path, "d.jsonl", lines([{"text": long}, {"text": "short"}]))
    assert rows(path, on_error="skip") == [{"text": "short"}]
    with pytest.raises(BadRecord, match="line 1: the line is longer"):
        rows(path)
    with pytest.raises(BadRecord, match="a record is longer"):
        rows(write(tmp_path, "d.json", json.dumps([{"text": long}])))
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", 1000)
    with pytest.raises(BadRecord, match="a row longer"):
        rows(write(tmp_path, "d.csv", f"id,text\n1,{long}\n"))


def test_batches_of_long_texts_are_smaller(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "MAX_BATCH_BYTES", 1000)
    tables = list(read([{"text": "x" * 400}] * 10))
    assert [table.num_rows for table in tables] == [3, 3, 3, 1]


# --- types -----------------------------------------------------------------------------------------------------------


def test_values_keep_their_meaning():
    document = {
        "id": 7,
        "day": DAY,
        "time": datetime.datetime(2020, 1, 1, 14, tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
        "iso": "2020-01-01",
        "nan": float("nan"),
        "inf": math.inf,
        "np": np.float32(1.5),
        "tags": ("x", None),
        "none": None,
    }
    (table,) = read([document])
    assert table.to_pylist() == [{**document, "id": "7", "time": NOON, "nan": None, "np": 1.5, "tags": ["x", None]}]
    assert table.schema.field("nan").type == table.schema.field("none").type == pa.null()


def test_mixed_batches_take_the_wider_number_and_refuse_the_rest():
    assert rows([{"x": 1}, {"x": 2.5}]) == [{"x": 1.0}, {"x": 2.5}]
    assert rows([{"x": 1}, {"x": float("nan")}]) == [{"x": 1}, {"x": None}]
    with pytest.raises(BadRecord, match=r"record 1: .*beyond"):
        rows([{"x": 2**64}, {"x": 0.5}])
    with pytest.raises(SchemaMismatch, match=r"record 2: .*datetime"):
        rows([{"x": DAY}, {"x": NOON}])
    with pytest.raises(SchemaMismatch, match="record 2: 'x' is 'b'"):
        rows([{"x": ["a"]}, {"x": "b"}])


def test_a_column_keeps_its_type_over_batches():
    assert rows([{"x": 1}, {"x": 2.0}], batch_rows=1) == [{"x": 1}, {"x": 2}]
    assert rows([{"x": None}, {"x": "a"}], batch_rows=1) == [{"x": None}, {"x": "a"}]
    with pytest.raises(SchemaMismatch, match=r"record 2: 'x' is 2.5 \(float\), but record 1 has 1"):
        rows([{"x": 1}, {"x": 2.5}], batch_rows=1)
    with pytest.raises(SchemaMismatch, match=r"record 2: 'x' is 'a'.*record 1 has 1 and so the column holds integers"):
        rows([{"x": 1}, {"x": "a"}], batch_rows=1)


def test_stored_types_bind():
    schema = pa.schema([("x", pa.float64()), ("day", pa.date32()), ("code", pa.string())])
    (table,) = read([{"x": 1, "day": "2020-01-01", "code": "7"}], schema=schema)
    assert table.to_pylist() == [{"x": 1.0, "day": DAY, "code": "7"}]
    with pytest.raises(SchemaMismatch, match=r"record 1: 'day' is 'May'.*holds dates"):
        rows([{"day": "May"}], schema=schema)


def test_stored_types_bind_csv(tmp_path):
    schema = pa.schema([("x", pa.float64()), ("day", pa.date32()), ("code", pa.string()), ("n", pa.int64())])
    path = write(tmp_path, "d.csv", "id,x,day,code,n\n1,1,2020-01-01,7,1\n2,2,2020-01-01,8,\n")
    assert rows(path, schema=schema)[0] == {"id": "1", "x": 1.0, "day": DAY, "code": "7", "n": 1}
    path = write(tmp_path, "d.csv", "id,x,day,code,n\n1,1,2020-01-01,7,1\n2,2,May,8,2\n")
    with pytest.raises(SchemaMismatch, match="line 3: 'day' is 'May'"):
        rows(path, schema=schema)


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1", "-2", ""], [1, -2, None]),
        (["1", "2.5"], [1.0, 2.5]),
        (["1e3", ".5"], [1000.0, 0.5]),
        (["007", "12"], ["007", "12"]),
        (["1.5", "007"], ["1.5", "007"]),
        (["9223372036854775807"], [2**63 - 1]),
        (["9223372036854775808", "1"], ["9223372036854775808", "1"]),
        (["true", "FALSE", "True"], [True, False, True]),
        (["true", "1"], ["true", "1"]),
        (["2020-01-01"], ["2020-01-01"]),
        (["NA", "1"], ["NA", "1"]),
        (['""', ""], ["", None]),
        (["", ""], [None, None]),
        (["é", "\U0001f600\0"], ["é", "\U0001f600\0"]),
    ],
)
def test_csv_types_are_those_of_the_whole_file(tmp_path, cells, values):
    path = write(tmp_path, "d.csv", "id,x\n" + "".join(f"{i},{cell}\n" for i, cell in enumerate(cells)))
    assert [row["x"] for row in rows(path, batch_rows=1)] == values


def test_csv_text_and_id_columns_are_never_numbers(tmp_path):
    path = write(tmp_path, "d.csv", "\ufeffid,title,n\r\n007,1984,1\r\n")
    assert rows(path) == [{"id": "007", "title": "1984", "n": 1}]


def test_tsv_has_no_quotes(tmp_path):
    path = write(tmp_path, "d.tsv", 'id\ttext\n1\t"Yes", he said\n2\t"open\n')
    assert rows(path) == [{"id": "1", "text": '"Yes", he said'}, {"id": "2", "text": '"open'}]


def test_ids():
    assert rows([{"_id": 5, "x": 1}, {"id": "a", "x": 2}, {"x": 3}]) == [
        {"id": "5", "x": 1},
        {"id": "a", "x": 2},
        {"id": None, "x": 3},
    ]
    assert rows([{"doi": 5}], id_field="doi") == [{"doi": "5"}]
    assert rows(pa.table({"_id": pa.array([1], pa.uint64()), "x": [1]})) == [{"id": "1", "x": 1}]
    assert rows(pa.table({"_id": pa.array(["a"]).dictionary_encode()})) == [{"id": "a"}]
    with pytest.raises(BadRecord, match="row 2: the id is None"):
        rows(pa.table({"id": ["a", None]}))
    with pytest.raises(BadRecord, match="row 2: the id is ' '"):
        rows(pa.table({"id": ["a", " "]}))
    with pytest.raises(SchemaMismatch, match="holds double; expected text"):
        rows(pa.table({"id": [1.0]}))
    with pytest.raises(SchemaMismatch, match="both 'id' and '_id'"):
        rows(pa.table({"id": ["a"], "_id": ["b"]}))


def test_arrow_sources_skip_bad_rows_and_name_bad_columns():
    table = pa.table({"id": ["a", "", "c"], "x": pa.array([1, 2, 2**63], pa.uint64())})
    report = ReadReport()
    assert rows(table, on_error="skip", report=report) == [{"id": "a", "x": 1}]
    assert [line for line, _ in report.bad_lines] == [2, 3]
    with pytest.raises(SchemaMismatch, match=r"column 'x': values of the Arrow type struct<y: int64>"):
        rows(pa.table({"x": [{"y": 1}]}))
    broken = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])
    with pytest.raises(SchemaMismatch, match="UTF8"):
        rows(pa.table({"x": broken}))


def test_pandas_manners():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"id": ["a", "b", "c"], "n": [1, None, 3], "t": pd.to_datetime(["2020-01-01 12:00"] * 3)})
    assert rows(frame[frame.id != "a"]) == [{"id": "b", "n": None, "t": NOON}, {"id": "c", "n": 3.0, "t": NOON}]
    assert rows(frame, schema=pa.schema([("n", pa.int64())]))[2]["n"] == 3
    with pytest.raises(SchemaMismatch, match="row 2: 'x' is 'q'"):
        rows(pd.DataFrame({"x": [1, "q"]}))


def test_polars_manners():
    pl = pytest.importorskip("polars")
    assert rows(pl.DataFrame({"c": pl.Series(["x"], dtype=pl.Categorical)})) == [{"c": "x"}]
    with pytest.raises(InvalidInput, match=r"call \.collect\(\) first"):
        rows(pl.LazyFrame({"a": [1]}))


def test_vectors_pass_as_they_are():
    single = np.arange(3, dtype=np.float32)
    assert next(read([{"vector": single}])).schema.field("vector").type == pa.list_(pa.float32())
    assert rows([{"vector": [1, 2]}, {"vector": None}]) == [{"vector": [1.0, 2.0]}, {"vector": None}]
    assert math.isnan(rows([{"vector": [math.nan]}])[0]["vector"][0])
    assert rows([{"vector": np.zeros((2, 3), np.float32)}]) == [{"vector": [[0.0] * 3] * 2}]
    fixed = pa.table({"vector": pa.FixedSizeListArray.from_arrays(pa.array(single), 3)})
    assert next(read(fixed)).schema.field("vector").type == pa.list_(pa.float32(), 3)
    with pytest.raises(InvalidInput, match="mixes vectors of different kinds"):
        rows([{"vector": [1.0]}, {"vector": {"indices": [1], "values": [1.0]}}])


def test_columns_are_bounded():
    documents = [{f"c{i}-{j}": 1 for j in range(100)} for i in range(20)]
    with pytest.raises(BadRecord, match="at most 1000"):
        rows(documents)


def test_reading_is_lazy(tmp_path):
    seen = []

    def generate():
        for number in range(100):
            seen.append(number)
            yield {"id": number}

    stream = read(generate(), batch_rows=10)
    next(stream)
    assert len(seen) == 10


# --- properties ------------------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
COLUMNS = {
    "s": texts,
    "i": st.integers(-(2**63), 2**63 - 1),
    "f": st.floats(allow_nan=False),
    "b": st.booleans(),
    "d": st.dates(),
    "t": st.datetimes(),
    "l": st.lists(st.none() | texts, max_size=3),
}
documents = st.lists(
    st.fixed_dictionaries(
        {"id": texts.filter(str.strip)}, optional={name: st.none() | values for name, values in COLUMNS.items()}
    ),
    min_size=1,
    max_size=8,
)


def complete(rows):
    """Rows with a key for every column that occurs, as a table has it."""
    return [{**dict.fromkeys(COLUMNS), **row} for row in rows]


@settings(deadline=None)
@given(documents, st.integers(1, 9))
def test_any_records_survive(source, batch_rows):
    assert complete(rows(source, batch_rows=batch_rows)) == complete(source)


@settings(deadline=None, max_examples=50)
@given(documents, st.integers(1, 9), st.booleans())
def test_any_records_survive_files(tmp_path_factory, source, batch_rows, as_array):
    folder = tmp_path_factory.mktemp("files")
    plain = [{k: v for k, v in row.items() if k not in "dt"} for row in source]
    text = json.dumps(plain) if as_array else lines(plain)
    path = write(folder, "d.json" if as_array else "d.jsonl", text)
    assert complete(rows(path, batch_rows=batch_rows)) == complete(plain)
    table = pa.Table.from_pylist(complete(source), schema=pa.schema([("id", pa.string()), *_SCHEMA]))
    pq.write_table(table, folder / "d.parquet")
    assert rows(folder / "d.parquet", batch_rows=batch_rows) == table.to_pylist()


_SCHEMA = [
    ("s", pa.string()),
    ("i", pa.int64()),
    ("f", pa.float64()),
    ("b", pa.bool_()),
    ("d", pa.date32()),
    ("t", pa.timestamp("us")),
    ("l", pa.list_(pa.string())),
]

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=3) | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=3) | st.integers(), anything, max_size=3), max_size=6))
def test_anything_else_is_read_or_counted_and_never_crashes(source):
    report = ReadReport()
    kept = rows(source, on_error="skip", report=report, batch_rows=3)
    assert len(kept) == report.rows
    assert report.rows + report.bad == len(source)


@settings(deadline=None)
@given(st.binary(max_size=60), st.sampled_from(["d.jsonl", "d.json", "d.csv", "d.tsv", "d.jsonl.gz", "d.parquet"]))
def test_any_bytes_are_read_or_refused(tmp_path_factory, data, name):
    path = write(tmp_path_factory.mktemp("bytes"), name, data)
    with contextlib.suppress(InvalidInput):
        rows(path)
