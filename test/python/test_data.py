# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Data of every form, and every way in which it can be wrong."""

from __future__ import annotations

import pathlib
import pickle

import numpy as np
import pytest
from PIL import Image
from tosa_rescale.core.errors import DataError, OptionError
from tosa_rescale.core.quantization import TensorQuantization
from tosa_rescale.data.dataset import InputSpec, Preprocessing, load_data
from tosa_rescale.data.source import CalibrationPlan, as_dataset, input_arrays, random_inputs

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
        ("", "columns file,label or file,mask"),
        ("name,label\na,1\n", "columns file,label or file,mask"),
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
    with pytest.raises(DataError, match=r"1 of 4 images cannot be read: broken\.jpg; .*`allow_unreadable=True`"):
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
        ({"z": np.zeros(3)}, "has no array for input; the model's inputs are input, the arrays z"),
        ({"y": np.zeros(3)}, r"has no samples; save them with numpy\.savez\(path, x=samples, y=labels\)"),
        ({"x": np.zeros(3, np.int8)}, r"samples have shape \(\), the model's input input takes \(4, 4, 3\)"),
        ({"x": np.int8(3)}, "needs samples along the first dimension of every array, .* has `x` a single number"),
        ({"x": np.zeros((2, 4, 4, 3), np.int8), "y": np.zeros(3, np.int64)}, "`y` has 3 rows, needs 2 for 2 samples"),
        ({"x": np.zeros((2, 4, 4, 3), np.int8), "y": np.array(["a", "b"])}, "`y` has type <U1; needs numbers"),
        ({"x": np.zeros((3, 4, 4, 3), np.int8), "score": np.zeros(1)}, "`score` has 1 row, needs 1.5 for 3 samples"),
        ({"x": np.zeros((2, 5, 4, 3), np.int8)}, r"samples have shape \(5, 4, 3\), the model's input input takes \(4, 4, 3\)"),
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


# -- labels ------------------------------------------------------------------------------------------------------------


def test_a_table_that_leaves_images_out_says_how_many(folder: pathlib.Path) -> None:
    (folder / "labels.csv").write_text("file,label\ncat/a.png,3\n")
    assert load_data(folder).notes == ("labels.csv lists 1 of 3 images; 2 left out: b.png, c.png",)
    (folder / "labels.csv").write_text("file,label\ncat/a.png,3\ncat/b.png,3\ndog/c.png,3\n")
    assert load_data(folder).notes == ()


def test_labels_can_be_ignored(folder: pathlib.Path) -> None:
    assert load_data(folder, Preprocessing(ignore_labels=True)).labels is None


