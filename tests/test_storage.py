from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import string
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isometry import storage
from isometry.errors import AlreadyExists, Damaged, InvalidInput, IsometryError, NewerFormat, NotFound, StorageFull
from isometry.storage import atomic_write_json, read_folder, read_json, write_folder

PARAMETERS = {"metric": "dot", "levels": [1, 2], "nested": {"é": None}}


def arrays():
    rng = np.random.default_rng(0)
    return {
        "vectors": rng.standard_normal((50, 7)).astype(np.float32),
        "offsets": np.arange(51),
        "mask": rng.random(50) < 0.5,
        "nothing": np.empty((0, 3), np.uint8),
    }


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "index"
    write_folder(path, "Thing", PARAMETERS, arrays())
    return path


def manifest_of(folder):
    return json.loads((folder / "manifest.json").read_text())


def set_manifest(folder, manifest):
    """Write a manifest whose checksum is right, so that what it says is what gets checked."""
    manifest.pop("checksum", None)
    manifest["checksum"] = storage._checksum(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


class TestRoundTrip:
    def test_everything_comes_back(self, folder):
        for verify in (False, True):
            found = read_folder(folder, "Thing", verify=verify)
            assert (found.kind, found.kind_version, found.parameters) == ("Thing", 1, PARAMETERS)
            assert found.arrays.keys() == arrays().keys()
            for name, array in arrays().items():
                assert found.arrays[name].dtype == array.dtype
                np.testing.assert_array_equal(found.arrays[name], array)
                assert not found.arrays[name].flags.writeable

    def test_files_are_plain_npy(self, folder):
        file = manifest_of(folder)["files"]["vectors"]["file"]
        np.testing.assert_array_equal(np.load(folder / file, allow_pickle=False), arrays()["vectors"])

    def test_arrays_are_mapped_and_aligned(self, folder):
        vectors = read_folder(folder).arrays["vectors"]
        assert vectors.ctypes.data % 64 == 0
        assert not vectors.flags.owndata

    @pytest.mark.parametrize("code", storage._DTYPES)
    def test_dtypes(self, tmp_path, code):
        array = np.arange(6).reshape(2, 3).astype(code)
        write_folder(tmp_path / "x", "Thing", {}, {"a": array, "b": array.astype(array.dtype.newbyteorder(">"))})
        for back in read_folder(tmp_path / "x").arrays.values():
            assert back.dtype.str == code
            np.testing.assert_array_equal(back, array)

    def test_row_blocks_are_one_array(self, tmp_path):
        blocks = [np.ones((2, 3), np.float32), np.empty((0, 3), np.float32), np.zeros((9, 6), np.float32)[::2, ::2]]
        write_folder(tmp_path / "x", "Thing", {}, {"a": blocks})
        np.testing.assert_array_equal(read_folder(tmp_path / "x").arrays["a"], np.concatenate(blocks))

    def test_same_content_has_the_same_bytes(self, folder, tmp_path):
        write_folder(tmp_path / "again", "Thing", PARAMETERS, arrays())
        assert {p.name: p.read_bytes() for p in folder.iterdir()} == {
            p.name: p.read_bytes() for p in (tmp_path / "again").iterdir()
        }

    def test_large_files_are_hashed_in_pieces(self, tmp_path):
        array = np.arange(3 * 2**20, dtype=np.int64)
        write_folder(tmp_path / "x", "Thing", {}, {"a": array})
        entry = manifest_of(tmp_path / "x")["files"]["a"]
        assert entry["sha256"] == hashlib.sha256((tmp_path / "x" / entry["file"]).read_bytes()).hexdigest()
        np.testing.assert_array_equal(read_folder(tmp_path / "x", verify=True).arrays["a"], array)


class TestOverwriting:
    def test_refused_unless_asked(self, folder):
        with pytest.raises(AlreadyExists, match="overwrite=True"):
            write_folder(folder, "Thing", {}, {})
        assert read_folder(folder).parameters == PARAMETERS

    def test_readers_keep_what_they_opened(self, folder):
        before = read_folder(folder)
        write_folder(folder, "Other", {"x": 1}, {"vectors": np.zeros((2, 2))}, overwrite=True)
        np.testing.assert_array_equal(before.arrays["vectors"], arrays()["vectors"])
        after = read_folder(folder, verify=True)
        assert (after.kind, after.parameters, after.arrays["vectors"].shape) == ("Other", {"x": 1}, (2, 2))
        assert len(list(folder.iterdir())) == 2

    def test_foreign_files_stay(self, folder):
        (folder / "notes.txt").write_text("mine")
        write_folder(folder, "Thing", {}, {}, overwrite=True)
        assert (folder / "notes.txt").read_text() == "mine"

    def test_foreign_folders_and_files_are_never_replaced(self, tmp_path):
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "letter").write_text("x")
        (tmp_path / "file").write_text("x")
        (tmp_path / "link").symlink_to(tmp_path / "nowhere")
        for name in ("home", "file", "link"):
            with pytest.raises(AlreadyExists, match="not a folder written by isometry"):
                write_folder(tmp_path / name, "Thing", {}, {}, overwrite=True)

    def test_a_reader_caught_between_two_versions_tries_again(self, folder, monkeypatch):
        read_manifest, overwritten = storage._read_manifest, []

        def slow(path, kind):
            manifest = read_manifest(path, kind)
            if not overwritten:
                overwritten.append(True)
                write_folder(path, "Thing", {"new": True}, {"vectors": np.ones(3)}, overwrite=True)
            return manifest

        monkeypatch.setattr(storage, "_read_manifest", slow)
        assert read_folder(folder).parameters == {"new": True}

    def test_the_parent_must_exist(self, tmp_path):
        with pytest.raises(NotFound, match="create it"):
            write_folder(tmp_path / "a" / "b", "Thing", {}, {})


