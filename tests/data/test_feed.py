"""The feed: same batches for the same (seed, epoch, index), whoever asks, in whatever order, on any backend."""

from __future__ import annotations

import random
import threading
import time

import numpy as np
import pytest

from segnosis.core.dataset_spec import DatasetSpec
from segnosis.core.errors import DataError
from segnosis.core.sample import Sample
from segnosis.data.batches import Batches
from segnosis.data.feed import feed
from segnosis.data.sample_cache import SampleCache
from segnosis.data.transforms import Crop, Cutmix, Mixup, Resize, Rotate


class Pictures:
    """Pictures of several sizes; the number of the sample is in every pixel of image and mask."""

    name = "pictures"

    def __init__(self, count: int = 10, *, bad: tuple[int, ...] = (), ignore_class: int | None = None) -> None:
        names = ("background", *(f"class {k}" for k in range(1, max(count, 12) + 1)))
        self.spec = DatasetSpec("memory", "arrays", names, channels=2, ignore_class=ignore_class)
        self.ids = [f"picture-{k}" for k in range(count)]
        self.bad, self.decoded = bad, []

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        self.decoded.append(index)
        if index in self.bad:
            raise OSError("broken data stream")
        shape = (24 + index, 30 - index)
        image = np.full((*shape, 2), index + 1, np.uint8)
        image[..., 1] = np.arange(shape[1])
        return Sample(image, np.full(shape, index + 1, np.uint8), self.ids[index], self.ids[index])


def everything(batches: Batches) -> list[tuple[np.ndarray, np.ndarray]]:
    return [batches[step] for step in range(len(batches))]


def numbers(batches: Batches) -> list[int]:
    """Which samples come, in order."""
    return [int(image[..., 0].max()) - 1 for x, _ in everything(batches) for image in x]


def by_sample(batches: Batches) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    return {int(np.median(b[b != 255])): (a, b) for x, y in everything(batches) for a, b in zip(x, y, strict=True)}


def make(dataset: Pictures | None = None, **settings: object) -> Batches:
    settings = {"batch_size": 4, "size": 16, "workers": 0, **settings}
    return feed(Pictures() if dataset is None else dataset, **settings)  # type: ignore[arg-type]


def assert_same(first: list, second: list) -> None:
    for (x, y), (other_x, other_y) in zip(first, second, strict=True):
        np.testing.assert_array_equal(x, other_x)
        np.testing.assert_array_equal(y, other_y)


