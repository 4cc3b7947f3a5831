"""safetensors in and out: the same bytes each time, readable by the safetensors package, errors that name the file."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors import safe_open
from safetensors.numpy import load, save_file

from seatools.streams.errors import SeaError
from seatools.streams.tensors import load_tensors, read_header, save_tensors

SAMPLE: dict[str, np.ndarray] = {
    "b": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a": np.array([1, 2, 3], np.uint8),
    "c": np.array(True),
    "d/é": np.zeros((0, 4), np.uint16),
    "strided": np.arange(12, dtype=">i8").reshape(3, 4)[::2, ::-1],
}
METADATA = {"z": "1", "a": "é", "digest": "ab" * 32}


def encoded(tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> bytes:
    stream = io.BytesIO()
    save_tensors(stream, tensors, metadata)
    return stream.getvalue()


def same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    assert set(first) == set(second)
    for name in first:
        assert first[name].dtype == second[name].dtype.newbyteorder("=") and first[name].shape == second[name].shape
        assert np.array_equal(first[name], second[name], equal_nan=first[name].dtype.kind == "f")


def test_the_package_reads_what_we_write(tmp_path: Path) -> None:
    save_tensors(tmp_path / "a.safetensors", SAMPLE, METADATA)
    with safe_open(tmp_path / "a.safetensors", "np") as reader:
        same({name: reader.get_tensor(name) for name in reader.keys()}, SAMPLE)  # noqa: SIM118
        assert reader.metadata() == METADATA


def test_torch_reads_every_tensor_from_its_boundary(tmp_path: Path) -> None:
    """Names in an order that would put wide tensors behind an odd number of bytes."""
    safetensors_torch = pytest.importorskip("safetensors.torch")
    tensors: dict[str, np.ndarray] = {
        "a": np.ones(3, np.uint8),
        "b": np.ones(5, np.float32),
        "c": np.ones(1, bool),
        "d": np.ones(2, np.int64),
    }
    save_tensors(tmp_path / "a", tensors, {})
    assert {name: tensor.sum().item() for name, tensor in safetensors_torch.load_file(tmp_path / "a").items()} == {
        "a": 3, "b": 5, "c": 1, "d": 2,
    }  # fmt: skip
    header, _, start = read_header(tmp_path / "a")
    assert [(start + header[name]["data_offsets"][0]) % tensors[name].itemsize for name in tensors] == [0] * 4


def test_we_read_what_the_package_writes(tmp_path: Path) -> None:
    tensors = {
        name: np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="))) for name, array in SAMPLE.items()
    }
    save_file(tensors, tmp_path / "a", METADATA)
    got, metadata = load_tensors(tmp_path / "a")
    same(got, tensors)
    assert metadata == METADATA


def test_bytes_do_not_depend_on_the_order_of_names() -> None:
    reverse = dict(reversed(SAMPLE.items())), dict(reversed(METADATA.items()))
    assert encoded(SAMPLE, METADATA) == encoded(*reverse)


@given(
    st.dictionaries(
        st.text(max_size=5).filter(lambda name: name != "__metadata__"),
        hnp.arrays(
            st.sampled_from(["f2", "f4", "f8", "u1", "i4", "u8", "?"]), hnp.array_shapes(min_dims=0, min_side=0)
        ),
        max_size=4,
    )
)
def test_any_tensors_come_back(tensors: dict[str, np.ndarray]) -> None:
    same(load(encoded(tensors, {})), tensors)


def test_the_header_alone(tmp_path: Path) -> None:
    save_tensors(tmp_path / "a", {"x": np.zeros((2, 3), np.float16)}, {"kind": "test"})
    header, metadata, start = read_header(tmp_path / "a")
    assert header == {"x": {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]}}
    assert metadata == {"kind": "test"}
    assert start + 12 == (tmp_path / "a").stat().st_size and start % 8 == 0


def test_every_cut_is_noticed_and_named(tmp_path: Path) -> None:
    whole = encoded(SAMPLE, METADATA)
    path = tmp_path / "cut.safetensors"
    for length in [*range(0, 20), len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(SeaError, match=r"cut\.safetensors: "):
            read_header(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(SeaError, match="where its header promises"):
        load_tensors(path)


def with_header(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x02}q\x00(pickle and so on", "not a safetensors file, or cut off"),
        (with_header(b"not json"), "its header is not JSON"),
        (with_header(b'{"\xff": 1}'), "its header is not JSON"),
        (with_header([1]), "its header is not an object"),
        (with_header({"x": 5}), 'tensor "x" has no valid entry'),
        (with_header({"x": {"dtype": "F32", "shape": None, "data_offsets": [0, 4]}}, b"1234"), "no valid entry"),
        (with_header({"x": {"dtype": "F32", "shape": [1], "data_offsets": ["0", "4"]}}, b"1234"), "no valid entry"),
        (with_header({"x": {"dtype": "F32", "shape": [9], "data_offsets": [0, 4]}}, b"1234"), "no valid entry"),
        (with_header({"x": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}, b"1234"), "is BF16, which numpy"),
        (with_header({"x": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1], "y": 0}}, b"1"), "no valid entry"),
        (with_header({"__metadata__": {"a": 1}}), "metadata in its header is not text"),
    ],
)
def test_foreign_files_are_errors_that_name_them(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(SeaError, match=rf"x\.safetensors: .*{message}|x\.safetensors: {message}"):
        load_tensors(tmp_path / "x.safetensors")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SeaError, match=r"none: No such file"):
        read_header(tmp_path / "none")


def test_a_failing_write_keeps_the_old_file(tmp_path: Path) -> None:
    save_tensors(tmp_path / "a", SAMPLE, {})
    before = (tmp_path / "a").read_bytes()
    with pytest.raises(KeyError):
        save_tensors(tmp_path / "a", {"x": np.zeros(2, np.complex128)}, {})
    assert (tmp_path / "a").read_bytes() == before
