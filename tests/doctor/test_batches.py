"""Drawing: every kind of input that `fit` takes, left as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest

from segnosis.doctor.batches import Limits, draw

X = np.random.default_rng(0).random((20, 6, 6, 1))
Y = np.arange(20)[:, None, None] * np.ones((1, 6, 6), "int32")
FEW = Limits(samples=8)


class Sequence(keras.utils.PyDataset):
    """A data set with random state and counters of its own, as people write them."""

    def __init__(self) -> None:
        super().__init__()
        self.random, self.served = np.random.default_rng(3), 0

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        self.served += 1
        rows = slice(4 * index, 4 * index + 4)
        return X[rows] + self.random.normal() + np.random.normal(), Y[rows]


def _tf() -> Any:
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)


def _torch() -> Any:
    torch = pytest.importorskip("torch")
    return torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y)), batch_size=4, shuffle=True
    )


def _grain() -> Any:
    grain = pytest.importorskip("grain")
    return grain.MapDataset.source([(X[i], Y[i]) for i in range(20)]).batch(4)


def _grain_iterator() -> Any:
    return _grain().to_iter_dataset()


def _generator() -> Iterator[Any]:
    return ((X[i : i + 4], Y[i : i + 4]) for i in range(0, 20, 4))


@pytest.mark.parametrize("make", [Sequence, _tf, _torch, _grain, _grain_iterator, _generator])
def test_every_kind_gives_the_same_batches(make: Callable[[], Any]) -> None:
    drawn = draw(make(), limits=FEW)
    assert drawn.error is None and len(drawn.batches) == 2
    for batch in drawn.batches:
        assert type(batch.x) is np.ndarray and batch.x.shape == (4, 6, 6, 1) and batch.y.shape == (4, 6, 6)
        assert batch.sample_weight is None


@pytest.mark.parametrize("make", [Sequence, _tf, _torch, _grain, _generator])
def test_the_user_still_gets_every_batch(make: Callable[[], Any]) -> None:
    drawn = draw(make(), limits=FEW)
    source = drawn.data
    ids = [int(np.asarray(item[1])[0, 0, 0]) for item in (source[i] for i in range(5))] if make is Sequence else None
    rows = ids or [int(np.asarray(item[1]).ravel()[0]) for item in source]
    assert len(rows) == 5 and (make is _torch or rows == [0, 4, 8, 12, 16])


def test_random_states_and_counters_are_kept() -> None:
    data = Sequence()
    inner, outer = data.random.bit_generator.state, np.random.get_state()[1].copy()
    draw(data)
    assert data.random.bit_generator.state == inner and data.served == 0
    np.testing.assert_array_equal(np.random.get_state()[1], outer)


def test_arrays_of_any_structure() -> None:
    drawn = draw({"a": X, "b": X}, [Y, X], np.ones(20), batch_size=7, shuffle=False)
    first = drawn.batches[0]
    assert sorted(first.x) == ["a", "b"] and first.x["a"].dtype == "float32" and first.y[0].dtype.kind == "i"
    np.testing.assert_allclose(first.x["b"], X[:7], rtol=1e-6)
    assert first.sample_weight.shape == (7,) and drawn.num_samples == 20
    assert [len(batch.y[1]) for batch in drawn.batches] == [7, 7, 6]


def test_shuffled_rows_stay_together_and_come_from_everywhere() -> None:
    drawn = draw(X, Y, batch_size=4, limits=FEW, seed=1)
    rows = np.concatenate([batch.y[:, 0, 0] for batch in drawn.batches])
    images = np.concatenate([batch.x for batch in drawn.batches])
    np.testing.assert_allclose(images, X[rows], rtol=1e-6)
    assert rows.max() > 8


def test_a_reused_buffer_does_not_change_what_was_drawn() -> None:
    def batches() -> Iterator[Any]:
        buffer = np.zeros((2, 4, 4, 1))
        for value in range(5):
            buffer[:] = value
            yield buffer, buffer[..., 0]

    drawn = draw(batches(), limits=Limits(samples=6))
    assert [float(batch.x.max()) for batch in drawn.batches] == [0, 1, 2]
    assert [float(x.max()) for x, _ in drawn.data] == [0, 1, 2, 3, 4]


def test_limits_stop_but_never_before_one_batch() -> None:
    endless = ((np.zeros((2, 512, 512, 1)), np.zeros((2, 512, 512))) for _ in iter(int, 1))
    assert len(draw(endless, limits=Limits(megabytes=1)).batches) == 1
    assert len(draw(_generator(), limits=Limits(seconds=0)).batches) == 1
    assert len(draw(_generator(), steps=3).batches) == 3


def test_an_error_of_the_pipeline_is_kept_and_raised_again_in_its_place() -> None:
    def batches() -> Iterator[Any]:
        yield X[:2], Y[:2]
        raise OSError("disk gone")

    drawn = draw(batches())
    assert len(drawn.batches) == 1 and str(drawn.error) == "disk gone"
    replayed = iter(drawn.data)
    next(replayed)
    with pytest.raises(OSError, match="disk gone"):
        next(replayed)


def test_lengths_that_differ_are_told() -> None:
    drawn = draw(X, Y[:15])
    assert "cardinality" in str(drawn.error) and drawn.batches