class TestFailedWrites:
    @pytest.mark.parametrize(
        "error", [OSError(errno.ENOSPC, "full"), OSError(errno.EDQUOT, "quota"), KeyboardInterrupt()]
    )
    @pytest.mark.parametrize("overwrite", [False, True])
    @pytest.mark.parametrize("fails_at", range(12))
    def test_nothing_is_left_behind(self, folder, tmp_path, monkeypatch, error, overwrite, fails_at):
        target = folder if overwrite else tmp_path / "new"
        before = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
        calls = iter(range(1000))

        def fsync(descriptor):
            if next(calls) == fails_at:
                raise error

        monkeypatch.setattr(os, "fsync", fsync)
        expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else StorageFull
        changed = {**arrays(), "vectors": np.ones((3, 3))}
        try:
            write_folder(target, "Thing", {"new": True}, changed, overwrite=overwrite)
        except expected:
            committed = target.exists() and read_folder(target, verify=True).parameters == {"new": True}
        else:
            committed = True
        if committed:
            assert read_folder(target, verify=True).parameters == {"new": True}
            assert fails_at >= len(changed) + 1, "committed before the files were safe"
        else:
            after = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
            assert after == before
            assert target.exists() == overwrite

    def test_storage_full_keeps_the_json(self, tmp_path, monkeypatch):
        atomic_write_json(tmp_path / "a.json", {"x": 1})

        def full(descriptor):
            raise OSError(errno.ENOSPC, "full")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StorageFull, match=r"a\.json"):
            atomic_write_json(tmp_path / "a.json", {"x": 2})
        assert read_json(tmp_path / "a.json") == {"x": 1}
        assert os.listdir(tmp_path) == ["a.json"]

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
    def test_other_system_errors_are_not_disguised(self, tmp_path, monkeypatch):
        def broken(descriptor):
            raise OSError(errno.EIO, "broken")

        monkeypatch.setattr(os, "fsync", broken)
        with pytest.raises(OSError, match="broken") as caught:
            write_folder(tmp_path / "x", "Thing", {}, arrays())
        assert not isinstance(caught.value, IsometryError)

    def test_killed_writers_leave_the_old_version(self, folder):
        """A process that dies at its n-th system call of interest: the folder reads as before or as after."""
        program = (
            "import os, sys, numpy as np\n"
            "from isometry.storage import write_folder\n"
            "left = [int(sys.argv[2])]\n"
            "def dying(name):\n"
            "    real = getattr(os, name)\n"
            "    def call(*args, **kwargs):\n"
            "        left[0] -= 1\n"
            "        if left[0] < 0: os._exit(9)\n"
            "        return real(*args, **kwargs)\n"
            "    setattr(os, name, call)\n"
            "for name in ('fsync', 'replace', 'rename', 'unlink'): dying(name)\n"
            "write_folder(sys.argv[1], 'Thing', {'new': True}, {'vectors': np.ones(4)}, overwrite=True)\n"
        )
        seen = []
        for step in range(0, 9, 2):
            subprocess.run([sys.executable, "-c", program, str(folder), str(step)], check=False)
            seen.append(read_folder(folder, verify=True).parameters)
        assert seen[0] == PARAMETERS
        assert seen[-1] == {"new": True}
        assert all(parameters in (PARAMETERS, {"new": True}) for parameters in seen)


