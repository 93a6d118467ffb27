"""The file formats of the command line: values, names, damage, and writing."""

import gzip
import os
import sys

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from fastcca._models.atomic_write import replacing
from fastcca.cli._tables import check_output, read_table, table_writer

VALUES = np.array([[1.5, -2.0, 3.25e-300], [0.1, 1e300, -0.0], [7.0, 8.0, 9.0]])


@pytest.fixture
def text(tmp_path):
    """Write a text file, return its path."""

    def write(content, name="table.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(content.encode(encoding))
        return path

    return write


# ---- .npy, .npz, .mat, .parquet ----------------------------------------------------------------------


@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_is_mapped_not_read(tmp_path, order):
    path = tmp_path / "table.npy"
    np.save(path, np.asarray(VALUES, order=order))
    table = read_table(path)
    assert isinstance(table.values, np.memmap)
    assert not table.values.flags.writeable
    assert table.names is None
    np.testing.assert_array_equal(table.values, VALUES)
    np.save(path, VALUES[:, 0])
    np.testing.assert_array_equal(read_table(path).values, VALUES[:, :1])


@pytest.mark.parametrize("dtype", ["f4", ">f8", "i2", "u1", "?"])
def test_npy_keeps_the_dtype(tmp_path, dtype):
    values = np.arange(6).reshape(2, 3).astype(dtype)
    np.save(tmp_path / "table.npy", values)
    found = read_table(tmp_path / "table.npy").values
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found, values)


def test_npz_by_name_or_alone(tmp_path):
    path = tmp_path / "tables.npz"
    np.savez(path, X=VALUES, y=VALUES[:, 0])
    np.testing.assert_array_equal(read_table(path, "X").values, VALUES)
    np.testing.assert_array_equal(read_table(path, "y").values, VALUES[:, :1])
    with pytest.raises(ValueError, match=r"holds 2 arrays \(X, y\)"):
        read_table(path)
    with pytest.raises(ValueError, match="no array called 'Z', only X, y"):
        read_table(path, "Z")
    np.savez(path, alone=VALUES)
    np.testing.assert_array_equal(read_table(path).values, VALUES)


def test_mat_by_name_or_alone(tmp_path):
    path = tmp_path / "tables.mat"
    scipy.io.savemat(path, {"X": VALUES, "name": "abc"})
    np.testing.assert_array_equal(read_table(path, "X").values, VALUES)
    with pytest.raises(ValueError, match="holds 2 arrays"):
        read_table(path)
    with pytest.raises(ValueError, match="expected real numbers"):
        read_table(path, "name")
    scipy.io.savemat(path, {"X": scipy.sparse.csc_array(VALUES)})
    with pytest.raises(ValueError, match="full matrix"):
        read_table(path)


MAT73 = b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM"


def test_mat73_without_h5py_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "table.mat").write_bytes(MAT73.ljust(1024, b"\0"))
    with pytest.raises(ImportError, match=r"MATLAB 7.3 file needs h5py.*-v7"):
        read_table(tmp_path / "table.mat")


def test_mat73_with_h5py(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "table.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["X"] = VALUES[:2].T  # MATLAB stores columns first
    with path.open("r+b") as raw:
        raw.write(MAT73)
    np.testing.assert_array_equal(read_table(path).values, VALUES[:2])


def test_parquet(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    path = tmp_path / "table.parquet"
    frame = pandas.DataFrame(VALUES, columns=["a", "b", "c"], index=["u", "v", "w"])
    frame["d"] = [1, 2, 3]
    frame.to_parquet(path)
    table = read_table(path)
    assert table.names == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(table.values, np.column_stack([VALUES, [1, 2, 3]]))
    frame["b"] = ["x", "y", "z"]
    frame.to_parquet(path)
    with pytest.raises(ValueError, match="column 'b' holds"):
        read_table(path)
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match="damaged parquet"):
        read_table(path)


def test_parquet_without_a_reader_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "polars", None)
    (tmp_path / "table.parquet").write_bytes(b"")
    with pytest.raises(ImportError, match="needs pyarrow or polars"):
        read_table(tmp_path / "table.parquet")


