# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Data of every form, and every way in which it can be wrong."""

from __future__ import annotations

import pathlib
import pickle

import numpy as np
import pytest
from PIL import Image
from tosa_rescale.core.errors import DataError
from tosa_rescale.core.quantization import TensorQuantization
from tosa_rescale.data.dataset import InputSpec, Preprocessing, load_data

INT8 = InputSpec((4, 4, 3), np.dtype(np.int8), TensorQuantization("image", 1 / 128, -1))
UINT8 = InputSpec((4, 4, 3), np.dtype(np.uint8), TensorQuantization("image", 1 / 128, 127))


def save_image(path: pathlib.Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def whole(data_path: pathlib.Path, spec: InputSpec, preprocessing: Preprocessing | None = None) -> np.ndarray:
    return np.concatenate(list(load_data(data_path, preprocessing).quantized(spec, chunk=2)))


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """Three 8 x 8 images in two classes; each image is of one grey level."""
    for name, level in (("cat/a.png", 0), ("cat/b.png", 128), ("dog/c.png", 255)):
        save_image(tmp_path / "images" / name, np.full((8, 8, 3), level, np.uint8))
    return tmp_path / "images"


def test_class_folders_give_labels_in_sorted_order(folder: pathlib.Path) -> None:
    labels = load_data(folder).labels
    assert labels is not None and labels.tolist() == [0, 0, 1]


def test_label_offset_is_added(folder: pathlib.Path) -> None:
    labels = load_data(folder, Preprocessing(label_offset=1)).labels
    assert labels is not None and labels.tolist() == [1, 1, 2]


def test_pixels_go_one_to_one_onto_eight_bits(folder: pathlib.Path) -> None:
    assert whole(folder, INT8)[:, 0, 0, 0].tolist() == [-128, 0, 127]
    assert whole(folder, UINT8)[:, 0, 0, 0].tolist() == [0, 128, 255]


def test_mean_and_std_go_through_the_inputs_scale(folder: pathlib.Path) -> None:
    # (255 - 127) / 128 = 1.0; 1.0 * 128 - 1 = 127. (0 - 127) / 128 * 128 - 1 = -128. (128 - 127) - 1 = 0.
    assert whole(folder, INT8, Preprocessing(mean=127, std=128))[:, 0, 0, 0].tolist() == [-128, 0, 127]
    # Without the mean 255 / 128 = 1.99 is beyond the input's range and saturates.
    assert whole(folder, INT8, Preprocessing(mean=0, std=128))[:, 0, 0, 0].tolist() == [-1, 127, 127]


def test_centre_crop_takes_the_middle(tmp_path: pathlib.Path) -> None:
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[2:6, 6:10] = 200  # the centred 4 x 4 of an 8 x 16 image
    save_image(tmp_path / "x.png", pixels)
    assert (whole(tmp_path, UINT8, Preprocessing(crop_fraction=0.5)) == 200).all()


def test_labels_csv_names_files_and_labels(folder: pathlib.Path) -> None:
    (folder / "labels.csv").write_text("file,label\ndog/c.png,7\ncat/a.png,3\n")
    data = load_data(folder)
    assert data.labels is not None and data.labels.tolist() == [7, 3]
    assert [p.name for p in data.samples] == ["c.png", "a.png"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "columns file,label"),
        ("name,label\na,1\n", "columns file,label"),
        ("file,label\ncat/a.png,1\ncat/nowhere.png,2\n", r"1 of 2 files do not exist: cat/nowhere.png"),
        ("file,label\ncat/a.png,seven\n", r"label of cat/a.png is not a whole number"),
        ("file,label\ncat/a.png\n", r"label of cat/a.png is not a whole number"),
    ],
)
def test_bad_label_tables_are_named(folder: pathlib.Path, text: str, message: str) -> None:
    (folder / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        load_data(folder)


def test_unreadable_images_are_counted_and_named(folder: pathlib.Path) -> None:
    (folder / "dog" / "broken.jpg").write_bytes(b"\xff\xd8\xff not a jpeg")
    with pytest.raises(DataError, match=r"1 of 4 images cannot be read: broken\.jpg; .*--allow-unreadable"):
        load_data(folder)
    labels = load_data(folder, Preprocessing(allow_unreadable=True)).labels
    assert labels is not None and labels.tolist() == [0, 0, 1]


def test_image_broken_behind_its_header_is_an_error(folder: pathlib.Path) -> None:
    rng = np.random.default_rng(0)
    save_image(folder / "dog" / "d.jpg", rng.integers(0, 255, (64, 64, 3), np.uint8))
    data = (folder / "dog" / "d.jpg").read_bytes()
    (folder / "dog" / "d.jpg").write_bytes(data[: len(data) // 2])  # the header is whole, the pixels are not
    with pytest.raises(DataError, match=r"d\.jpg: cannot be decoded"):
        whole(folder, INT8)


def test_stray_images_beside_classes_are_an_error(folder: pathlib.Path) -> None:
    save_image(folder / "stray.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError, match=r"stray\.png beside them"):
        load_data(folder)


@pytest.mark.parametrize("make", ["missing", "empty", "text"])
def test_no_data_is_an_error(tmp_path: pathlib.Path, make: str) -> None:
    path = tmp_path / make
    if make == "empty":
        path.mkdir()
    elif make == "text":
        path.write_text("x")
    message = {"missing": "does not exist", "empty": "holds no samples", "text": "neither a folder"}[make]
    with pytest.raises(DataError, match=message):
        load_data(path)


def test_npz_rows_are_taken_by_their_type(tmp_path: pathlib.Path) -> None:
    own = np.arange(-48, 48, dtype=np.int8).reshape(2, 4, 4, 3)
    np.savez(tmp_path / "own.npz", x=own, y=np.array([1, 2]))
    assert (whole(tmp_path / "own.npz", INT8) == own).all()
    np.savez(tmp_path / "pixels.npz", x=np.full((2, 4, 4, 3), 255, np.uint8))
    assert (whole(tmp_path / "pixels.npz", INT8) == 127).all()
    np.savez(tmp_path / "real.npz", x=np.full((2, 4, 4, 3), 0.5, np.float32))
    assert (whole(tmp_path / "real.npz", INT8) == 63).all()  # 0.5 * 128 - 1


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": np.zeros(3)}, "no array `x`"),
        ({"x": np.zeros(3, np.int8)}, "along the first dimension"),
        ({"x": np.zeros((2, 4, 4, 3), np.int8), "y": np.zeros(3, np.int64)}, r"needs integers of shape \(2,\)"),
        ({"x": np.zeros((2, 4, 4, 3), np.int8), "y": np.zeros(2)}, "needs integers"),
        ({"x": np.zeros((2, 5, 4, 3), np.int8)}, r"samples have shape \(5, 4, 3\), the model's input takes \(4, 4, 3\)"),
        ({"x": np.zeros((2, 4, 4, 3), np.int32)}, "samples are int32; the model takes int8"),
        ({"x": np.full((2, 4, 4, 3), np.nan)}, "not finite"),
    ],
)
def test_bad_archives_are_named(tmp_path: pathlib.Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message):
        whole(tmp_path / "bad.npz", INT8)


class _Payload:
    """Unpickling it makes a file: the sign that an archive ran code."""

    def __init__(self, sign: pathlib.Path) -> None:
        self.sign = sign

    def __reduce__(self) -> tuple[object, ...]:
        return (pathlib.Path.touch, (self.sign,))


def test_archives_cannot_run_code(tmp_path: pathlib.Path) -> None:
    sign = tmp_path / "ran"
    assert pickle.dumps(_Payload(sign))
    np.savez(tmp_path / "evil.npz", x=np.array([_Payload(sign)], object))
    with pytest.raises(DataError, match="plain arrays"):
        load_data(tmp_path / "evil.npz")
    assert not sign.exists()


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 truncated", b"\x00" * 100])
def test_corrupt_archives_are_an_error(tmp_path: pathlib.Path, data: bytes) -> None:
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(DataError, match=r"not a readable \.npz"):
        load_data(tmp_path / "x.npz")


def test_take_spreads_and_drop_is_the_rest(tmp_path: pathlib.Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.arange(10, dtype=np.int8)[:, None], y=np.arange(10))
    data = load_data(tmp_path / "x.npz")
    assert np.asarray(data.take(2).samples)[:, 0].tolist() == [2, 7]
    rest = data.drop(2)
    assert rest.labels is not None and rest.labels.tolist() == [0, 1, 3, 4, 5, 6, 8, 9]
    with pytest.raises(DataError, match=r"11 samples asked for, has 10; ask for 1 to 10"):
        data.take(11)


def test_a_model_without_scale_takes_integers_only(tmp_path: pathlib.Path) -> None:
    np.savez(tmp_path / "real.npz", x=np.zeros((1, 4, 4, 3), np.float32))
    with pytest.raises(DataError, match="does not say its input's scale"):
        whole(tmp_path / "real.npz", InputSpec((4, 4, 3), np.dtype(np.int8), None))