class TestRefusedContent:
    @pytest.mark.parametrize("name", ["", "../up", "a/b", "A", "1a", "a.b", "a" * 65, "é", "manifest.json"])
    def test_names(self, tmp_path, name):
        with pytest.raises(InvalidInput, match="array name"):
            write_folder(tmp_path / "x", "Thing", {}, {name: np.ones(3)})

    @pytest.mark.parametrize(
        "array",
        [
            np.array([None]),
            np.array(["text"]),
            np.ones(3, complex),
            np.ones((1,) * 9),
            np.float32(1),
            np.zeros(2, "M8[s]"),
        ],
        ids=["object", "text", "complex", "nine axes", "no axis", "date"],
    )
    def test_arrays(self, tmp_path, array):
        with pytest.raises(InvalidInput, match="array 'a'"):
            write_folder(tmp_path / "x", "Thing", {}, {"a": np.asarray(array)})
        assert os.listdir(tmp_path) == []

    def test_unlike_blocks(self, tmp_path):
        for blocks in ([], [np.ones(3), np.ones((3, 1))], [np.ones(3), np.ones(3, np.int8)]):
            with pytest.raises(InvalidInput):
                write_folder(tmp_path / "x", "Thing", {}, {"a": blocks})

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}, b"x"])
    def test_parameters(self, tmp_path, value):
        with pytest.raises(InvalidInput, match="JSON"):
            write_folder(tmp_path / "x", "Thing", {"a": value}, {})
        with pytest.raises(InvalidInput, match="JSON"):
            atomic_write_json(tmp_path / "a.json", {"a": value})

    def test_a_huge_manifest(self, tmp_path, monkeypatch):
        monkeypatch.setattr(storage, "MANIFEST_BYTES", 1000)
        with pytest.raises(InvalidInput, match="at most 1000"):
            write_folder(tmp_path / "x", "Thing", {"a": "b" * 1000}, {})
        assert os.listdir(tmp_path) == []


DAMAGE = {
    "no files": lambda m: m.pop("files"),
    "files is a list": lambda m: m.update(files=[]),
    "parameters is text": lambda m: m.update(parameters="x"),
    "kind missing": lambda m: m.pop("kind"),
    "kind is a number": lambda m: m.update(kind=7),
    "kind version zero": lambda m: m.update(kind_version=0),
    "kind version true": lambda m: m.update(kind_version=True),
    "format unknown": lambda m: m.update(format="zip"),
    "format version text": lambda m: m.update(format_version="1"),
    "format version negative": lambda m: m.update(format_version=-1),
    "format version missing": lambda m: m.pop("format_version"),
    "entry is text": lambda m: m["files"].update(vectors="x"),
    "entry is empty": lambda m: m["files"].update(vectors={}),
    "array name escapes": lambda m: m["files"].update({"../x": m["files"].pop("vectors")}),
    **{
        f"{field} {value!r:.30}": lambda m, field=field, value=value: m["files"]["vectors"].update({field: value})
        for field, values in {
            "file": [
                "../../etc/passwd",
                "/etc/passwd",
                "a/b.npy",
                "",
                ".",
                None,
                3,
                "vectors-0123456789abcdef.npy",
                "x\0",
            ],
            "sha256": ["0" * 64, "short", None, "G" * 64, ["0"]],
            "bytes": [0, -1, 10**30, 1527, 1.5, "1528", None, True],
            "dtype": ["|O", "<f16", "O", "float32", ">f4", "<f8", "<U4", None, ["<f4"], {"x": 1}],
            "shape": [
                [],
                [50],
                [-50, -7],
                [7, 50],
                [2**62, 2**62],
                [10**30],
                [50.0, 7],
                ["50", 7],
                None,
                "50",
                [1] * 99,
            ],
        }.items()
        for value in values
    },
}