# ---- text --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("1,2\n3,4\n", None),
        ("1,2\n3,4", None),
        ("\n1,2\r\n\r\n3,4\r\n", None),
        ("\ufeff1,2\n3,4\n", None),
        ("a,b\n1,2\n3,4\n", ["a", "b"]),
        ("\ufeffa,b\n1,2\n3,4\n", ["a", "b"]),
        ('"a, first","b"\n"1","2"\n3,4\n', ["a, first", "b"]),
        ("länge, 2019\n1, 2\n3, 4\n", ["länge", "2019"]),
        (",a,b\nu,1,2\nv,3,4\n", ["a", "b"]),
        (",0,1\n0,1,2\n1,3,4\n", ["0", "1"]),
        ("# a,b\n1,2\n3,4\n", ["# a", "b"]),
    ],
)
def test_text_and_its_header(text, content, names):
    for name, delimiter in (("table.csv", ","), ("table.tsv", "\t"), ("TABLE.CSV", ",")):
        if '"' in content and delimiter == "\t":
            continue
        table = read_table(text(content.replace(",", delimiter), name))
        assert table.names == names
        np.testing.assert_array_equal(table.values, [[1, 2], [3, 4]])


def test_one_column_of_text(text):
    table = read_table(text("age\n1\n2\n"))
    assert table.names == ["age"]
    np.testing.assert_array_equal(table.values, [[1], [2]])


def test_missing_values_are_not_a_header(text):
    with pytest.raises(ValueError, match="line 1, column 2: 'NA' is not a number"):
        read_table(text("1,NA,3\n4,5,6\n"))
    np.testing.assert_array_equal(read_table(text("nan,1\n2,inf\n")).values, [[np.nan, 1], [2, np.inf]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n3,x\n", r"table.csv: line 3, column 2 \('b'\): 'x' is not a number"),
        ("1,2\n\n3,\n", "line 3, column 2: '' is not a number"),
        ("1,2\n3,4,5\n", "line 2 has 3 fields, the first line 2"),
        ("a,b,c\n1,2\n3,4\n", "the first line has 3 fields, the next 2"),
        ("a,b\n", "empty"),
        ("", "empty"),
        ("\n\n", "empty"),
    ],
)
def test_text_faults_are_located(text, content, message):
    with pytest.raises(ValueError, match=message):
        read_table(text(content))


def test_text_must_be_utf8(text):
    with pytest.raises(ValueError, match="UTF-8"):
        read_table(text("größe,b\n1,2\n", encoding="latin-1"))


# ---- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat"])
@pytest.mark.parametrize(
    "content", [b"", b"garbage", gzip.compress(b"garbage"), b"\x93NUMPY\x01\x00", b"PK\x03\x04"]
)
def test_damaged_binary_files_are_named(tmp_path, suffix, content):
    path = tmp_path / f"table{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"table\{suffix}: .*(damaged|holds 0 arrays)"):
        read_table(path)


def test_truncated_files_are_named(tmp_path):
    for suffix, save in ((".npy", np.save), (".npz", np.savez_compressed)):
        path = tmp_path / f"table{suffix}"
        save(path, np.random.default_rng(0).random((50, 40)))
        path.write_bytes(path.read_bytes()[:-500])
        with pytest.raises(ValueError, match="damaged"):
            read_table(path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((2, 3, 4)), r"2 dimensions.*\(2, 3, 4\)"),
        (np.array(3.0), r"2 dimensions.*\(\)"),
        (np.array([[1j, 2]]), "real numbers.*complex128"),
        (np.array([["a", "b"]]), "real numbers.*<U1"),
        (np.array([[1, None]], dtype=object), "not an array of numbers"),
    ],
)
def test_only_tables_of_numbers(tmp_path, values, message):
    np.save(tmp_path / "table.npy", values)
    with pytest.raises(ValueError, match=message):
        read_table(tmp_path / "table.npy")


def test_paths_and_keys_that_cannot_be(tmp_path, text):
    with pytest.raises(FileNotFoundError, match=r"absent.npy: no such file"):
        read_table(tmp_path / "absent.npy")
    with pytest.raises(ValueError, match=r"table.txt: cannot tell its format.*\.parquet"):
        read_table(text("1", "table.txt"))
    with pytest.raises(ValueError, match="none called 'X'"):
        read_table(text("1"), "X")