def test_masks_are_cropped_as_their_images_are(tmp_path: pathlib.Path) -> None:
    classes = np.arange(16, dtype=np.uint8).reshape(4, 4)
    save_image(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    save_image(tmp_path / "masks" / "a.png", classes)
    (tmp_path / "labels.csv").write_text("file,mask\na.png,masks/a.png\n")
    data = load_data(tmp_path, Preprocessing(crop_fraction=0.5))
    assert data.notes == ()  # a mask is no image that was left out
    assert data.masks((2, 2)).tolist() == [[[5, 6], [9, 10]]]
    assert data.masks((4, 4))[0, :, 0].tolist() == [5, 5, 9, 9]
    assert data.detached().masks((2, 2)).tolist() == [[[5, 6], [9, 10]]]
    save_image(tmp_path / "masks" / "a.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(DataError, match="a mask of mode RGB names no classes"):
        data.masks((2, 2))
    with pytest.raises(DataError, match="has no labels; needs a mask for each sample"):
        load_data(tmp_path, Preprocessing(ignore_labels=True)).masks((2, 2))


def test_keypoints_of_images_come_from_an_archive(folder: pathlib.Path) -> None:
    points = np.zeros((2, 17, 3), np.float32)
    np.savez(folder / "labels.npz", files=np.array(["dog/c.png", "cat/a.png"]), y=points)
    data = load_data(folder)
    assert [p.name for p in data.samples] == ["c.png", "a.png"]  # type: ignore[union-attr]
    assert np.shape(data.labels) == (2, 17, 3)
    np.savez(folder / "labels.npz", files=np.array(["dog/c.png"]), y=points)
    with pytest.raises(DataError, match=r"needs arrays `files` \[N\], names of images, and `y` \[N, \.\.\.\]"):
        load_data(folder)


def test_pairs_stay_together() -> None:
    x = np.arange(12, dtype=np.int8)[:, None]
    data = as_dataset({"x": x, "score": np.arange(6) / 10, "mask": np.ones((12, 3))})
    taken, rest = data.take(4), data.drop(4)
    assert np.asarray(taken.samples)[:, 0].tolist() == [2, 3, 8, 9]
    assert taken.extras["score"].tolist() == [0.1, 0.4] and taken.extras["mask"].shape == (4, 3)
    assert rest.extras["score"].tolist() == [0.0, 0.2, 0.3, 0.5]
    assert data[4:8].extras["score"].tolist() == [0.2, 0.3]
    left = data.without(as_dataset(x[5:6]))  # one row of the third pair
    assert left.extras["score"].tolist() == [0.0, 0.1, 0.3, 0.4, 0.5] and len(left) == 10


def test_integers_of_48_bits_are_held_to_48_bits() -> None:
    spec = InputSpec((2,), np.dtype(np.int64), None, "sums", limits=(-(1 << 47), (1 << 47) - 1))
    edges = np.array([[-(1 << 47), (1 << 47) - 1]])
    assert input_arrays(as_dataset(edges), [spec])[0] is not None
    for bad in (edges - 1, edges + 1):
        with pytest.raises(DataError, match=r"the model's input sums takes -140737488355328 to 140737488355327$"):
            input_arrays(as_dataset(bad), [spec])
    (drawn,) = random_inputs([spec], 100)
    assert drawn.dtype == np.int64 and (np.abs(drawn) <= 1 << 47).all() and np.abs(drawn).max() > 1 << 45
    (booleans,) = random_inputs([InputSpec((50,), np.dtype(bool), None)], 1)
    assert booleans.dtype == bool and booleans.any() and not booleans.all()


# -- several inputs ----------------------------------------------------------------------------------------------------

TWO = (
    InputSpec((2,), np.dtype(np.int8), TensorQuantization("serving_default_image:0", 0.5, 0), "image"),
    InputSpec((), np.dtype(np.int32), None, "position"),
)


def test_several_inputs_are_found_by_name(tmp_path: pathlib.Path) -> None:
    image, position = np.arange(6, dtype=np.int8).reshape(3, 2), np.array([7, 8, 9])
    for name in ("image", "serving_default_image:0", "input0", "x0"):
        np.savez(tmp_path / "x.npz", **{"position": position, name: image, "y": np.array([0, 1, 0])})  # type: ignore[arg-type]
        data = load_data(tmp_path / "x.npz")
        first, second = input_arrays(data, TWO)
        assert (first == image).all() and second.tolist() == [7, 8, 9] and second.dtype == np.int32
        assert data.labels is not None and data.labels.tolist() == [0, 1, 0]
    batches = list(as_dataset({"image": image, "position": position}).batches(TWO, chunk=2))
    assert [[len(each) for each in batch] for batch in batches] == [[2, 2], [1, 1]]
    assert len(as_dataset({"image": image, "position": position}).take(2)) == 2


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"image": np.zeros((3, 2), np.int8)},
            "has no array for position; the model's inputs are image, position, the arrays image",
        ),
        (
            {"image": np.zeros((3, 2), np.int8), "position": np.zeros(3, np.int32), "more": np.zeros(3)},
            "has arrays that are no input: more; the model's inputs are image, position",
        ),
        (
            {"image": np.zeros((3, 2), np.int8), "position": np.zeros(4, np.int32)},
            "as many for each input; has `image` 3, `position` 4",
        ),
        (
            {"image": np.zeros((3, 2), np.int8), "position": np.full(3, 1 << 40)},
            "has integers from 1099511627776 to 1099511627776",
        ),
        (
            {"image": np.zeros((3, 4), np.int8), "position": np.zeros(3, np.int32)},
            r"shape \(4,\), the model's input image takes \(2,\)",
        ),
        (
            {"x": np.zeros((3, 2), np.int8)},
            "holds samples of one input, the model has 2; .* an array for each: image, position",
        ),
    ],
)
def test_arrays_that_do_not_fit_the_inputs_are_named(arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=message):
        input_arrays(as_dataset(arrays), TWO)


def test_images_for_several_inputs_are_refused(folder: pathlib.Path) -> None:
    with pytest.raises(DataError, match="holds samples of one input, the model has 2"):
        input_arrays(load_data(folder), TWO)