class TestDamage:
    @pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE.keys())
    def test_manifest_fields(self, folder, change):
        manifest = manifest_of(folder)
        change(manifest)
        set_manifest(folder, manifest)
        with pytest.raises(Damaged, match="damaged"):
            read_folder(folder)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"{",
            b"[]",
            b"null",
            b"\xff\xfe",
            b'{"a": NaN}',
            b"[" * 100_000,
            b'{"a":' * 5000,
            b"1" * 5000,
            b"\0" * 100,
        ],
    )
    def test_manifests_that_are_not_json(self, folder, content):
        (folder / "manifest.json").write_bytes(content)
        with pytest.raises(Damaged):
            read_folder(folder)

    def test_an_oversized_manifest(self, folder):
        with open(folder / "manifest.json", "ab") as file:
            file.truncate(storage.MANIFEST_BYTES + 1)
        with pytest.raises(Damaged, match="at most"):
            read_folder(folder)

    def test_newer_formats(self, folder):
        manifest = manifest_of(folder)
        set_manifest(folder, {**manifest, "format_version": 2})
        with pytest.raises(NewerFormat, match="install a newer isometry"):
            read_folder(folder)
        set_manifest(folder, {**manifest, "kind_version": 9})
        with pytest.raises(NewerFormat, match="version 9"):
            read_folder(folder).require_version(8)

    def test_what_is_not_there(self, folder, tmp_path):
        (tmp_path / "file").write_text("x")
        (tmp_path / "empty").mkdir()
        for path in (tmp_path / "nowhere", tmp_path / "file", tmp_path / "empty"):
            with pytest.raises(NotFound):
                read_folder(path)
        with pytest.raises(NotFound, match="holds 'Thing', not 'Flat'"):
            read_folder(folder, "Flat")
        with pytest.raises(NotFound):
            read_json(tmp_path / "nowhere.json")

    def vectors_file(self, folder):
        return folder / manifest_of(folder)["files"]["vectors"]["file"]

    def test_truncated_and_grown_files(self, folder):
        path = self.vectors_file(folder)
        whole = path.read_bytes()
        for content in (b"", whole[:-1], whole[:64], whole + b"x"):
            path.write_bytes(content)
            with pytest.raises(Damaged, match="bytes; its manifest says"):
                read_folder(folder)

    def test_headers_are_compared(self, folder):
        path = self.vectors_file(folder)
        whole = path.read_bytes()
        path.write_bytes(whole.replace(b"False", b"True "))
        with pytest.raises(Damaged, match="header"):
            read_folder(folder)

    def test_missing_files_pipes_and_links(self, folder, tmp_path):
        path = self.vectors_file(folder)
        path.rename(tmp_path / "elsewhere.npy")
        with pytest.raises(Damaged, match="is missing"):
            read_folder(folder)
        path.symlink_to(tmp_path / "elsewhere.npy")
        with pytest.raises(Damaged, match="not a regular file"):
            read_folder(folder)
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(Damaged, match="not a regular file"):
            read_folder(folder)
        path.unlink()
        path.mkdir()
        with pytest.raises(Damaged, match="not a regular file"):
            read_folder(folder)

    def test_the_manifest_is_a_folder(self, folder):
        (folder / "manifest.json").unlink()
        (folder / "manifest.json").mkdir()
        with pytest.raises(Damaged, match="not a regular file"):
            read_folder(folder)

    def test_every_flipped_bit_of_small_files_is_noticed(self, folder):
        for path in folder.iterdir():
            whole = path.read_bytes()
            for at in range(0, len(whole), 7):
                path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])
                with pytest.raises((Damaged, NewerFormat)):
                    read_folder(folder)
            path.write_bytes(whole)
        read_folder(folder, verify=True)

    def test_flips_in_large_files_are_noticed_on_request(self, tmp_path):
        write_folder(tmp_path / "x", "Thing", {}, {"a": np.zeros(storage.ALWAYS_VERIFIED_BYTES, np.uint8)})
        path = tmp_path / "x" / manifest_of(tmp_path / "x")["files"]["a"]["file"]
        with open(path, "r+b") as file:
            file.seek(500_000)
            file.write(b"\x01")
        assert read_folder(tmp_path / "x").arrays["a"].sum() == 1
        with pytest.raises(Damaged, match="checksum"):
            read_folder(tmp_path / "x", verify=True)

    def test_typed_access(self, folder):
        found = read_folder(folder)
        assert found.parameter("metric", str) == "dot"
        for name, of_type in (("metric", int), ("absent", str), ("levels", str)):
            with pytest.raises(Damaged, match=name):
                found.parameter(name, of_type)
        assert found.array("vectors", np.float32, (None, 7)).shape == (50, 7)
        for name, dtype, shape in (("vectors", np.float64, (50, 7)), ("vectors", np.float32, (50,)), ("x", bool, (1,))):
            with pytest.raises(Damaged, match=name):
                found.array(name, dtype, shape)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