# ---- writing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".tsv"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_written_tables_read_back_exactly(tmp_path, suffix, dtype):
    values = (np.random.default_rng(0).standard_normal((7, 3)) * 1e-5).astype(dtype)
    path = tmp_path / f"Z{suffix}"
    with table_writer(path, values.shape, dtype, ["a", "b", "c"]) as write:
        write(values[:4])
        assert not path.exists()
        write(values[4:])
    table = read_table(path)
    np.testing.assert_array_equal(table.values.astype(dtype), values)
    assert table.names == (["a", "b", "c"] if suffix in (".csv", ".tsv") else None)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv"])
def test_a_failure_leaves_the_old_file(tmp_path, suffix):
    path = tmp_path / f"Z{suffix}"
    path.write_bytes(b"old")

    def fail():
        with table_writer(path, (2, 1), float, ["a"]) as write:
            write(np.zeros((1, 1)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_outputs_that_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match="cannot write this format"):
        check_output(tmp_path / "Z.mat")
    with pytest.raises(FileNotFoundError, match="no folder"):
        check_output(tmp_path / "absent" / "Z.npy")
    (tmp_path / "Z.npy").mkdir()
    with pytest.raises(IsADirectoryError):
        check_output(tmp_path / "Z.npy")


def test_a_lack_of_memory_is_not_called_damage(tmp_path, monkeypatch):
    def no_memory(*args, **kwargs):
        raise MemoryError

    np.savez(tmp_path / "table.npz", X=VALUES)
    scipy.io.savemat(tmp_path / "table.mat", {"X": VALUES})
    monkeypatch.setattr(np, "load", no_memory)
    monkeypatch.setattr(scipy.io, "loadmat", no_memory)
    for name in ("table.npz", "table.mat"):
        with pytest.raises(MemoryError):
            read_table(tmp_path / name)


def test_a_file_that_cannot_be_written_is_called_as_the_user_called_it(tmp_path):
    path = tmp_path / "taken"
    path.mkdir()
    with pytest.raises(OSError) as caught, replacing(path) as temporary:
        temporary.write_text("x")  # a file cannot take the place of a folder
    assert (caught.value.filename, caught.value.filename2) == (str(path), None)
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "Z.npy"):
        pass  # nothing was written
    assert caught.value.filename == str(tmp_path / "Z.npy")
    with pytest.raises(FileNotFoundError, match="other"), replacing(tmp_path / "Z.npy"):
        (tmp_path / "other").open()
    assert os.listdir(tmp_path) == ["taken"]


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="needs POSIX permissions, and not root"
)
def test_outputs_in_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError, match="cannot write in its folder") as caught:
            check_output(tmp_path / "Z.npy")
    finally:
        tmp_path.chmod(0o700)
    assert caught.value.filename == str(tmp_path / "Z.npy")


# ---- the same data from every file -------------------------------------------------------------------

DECIMALS = np.random.default_rng(3).normal(size=(30, 4))
INTEGERS = np.random.default_rng(4).integers(0, 500, size=(30, 4))


def as_csv(values, header, labels=None):
    rows = [",".join(map(repr, row)) for row in np.asarray(values).tolist()]
    if labels is not None:
        rows = [f"{label},{row}" for label, row in zip(labels, rows, strict=True)]
    return "\n".join([header, *rows]) + "\n"


@pytest.mark.parametrize(
    "header",
    ["0,1,2,3", "1,2,3,4", "2019,2020,2021,2022", "2022,2021,2020,2019", "1950,1960,1965,1990", "5,7,11,40"],
)
def test_headers_of_numbers_over_decimals(text, header):
    table = read_table(text(as_csv(DECIMALS, header)))
    assert table.names == header.split(",")
    np.testing.assert_array_equal(table.values, DECIMALS)


def test_the_header_of_a_series(text):
    table = read_table(text(as_csv(DECIMALS[:, :1], "0")))
    assert table.names == ["0"]
    np.testing.assert_array_equal(table.values, DECIMALS[:, :1])
    table = read_table(text(as_csv(DECIMALS[:, :2], "0,1")))
    assert table.names == ["0", "1"]