# -- data from memory --------------------------------------------------------------------------------------------------


class Tensor:
    """What a torch tensor offers to NumPy."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape = array, array.shape

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return self.array


def test_data_sets_are_made_of_what_is_at_hand(tmp_path: pathlib.Path) -> None:
    x, y = np.arange(10, dtype=np.int8).reshape(5, 2), np.array([0, 1, 2, 3, 4])
    np.savez(tmp_path / "x.npz", x=x, y=y)
    made = [
        as_dataset(tmp_path / "x.npz"),
        as_dataset(str(tmp_path / "x.npz")),
        as_dataset((x, y)),
        as_dataset({"x": x, "y": y[:, None]}),
        as_dataset((x[i : i + 2], y[i : i + 2]) for i in (0, 2, 4)),
        as_dataset([[Tensor(x[:3]), Tensor(y[:3])], [Tensor(x[3:]), Tensor(y[3:])]]),
        as_dataset([{"x": x[:3], "y": y[:3]}, {"x": x[3:], "y": y[3:]}]),
    ]
    for data in made:
        assert (np.asarray(data.samples) == x).all()
        assert data.classes is not None and data.classes.tolist() == y.tolist()
    assert {data.fingerprint() for data in made} == {made[0].fingerprint()}
    assert as_dataset(made[0]) is made[0]
    assert as_dataset(x).labels is None
    assert CalibrationPlan(source=x).inputs([InputSpec((2,), np.dtype(np.int8), None)])[0].shape == (5, 2)  # type: ignore[index]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (3, "int is no data set; give a Dataset, a path, an array"),
        ([], "holds no samples"),
        (["a"], "^a: is no image file; a list of texts names files of images"),
        (["a", np.zeros(2)], "a batch is str; needs an array"),
        ([np.zeros((2, 3)), np.zeros((2, 4))], r"batches of `x` have samples of shapes \(3,\), \(4,\); needs one shape"),
        ([{"x": np.zeros(2)}, {"z": np.zeros(2)}], "batch 1 has z, the first one x"),
        (np.zeros((0, 3)), "holds no samples"),
    ],
)
def test_what_is_no_data_set_is_named(data: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        as_dataset(data)


# -- a function of the user's own --------------------------------------------------------------------------------------


def corners(image: Image.Image) -> np.ndarray:
    """The upper left corner, real values."""
    return np.asarray(image.convert("RGB"), np.float32)[:4, :4] / 255


def test_a_function_takes_the_place_of_cropping(folder: pathlib.Path) -> None:
    found = whole(folder, INT8, Preprocessing(preprocess=corners))
    assert found[:, 0, 0, 0].tolist() == [-1, 63, 127]  # 0, 128/255 and 1 times 128, less 1
    assert load_data(folder, Preprocessing(preprocess=corners)).fingerprint() != load_data(folder).fingerprint()


def test_a_function_is_found_by_name(folder: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_preprocessing.py").write_text("import numpy\ndef dark(image): return numpy.zeros((4, 4, 3), numpy.int8)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["", *__import__("sys").path])
    assert (whole(folder, INT8, Preprocessing(preprocess="own_preprocessing:dark")) == 0).all()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda _: np.zeros((4, 4)), r"samples have shape \(4, 4\), the model's input input takes \(4, 4, 3\)"),
        (lambda _: "text", "returns <U4 for .*a.png; needs an array of numbers"),
        (lambda _: 1 / 0, "raised ZeroDivisionError on .*a.png: division by zero"),
    ],
)
def test_a_function_that_fails_is_named(folder: pathlib.Path, function: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        whole(folder, INT8, Preprocessing(preprocess=function))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("module", "'module' names no function; give it as module:function"),
        ("no_such_module:f", "there is no module no_such_module on Python's path"),
        ("math:no_such", "math has no function no_such"),
        ("math:pi", "math:pi is no function"),
    ],
)
def test_a_function_that_does_not_exist_is_an_error(name: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Preprocessing(preprocess=name)


def test_channels_may_come_first(folder: pathlib.Path) -> None:
    first = InputSpec((3, 4, 4), np.dtype(np.uint8), None)
    last = InputSpec((4, 4, 3), np.dtype(np.uint8), None)
    assert (whole(folder, first) == whole(folder, last).transpose(0, 3, 1, 2)).all()