FIELDS = "files vectors mask file bytes dtype shape sha256 kind kind_version format format_version parameters isometry"
paths = st.lists(st.sampled_from(FIELDS.split()), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz") / "index"
    write_folder(path, "Thing", PARAMETERS, arrays())
    return path


fuzz = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
few = settings(fuzz, max_examples=40)


class TestFuzz:
    @fuzz
    @given(path=paths, value=json_values)
    def test_any_value_anywhere_in_the_manifest(self, pristine, path, value):
        manifest = manifest_of(pristine)
        whole = (pristine / "manifest.json").read_bytes()
        place = manifest
        for key in path[:-1]:
            if not isinstance(place.get(key), dict):
                return
            place = place[key]
        place[path[-1]] = value
        try:
            set_manifest(pristine, manifest)
            read_folder(pristine, verify=True)
        except IsometryError:
            pass
        finally:
            (pristine / "manifest.json").write_bytes(whole)

    @fuzz
    @given(data=st.data())
    def test_any_bytes_in_any_file(self, pristine, data):
        path = data.draw(st.sampled_from(sorted(pristine.iterdir())))
        whole = path.read_bytes()
        start = data.draw(st.integers(0, len(whole)))
        stop = data.draw(st.integers(start, len(whole)))
        expected = read_folder(pristine, verify=True)
        changed = whole[:start] + data.draw(st.binary(max_size=80)) + whole[stop:]
        path.write_bytes(changed)
        try:
            found = read_folder(pristine, verify=True)
        except (Damaged, NewerFormat):
            assert changed != whole
        else:
            # Only what JSON itself does not mind, such as a blank between two of its parts, may go unnoticed.
            assert changed == whole or json.loads(changed) == json.loads(whole)
            assert (found.kind, found.parameters) == (expected.kind, expected.parameters)
            assert all(np.array_equal(found.arrays[name], array) for name, array in expected.arrays.items())
        finally:
            path.write_bytes(whole)

    @fuzz
    @given(
        value=st.dictionaries(st.text(), json_values.filter(lambda v: "nan" not in repr(v) and "inf" not in repr(v)))
    )
    def test_json_round_trip(self, pristine, value):
        path = pristine.parent / "value.json"
        atomic_write_json(path, value)
        assert read_json(path) == value

    @few
    @given(
        name=st.text(string.ascii_lowercase, min_size=1, max_size=8),
        shape=st.lists(st.integers(0, 4), min_size=1, max_size=4).map(tuple),
        code=st.sampled_from(storage._DTYPES),
    )
    def test_array_round_trip(self, pristine, name, shape, code):
        path = pristine.parent / "array"
        array = np.random.default_rng(0).integers(0, 2, shape).astype(code)
        shutil.rmtree(path, ignore_errors=True)
        write_folder(path, "Thing", {}, {name: array})
        np.testing.assert_array_equal(read_folder(path, verify=True).arrays[name], array)


@given(shape=st.lists(st.integers(0, 10**6), min_size=1, max_size=8).map(tuple), code=st.sampled_from(storage._DTYPES))
def test_headers_are_what_numpy_reads(shape, code):
    header = storage._npy_header(code, shape)
    assert len(header) % 64 == 0
    file = io.BytesIO(header)
    assert np.lib.format.read_magic(file) == (1, 0)
    assert np.lib.format.read_array_header_1_0(file) == (shape, False, np.dtype(code))
    assert file.tell() == len(header)