def test_years_over_counts(text):
    table = read_table(text(as_csv(INTEGERS, "2019,2020,2021,2022")))
    assert table.names == ["2019", "2020", "2021", "2022"]
    np.testing.assert_array_equal(table.values, INTEGERS)


def test_a_first_line_that_may_be_either_is_said(text):
    content = as_csv(INTEGERS, "0,1,2,3")
    with pytest.warns(UserWarning, match=r"the first line, 0, 1, 2, …, is read as data; .*--header"):
        table = read_table(text(content))
    assert table.names is None
    assert table.values.shape == (31, 4)
    table = read_table(text(content), header=True)
    assert table.names == ["0", "1", "2", "3"]
    np.testing.assert_array_equal(table.values, INTEGERS)
    assert read_table(text(content), header=False).values.shape == (31, 4)
    assert read_table(text(as_csv(DECIMALS, "0,1,2,3")), header=False).values.shape == (31, 4)


@pytest.mark.parametrize(
    "values",
    [
        np.arange(12.0).reshape(4, 3),  # which goes on as it begins
        np.column_stack([np.linspace(0, 1, 11), np.cos(np.linspace(0, 1, 11))]),  # 0, 1 and at the end 1
        np.vstack([np.zeros(4), np.cumsum(DECIMALS, axis=0)]),  # a random walk begins at 0
        np.vstack([[3, 1, 2, 5], DECIMALS]),
        INTEGERS,
    ],
)
@pytest.mark.parametrize("form", ["%.17g", "%.18e"])
def test_data_are_no_header(tmp_path, values, form):
    np.savetxt(tmp_path / "table.csv", values, form, ",")
    table = read_table(tmp_path / "table.csv")
    assert table.names is None
    np.testing.assert_array_equal(table.values, values)


@pytest.mark.parametrize("line", ["0.5,x,1.5", "1,x,3", "x,2.5,3", "x,3,1", "0.1,?7,0.3"])
def test_an_unreadable_field_of_the_first_row_is_no_name(text, line):
    column = next(i for i, field in enumerate(line.split(",")) if any(c in "x?" for c in field))
    with pytest.raises(ValueError, match=f"line 1, column {column + 1}: '.*' is not a number"):
        read_table(text(f"{line}\n1,2,3\n4,5,6\n"))


@pytest.mark.parametrize(
    "name", ["id", "ID", "index", "sample_id", "Unnamed: 0", "row", "subject", "patient.id"]
)
@pytest.mark.parametrize("labels", [range(100, 130), [f"s{i}" for i in range(30)]])
def test_a_column_that_names_the_rows_is_left_out(text, name, labels):
    with pytest.warns(UserWarning, match=rf"the first column, '{name}', names the rows and is left out"):
        table = read_table(text(as_csv(DECIMALS, f"{name},a,b,c,d", labels)))
    assert table.names == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(table.values, DECIMALS)


def test_columns_that_do_not_name_the_rows_stay(text):
    for header, labels in (
        ("width,a,b,c,d", range(30)),
        ("id,a,b,c,d", [1, 2, 3] * 10),
        ("id,a,b,c,d", np.arange(30) / 4),
    ):
        table = read_table(text(as_csv(DECIMALS, header, list(labels))))
        np.testing.assert_array_equal(table.values, np.column_stack([labels, DECIMALS]))
    with pytest.raises(ValueError, match=r"line 2, column 1 \('id'\): 's' is not a number"):
        read_table(text(as_csv(DECIMALS, "id,a,b,c,d", ["s"] * 30)))
    with pytest.raises(ValueError, match=r"line 2, column 1 \('width'\): 's0' is not a number"):
        read_table(text(as_csv(DECIMALS, "width,a,b,c,d", [f"s{i}" for i in range(30)])))
    assert read_table(text("id\n1\n2\n3\n")).values.shape == (3, 1)  # the only column