def test_batches_have_the_promised_form() -> None:
    batches = make(size=(16, 12))
    assert len(batches) == 3
    for (x, y), count in zip(everything(batches), (4, 4, 2), strict=True):
        assert (x.shape, x.dtype) == ((count, 16, 12, 2), np.float32)
        assert (y.shape, y.dtype) == ((count, 16, 12), np.int32)
        np.testing.assert_array_equal(x[..., 0], y)  # raw values, in the same place
    assert sorted(numbers(batches)) == list(range(10))
    with pytest.raises(IndexError):
        batches[3]


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_and_order_of_asking_change_no_bit(workers: int) -> None:
    wanted = everything(make(augment="strong", seed=7))
    threaded = make(augment="strong", seed=7, workers=workers)
    assert_same(everything(threaded), wanted)
    steps = [2, 0, 1, 1, 2, 0]
    assert_same([threaded[step] for step in steps], [wanted[step] for step in steps])
    results: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    askers = [threading.Thread(target=lambda s=s: results.update({s: threaded[s]})) for s in (0, 1, 2)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert_same([results[s] for s in (0, 1, 2)], wanted)


def test_a_sample_depends_on_seed_epoch_and_index_alone() -> None:
    """Not on the batch size, nor on whether and how the samples are shuffled."""
    first, second = by_sample(make(augment="default", batch_size=4)), by_sample(make(augment="default", batch_size=3))
    third = by_sample(make(augment="default", shuffle=False))
    assert first.keys() == second.keys() == third.keys() == set(range(1, 11))
    for number, (x, y) in first.items():
        for other_x, other_y in (second[number], third[number]):
            np.testing.assert_array_equal(x, other_x)
            np.testing.assert_array_equal(y, other_y)


def test_epochs_and_seeds_differ_and_can_be_returned_to() -> None:
    batches = make(augment="default")
    first = everything(batches)
    batches.on_epoch_end()
    assert batches.epoch == 1
    second = everything(batches)
    assert any(not np.array_equal(a[0], b[0]) for a, b in zip(first, second, strict=True))
    batches.set_epoch(0)
    assert_same(everything(batches), first)
    resumed = make(augment="default")
    resumed.set_epoch(1)
    assert_same(everything(resumed), second)
    assert numbers(make(seed=1)) != numbers(make(seed=0))
    assert numbers(make()) != list(range(10))


def test_validation_is_whole_central_and_the_same_every_epoch() -> None:
    batches = make(shuffle=False)
    first = everything(batches)
    assert numbers(batches) == list(range(10))
    np.testing.assert_array_equal(first[0][0][0, 0, :, 1], np.arange(7, 23))  # the middle 16 of 30 columns
    batches.set_epoch(5)
    assert_same(everything(batches), first)


def test_fit_sees_every_epoch_once_whatever_keras_asks_for_besides() -> None:
    """Keras ends an epoch that never began before the first, reads batches to learn their shape, and so on."""
    import keras

    told: list[tuple[int, float]] = []

    class Told(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
            batches.log.clear()

        def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
            told.append((epoch, logs["loss"]))

    inputs = keras.Input((16, 16, 2))
    model = keras.Model(inputs, keras.layers.Dense(2, kernel_initializer="identity")(inputs))

    def loss(y_true: object, y_pred: object) -> object:
        return keras.ops.mean(y_pred[..., 1], axis=(1, 2))

    def mean_of_epoch(epoch: int) -> float:
        plain = make(Pictures(8), augment=[Crop((16, 16))], seed=3, steps_per_epoch=3)
        plain.set_epoch(epoch)
        return float(np.mean([x[..., 1].mean() for x, _ in everything(plain)]))

    batches = make(Pictures(8), augment=[Crop((16, 16))], seed=3, steps_per_epoch=3, workers=2)
    batches.log = []
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss=loss)
    model.fit(batches, epochs=3, shuffle=False, verbose=0, callbacks=[Told()], validation_data=make(shuffle=False))
    model.fit(batches, epochs=2, shuffle=False, verbose=0, callbacks=[Told()])  # a second fit goes on
    wanted = [mean_of_epoch(epoch) for epoch in range(5)]
    assert len({round(value, 4) for value in wanted}) == 5  # else this could not fail
    np.testing.assert_allclose([value for _, value in told], wanted, rtol=1e-5)


def test_an_epoch_of_one_batch_is_an_epoch() -> None:
    batches = make(Pictures(4), augment="default")
    seen = []
    for _ in range(3):
        batches.on_epoch_begin()
        seen.append((batches.epoch, batches[0][0].tobytes()))
        batches.on_epoch_end()
    assert [epoch for epoch, _ in seen] == [0, 1, 2]
    assert len(set(seen)) == 3


def test_samples_come_round_as_often_as_an_epoch_needs() -> None:
    batches = make(Pictures(3), batch_size=4, steps_per_epoch=5, augment=[Rotate(40.0), Resize((16, 16))])
    assert len(batches) == 5
    seen = numbers(batches)
    assert sorted(seen) == sorted([0, 1, 2] * 6 + seen[18:])  # every sample six times, and two of them again
    turned = [image for x, _ in everything(batches) for image in x if int(image[..., 0].max()) == 1]
    assert len({image.tobytes() for image in turned}) == len(turned)  # other random choices each time


def test_last_batch_can_be_left_out() -> None:
    assert [len(x) for x, _ in everything(make(drop_last=True))] == [4, 4]
    with pytest.raises(ValueError, match="Lower batch_size to 10"):
        make(batch_size=11, drop_last=True)


def test_outside_is_ignored_or_background() -> None:
    ignored = make(size=40)
    assert ignored.ignore_class == 255
    x, y = ignored[0]
    assert set(np.unique(y)) - {255} == {int(image[..., 0].max()) for image in x}
    assert (y == 255).any()
    background = make(size=40, outside="background")
    assert background.ignore_class is None
    assert (background[0][1] == 0).any()
    own = make(Pictures(ignore_class=11), size=40)
    assert own.ignore_class == 11
    assert (own[0][1] == 11).any()


@pytest.mark.parametrize("fit", ["crop", "resize", "pad"])
def test_every_fit_gives_the_size(fit: str) -> None:
    for size in (8, 27, 50):
        for x, y in everything(make(size=size, fit=fit)):
            assert x.shape[1:3] == y.shape[1:] == (size, size)
            np.testing.assert_array_equal(x[..., 0][y != 255], y[y != 255])
            if fit == "resize":
                assert (y != 255).all()


def test_rare_classes_are_sought() -> None:
    class Rare(Pictures):
        def __getitem__(self, index: int) -> Sample:
            mask = np.zeros((64, 64), np.uint8)
            mask[3, 60], mask[:, :20] = 1, 255
            return Sample(np.zeros((64, 64, 2), np.uint8), mask, "a", "a")

    def share(**settings: object) -> float:
        batches = make(Rare(8, ignore_class=255), steps_per_epoch=10, **settings)
        return float(np.mean([(y == 1).any(axis=(1, 2)).mean() for _, y in everything(batches)]))

    assert share() < 0.25
    assert share(foreground_share=1.0) == 1.0
    assert 0.35 < share(foreground_share=0.5) < 0.75


def test_each_file_is_decoded_once_where_it_fits() -> None:
    for cache, times in (("auto", 1), ("disk", 1), ("off", 3)):
        dataset = Pictures(5)
        batches = make(dataset, cache=cache)
        first = everything(batches)
        for _ in range(2):
            assert_same(everything(batches), first)
        assert sorted(dataset.decoded) == sorted(list(range(5)) * times)
    few = SampleCache(Pictures(5), limit=4000)  # two samples of some 2 kB each
    for _ in range(3):
        for k in range(5):
            few[k]
    assert 0 < few.used <= 4000
    assert 0 < few.kept < 5


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_sample_is_named_with_its_cause(workers: int) -> None:
    batches = make(Pictures(bad=(6,)), shuffle=False, workers=workers)
    batches[0]
    with pytest.raises(DataError, match=r"picture-6.*OSError: broken data stream") as told:
        batches[1]
    assert batches.failure is told.value
    assert isinstance(told.value.__cause__, OSError)
    batches[2]  # the others still come


def test_an_unreadable_sample_can_be_passed_over_and_is_counted() -> None:
    batches = make(Pictures(bad=(6, 9)), shuffle=False, on_error="skip")
    assert numbers(batches) == [0, 1, 2, 3, 4, 5, 7, 7, 8, 0]
    assert set(batches.skipped) == {"picture-6", "picture-9"}
    with pytest.raises(DataError, match="At least one sample"):
        make(Pictures(2, bad=(0, 1)), on_error="skip")[0]


def test_a_pair_of_two_sizes_and_a_missing_mask_are_named() -> None:
    class Odd(Pictures):
        mask: np.ndarray | None = np.zeros((5, 4), np.uint8)

        def __getitem__(self, index: int) -> Sample:
            return Sample(np.zeros((5, 5, 2), np.uint8), self.mask, f"odd-{index}", "a")

    with pytest.raises(DataError, match=r"odd-0.*image=\(5, 5, 2\), mask=\(5, 4\)"):
        make(Odd(1))[0]
    Odd.mask = None
    with pytest.raises(DataError, match="needs the mask"):
        make(Odd(1))[0]


def test_batches_are_mixed_after_all_else() -> None:
    batches = make(augment=[Cutmix()], batch_size=5)
    again = make(augment=[Cutmix()], batch_size=5, workers=2)
    assert_same(everything(batches), everything(again))
    assert any(len(np.unique(mask)) == 2 for _, y in everything(batches) for mask in y)
    for x, y in everything(batches):
        np.testing.assert_array_equal(x[..., 0], y)


def test_soft_truth_is_one_hot_and_ignored_pixels_are_no_class() -> None:
    batches = make(augment=[Mixup(0.4), Cutmix()], batch_size=5, size=40)
    assert_same(everything(batches), everything(make(augment=[Mixup(0.4), Cutmix()], batch_size=5, size=40, workers=2)))
    seen = 0
    for x, y in everything(batches):
        assert (y.shape, y.dtype) == ((5, 40, 40, batches.num_classes), np.float32)
        known = y.any(axis=-1)
        assert (~known).any()
        np.testing.assert_allclose(y.sum(axis=-1)[known], 1.0, atol=1e-6)
        np.testing.assert_allclose(x[..., 0][known], (y @ np.arange(batches.num_classes))[known], atol=1e-3)
        seen += int(((y > 0) & (y < 1)).any(axis=(1, 2, 3)).sum())
    assert seen > 0
    assert make(augment=[Mixup(probability=0.0)], size=40)[0][1].ndim == 4  # all batches of a feed are of one kind


def test_time_spent_waiting_is_told() -> None:
    class Slow(Pictures):
        def __getitem__(self, index: int) -> Sample:
            time.sleep(0.02)
            return super().__getitem__(index)

    alone = make(Slow(), cache="off")
    assert alone.seconds_per_batch is None
    everything(alone)
    assert alone.waited_seconds >= 10 * 0.02
    assert 0.05 < alone.seconds_per_batch < 0.3
    ahead = make(Slow(), cache="off", workers=2)
    for step in range(3):
        ahead[step]
        time.sleep(0.15)  # training, meanwhile
    assert ahead.waited_seconds < 0.7 * alone.waited_seconds


def test_python_and_numpy_random_states_are_left_alone() -> None:
    random.seed(1), np.random.seed(1)
    before = random.getstate(), np.random.get_state()[1].tolist()
    everything(make(augment="strong"))
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"fit": "cut"}, "`fit` is one of"),
        ({"outside": "ignored"}, "Did you mean `ignore`"),
        ({"cache": "ram"}, "Known: `auto`"),
        ({"augment": "heavy"}, "Received: augment='heavy'"),
        ({"batch_size": 0}, "`batch_size` is a whole number"),
        ({"seed": -1}, "`seed` is a whole number"),
        ({"on_error": "ignore"}, "`on_error` is one of"),
        ({"size": 0}, "at least one pixel"),
        ({"steps_per_epoch": 0}, "`steps_per_epoch` is a whole number"),
        ({"workers": -1}, "`workers` is a whole number"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make(**settings)


def test_transforms_must_end_with_the_size_of_the_feed() -> None:
    with pytest.raises(ValueError, match=r"after transforms.*\(8, 8\).*End with Crop\(\(16, 16\)\)"):
        make(augment=[Resize((8, 8))])[0]


def test_an_empty_data_set_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        make(Pictures(0))