@pytest.mark.parametrize("labels", [range(100, 130), [f"s{i}" for i in range(30)]])
def test_row_labels_of_parquet(tmp_path, labels):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame(DECIMALS, columns=list("abcd"))
    frame.insert(0, "sample_id", list(labels))
    frame.to_parquet(tmp_path / "table.parquet")
    with pytest.warns(UserWarning, match="the first column, 'sample_id', names the rows"):
        table = read_table(tmp_path / "table.parquet")
    assert table.names == list("abcd")
    np.testing.assert_array_equal(table.values, DECIMALS)


# ---- whatever the file -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('a,b\n1,2\n3,"4\n5,6\n', "line 3: .*quote not closed"),
        ('"a,b\n1,2\n', "line 1: .*quote not closed"),
        ("a,b\n1," + "2" * 200_000 + "\n", "line 2: field larger than field limit"),
        ("a" * 200_000 + ",b\n1,2\n", "line 1: field larger than field limit"),
        ("a,b\n1,2\n3," + "x" * 5000 + "\n", r"line 3, column 2 \('b'\): 'x{60}…' is not a number"),
        ("a,b\n1,2\n3,\x00\n", "line"),
    ],
)
def test_text_that_is_no_table_is_located(text, content, message):
    with pytest.raises(ValueError, match=rf"table\.csv: {message}") as raised:
        read_table(text(content))
    assert len(str(raised.value)) < 300


def test_a_folder_is_no_table(tmp_path):
    (tmp_path / "table.csv").mkdir()
    with pytest.raises(IsADirectoryError, match=r"table\.csv: is a folder"):
        read_table(tmp_path / "table.csv")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".tsv", ".mat", ".parquet"])
def test_random_bytes_are_refused_with_a_sentence(tmp_path, suffix):
    path = tmp_path / f"table{suffix}"
    rng = np.random.default_rng(0)
    starts = [
        b"",
        b"\x93NUMPY\x01\x00",
        b"PK\x03\x04",
        b"PAR1",
        b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM",
    ]
    for start in starts:
        for _ in range(5):
            path.write_bytes(start + rng.bytes(300))
            with pytest.raises(ValueError, match=r"table\."):
                read_table(path)


def test_a_lack_of_memory_names_the_file_and_its_size(tmp_path, monkeypatch):
    def no_memory(*args, **kwargs):
        raise MemoryError("Unable to allocate 1.00 TiB")

    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2\n")
    monkeypatch.setattr(np, "loadtxt", no_memory)
    with pytest.raises(MemoryError, match=r"table\.csv: out of memory while reading its 8 bytes.*1\.00 TiB"):
        read_table(path)


# ---- which columns, which rows, what is missing --------------------------------------------------------

FRAME = "person,sex,age,height,weight\nann,f,30,1.7,-999\nbob,m,40,1.8,80.5\ncem,m,50,1.6,NA\n"
MEASURES = np.array([[30, 1.7, -999], [40, 1.8, 80.5], [50, 1.6, np.nan]])


@pytest.fixture(params=["csv", "tsv", "semicolon", "pyarrow", "polars"])
def frame(request, tmp_path, monkeypatch):
    """The same table as a file of each kind, and what it takes to read it."""
    kind = request.param
    if kind in ("csv", "tsv", "semicolon"):
        separator = {"csv": ",", "tsv": "\t", "semicolon": ";"}[kind]
        path = tmp_path / ("table.tsv" if kind == "tsv" else "table.csv")
        path.write_text(FRAME.replace(",", separator))
        options = {"missing": True} | ({"separator": ";"} if kind == "semicolon" else {})
        return lambda **more: read_table(path, **options, **more)
    pandas = pytest.importorskip("pandas")
    pytest.importorskip(kind)
    columns = dict(zip(("age", "height", "weight"), MEASURES.T, strict=True))
    people = {"person": ["ann", "bob", "cem"], "sex": list("fmm")}
    pandas.DataFrame(people | columns).to_parquet(tmp_path / "table.parquet")
    if kind == "polars":
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    return lambda **more: read_table(tmp_path / "table.parquet", **more)


def test_columns_are_chosen_by_name(frame):
    table = frame(index_column="person", drop=["sex", "absent"])
    assert (table.names, table.labels) == (["age", "height", "weight"], ["ann", "bob", "cem"])
    assert table.dropped == {"sex"}
    np.testing.assert_array_equal(table.values, MEASURES)
    table = frame(columns=["weight", "age"])
    assert (table.names, table.labels) == (["weight", "age"], None)
    np.testing.assert_array_equal(table.values, MEASURES[:, [2, 0]])
    table = frame(index_column="person", columns=["weight", "age"], na=["-999", "missing"])
    np.testing.assert_array_equal(table.values, [[np.nan, 30], [80.5, 40], [np.nan, 50]])
    assert table.labels == ["ann", "bob", "cem"]
    table = frame(index_column=0, drop=["sex"])
    assert table.labels == ["ann", "bob", "cem"]


def test_columns_that_are_not_there(frame):
    with pytest.raises(ValueError, match=r"table\.\w+: there is no column 'size', only person, sex, age"):
        frame(columns=["age", "size"])
    with pytest.raises(ValueError, match="there is no column 'id'"):
        frame(index_column="id")
    with pytest.raises(ValueError, match="'sex' names two rows 'm'"):
        frame(index_column="sex", drop=["person"])
    with pytest.raises(ValueError, match=r"(column 2 \('sex'\): 'f' is not|column 'sex' holds).*number"):
        frame(index_column="person")
    with pytest.raises(ValueError, match="the table is empty"):
        frame(columns=["sex"], drop=["sex"])


def test_columns_of_files_without_names(tmp_path, text):
    np.save(tmp_path / "table.npy", VALUES)
    for option in ({"columns": ["a"]}, {"index_column": "a"}):
        with pytest.raises(ValueError, match=r"table\.npy: its columns have no names"):
            read_table(tmp_path / "table.npy", **option)
    np.testing.assert_array_equal(read_table(tmp_path / "table.npy", drop=["a"]).values, VALUES)
    np.testing.assert_array_equal(
        read_table(tmp_path / "table.npy", na=["7", "-2"]).values,
        np.where(np.isin(VALUES, [7, -2]), np.nan, VALUES),
    )
    np.save(tmp_path / "table.npy", np.array([[1, -9], [2, 3]], dtype=np.int16))
    np.testing.assert_array_equal(read_table(tmp_path / "table.npy", na=["-9"]).values, [[1, np.nan], [2, 3]])
    # what is chosen by name has names, also where these look like numbers
    table = read_table(text("1,2\n3,4\n5,6\n"), columns=["2"])
    assert table.names == ["2"]
    np.testing.assert_array_equal(table.values, [[4], [6]])


def test_a_text_file_with_lines_of_other_lengths_is_refused_whatever_is_chosen(text):
    for content in ("id,a,b\nx,1,2\ny,3,4,5\n", "id,a,b\nx,1,2\ny,3\n"):
        for options in ({}, {"index_column": "id"}, {"columns": ["a"]}, {"missing": True}):
            with pytest.raises(ValueError, match=r"line 3 has \d fields, the first line 3"):
                read_table(text(content), **options)


def test_text_that_says_missing(text):
    path = text("a,b\n1,gone\n-999,2\n")
    with pytest.raises(ValueError, match="'gone' is not a number"):
        read_table(path, missing=True)
    table = read_table(path, missing=True, na=["Gone", "-999"])
    np.testing.assert_array_equal(table.values, [[1, np.nan], [np.nan, 2]])


def test_a_column_that_is_asked_for_is_no_row_label(text):
    path = text("id,a\n1,0.5\n2,0.25\n")
    with pytest.warns(UserWarning, match="names the rows"):
        assert read_table(path).names == ["a"]
    assert read_table(path, columns=["id", "a"]).names == ["id", "a"]
    assert read_table(path, drop=["id"]).names == ["a"]


def test_another_separator_is_hinted_at(text):
    with pytest.raises(ValueError, match=r"'1;2' is not a number; are its fields separated by ';'\?"):
        read_table(text("a;b\n1;2\n"))
    with pytest.raises(ValueError, match="several columns are called 'a'"):
        read_table(text("a,a\n1,2\n3,4\n"), columns=["a"])


def test_decimals_with_commas(text):
    values = [[1.5, -2e-3], [0.25, 4.0], [7.0, 1e10]]
    lines = "1,5;-2e-3\n,25;4\n7; 1,0E10\n"
    for path, options in (
        (text("a;b\n" + lines), {}),
        (text("a\tb\n" + lines.replace(";", "\t"), "table.tsv"), {}),
        (text('a,b\n"1,5","-2e-3"\n",25",4\n7,"1,0E10"\n', "quoted.csv"), {"separator": ","}),
    ):
        for missing in (False, True):
            table = read_table(path, decimal=",", missing=missing, **options)
            assert table.names == ["a", "b"]
            np.testing.assert_array_equal(table.values, values)
    rows = [f"r,{i};{line}" for i, line in enumerate(lines.splitlines())]
    table = read_table(text("\n".join(["who;a;b", *rows])), decimal=",", index_column="who")
    assert table.labels == ["r,0", "r,1", "r,2"]
    np.testing.assert_array_equal(table.values, values)
    alone = read_table(text(lines), decimal=",")  # numbers are no names
    assert alone.names is None
    np.testing.assert_array_equal(alone.values, values)
    table = read_table(text("a;b\n1,5;NA\n-9,5;2\n"), decimal=",", missing=True, na=["-9,5"])
    np.testing.assert_array_equal(table.values, [[1.5, np.nan], [np.nan, 2]])
    with pytest.raises(
        ValueError, match=r"line 3, column 2 \('b'\): '1.234' is not a number; decimals are read"
    ):
        read_table(text("a;b\n1,5;2\n3;1.234\n"), decimal=",")
    with pytest.raises(ValueError, match="decimal must be"):
        read_table(text("a;b\n1,5;2\n"), decimal=";")


@pytest.mark.parametrize(
    ("content", "separator", "hint"),
    [
        (
            "a;b\n1,5;2,5\n",
            ";",
            r"'1,5' is not a number; are its decimals written with commas\? \(--decimal ,\)",
        ),
        ("a;b\n1,5;2,5\n", None, r"separated by ';' and its decimals written with commas\? \(--decimal ,\)"),
        ("1,5;2,5\n3;4\n", None, r"separated by ';' and its decimals written with commas"),
        ('a,b\n"1,5",2\n', None, r"'1,5' is not a number; are its decimals written with commas"),
        ("a;b\nx,y;2\n", ";", r"'x,y' is not a number$"),
    ],
)
def test_decimals_with_commas_are_hinted_at(text, content, separator, hint):
    with pytest.raises(ValueError, match=hint):
        read_table(text(content), separator=separator)


@pytest.mark.parametrize("without", ["pyarrow", "polars"])
@pytest.mark.parametrize("name", [None, "person", "sample_id"])
def test_the_index_of_a_pandas_frame(tmp_path, monkeypatch, without, name):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    pytest.importorskip("polars")
    frame = pandas.DataFrame(DECIMALS, columns=list("abcd"), index=[f"s{i}" for i in range(30)])
    frame.index.name = name
    frame.to_parquet(tmp_path / "table.parquet")
    monkeypatch.setitem(sys.modules, without, None)
    table = read_table(tmp_path / "table.parquet")
    assert table.names == list("abcd")
    np.testing.assert_array_equal(table.values, DECIMALS)
    if name is not None:
        assert read_table(tmp_path / "table.parquet", index_column=name).labels == frame.index.tolist()


@pytest.mark.parametrize("without", ["pyarrow", "polars"])
def test_parquet_by_whichever_is_there(tmp_path, monkeypatch, without):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    pytest.importorskip("polars")
    frame = pandas.DataFrame({"a": [1, 2], "b": pandas.array([3, None], dtype="Int64"), "c": [0.5, np.nan]})
    frame.to_parquet(tmp_path / "table.parquet")
    frame.assign(d=["x", "y"]).to_parquet(tmp_path / "text.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    monkeypatch.setitem(sys.modules, without, None)
    table = read_table(tmp_path / "table.parquet")
    assert table.names == ["a", "b", "c"]
    np.testing.assert_array_equal(table.values, [[1, 3, 0.5], [2, np.nan, np.nan]])
    with pytest.raises(ValueError, match="column 'd' holds"):
        read_table(tmp_path / "text.parquet")
    with pytest.raises(ValueError, match="damaged parquet"):
        read_table(tmp_path / "bad.parquet")
