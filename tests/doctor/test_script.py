"""`segnosis diagnose train.py`: what is taken from a program, where it stops, what it is told when nothing trains."""

from __future__ import annotations

import ast
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segnosis.core.errors import ArgumentError, DataError
from segnosis.doctor import script as script_module
from segnosis.doctor.case import Case
from segnosis.doctor.diagnosis import Diagnosis
from segnosis.doctor.examine import Evidence
from segnosis.doctor.script import ScriptOutcome, diagnose_script
from segnosis.doctor.verdict import Finding

HEAD = """
import keras, numpy as np
from pathlib import Path
keras.utils.set_random_seed(1)
x = np.random.default_rng(0).random((12, 8, 8, 1)).astype("float32")
y = (x[..., 0] > 0.5).astype("int32")
def net(channels=2):
    return keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(channels, 3, padding="same")])
def compiled():
    model = net()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model
"""


class Room:
    """Runs programs under the doctor and keeps every case that would be examined; checks are tested elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cases, self.said = folder, [], []

    def write(self, body: str, name: str = "train.py", head: str = HEAD) -> Path:
        path = self.folder / name
        path.write_text(head + textwrap.dedent(body))
        return path

    def run(self, body: str, *args: str, **options: object) -> ScriptOutcome:
        return diagnose_script(self.write(body), args, on_diagnosis=self.said.append, **options)

    def left(self, name: str) -> np.ndarray:
        return np.load(self.folder / name)

    def line(self, text: str, name: str = "train.py") -> int:
        lines = (self.folder / name).read_text().splitlines()
        return next(number for number, line in enumerate(lines, start=1) if text in line)


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    room = Room(tmp_path)
    without_checks = script_module.examine

    def examine(case: Case, **_: object) -> Diagnosis:
        room.cases.append(case)
        return without_checks(case, checks=())

    monkeypatch.setattr(script_module, "examine", examine)
    monkeypatch.chdir(tmp_path)
    return room


def test_stops_at_fit_and_takes_everything_from_the_call(room: Room) -> None:
    outcome = room.run("""
        if __name__ == "__main__":
            model = compiled()
            model.fit(
                x, y, batch_size=4, epochs=7, validation_split=0.25)
            raise SystemExit("went on")
    """)
    (case,) = room.cases
    assert outcome.exit_code == 0 and not outcome.message and len(room.said) == 1
    assert [batch.x.shape for batch in case.batches] == [(4, 8, 8, 1), (4, 8, 8, 1), (1, 8, 8, 1)]
    assert sum(len(batch.x) for batch in case.validation_batches) == 3
    assert case.num_samples == 9 and case.fit_arguments["epochs"] == 7
    assert Evidence(case).get("label_space").num_classes == 2 and case.loss.name == "sparse_categorical_crossentropy"
    assert case.script.fit_line == room.line("model.fit(")
    assert case.script.compile_line == room.line("model.compile(")
    assert case.script.fit_file is None and case.script.compile_file is None


def test_train_and_validation_rows_are_keras_own_split(room: Room) -> None:
    room.run("""
        x = np.arange(12, dtype="float32").reshape(12, 1, 1, 1) * np.ones((1, 8, 8, 1), "float32")
        compiled().fit(x, y, validation_split=0.25)
    """)
    rows = np.concatenate([batch.x[:, 0, 0, 0] for batch in room.cases[0].batches])
    held_out = np.concatenate([batch.x[:, 0, 0, 0] for batch in room.cases[0].validation_batches])
    assert sorted(rows) == list(range(9)) and list(held_out) == [9, 10, 11]


@pytest.mark.parametrize(
    "handler",
    [
        "except Exception: Path('swallowed').touch()",
        "except: Path('swallowed').touch()",
        "finally: Path('cleaned').touch()",
    ],
)
def test_the_stop_survives_the_scripts_own_handlers(room: Room, handler: str) -> None:
    outcome = room.run(f"""
        model = compiled()
        for attempt in range(3):
            try:
                model.fit(x, y, verbose=0)
            {handler}
    """)
    assert outcome.exit_code == 0 and len(outcome.diagnoses) == 1
    assert not (room.folder / "swallowed").exists() or handler.startswith("except:")


def test_a_sick_script_exits_with_one(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    sick = Diagnosis((Finding(says="It is sick.", measured={}, fix="Mend it.", code="LAB001", name="x"),))
    monkeypatch.setattr(script_module, "examine", lambda case, **_: sick)
    assert room.run("compiled().fit(x, y)").exit_code == 1


def test_arguments_folder_and_imports_are_as_python_has_them(room: Room) -> None:
    room.write("SIZE = 8\n", name="settings.py", head="")
    elsewhere = room.folder / "elsewhere"
    elsewhere.mkdir()
    outcome = room.run(
        """
        import os, sys
        from settings import SIZE
        Path("report.txt").write_text(repr((sys.argv, os.path.basename(__file__), __name__, SIZE)))
        os.chdir("elsewhere")
        compiled().fit(x, y, epochs=int(sys.argv[2]))
        """,
        "--epochs",
        "3",
    )
    assert outcome.exit_code == 0 and room.cases[0].fit_arguments["epochs"] == 3
    seen = ast.literal_eval((room.folder / "report.txt").read_text())
    assert seen == ([str(room.folder / "train.py"), "--epochs", "3"], "train.py", "__main__", 8)
    assert Path.cwd() == room.folder and sys.modules["__main__"].__name__ != "train"


def test_the_lines_are_found_in_the_users_other_files(room: Room) -> None:
    room.write(
        """
        def prepare(model):
            model.compile("sgd", "mse")
            return model
        def go(model, x, y):
            return model.fit(x, y)
        """,
        name="loop.py",
        head="",
    )
    room.run("import loop\nloop.go(loop.prepare(net()), x, y)")
    script = room.cases[0].script
    assert (script.fit_file, script.fit_line) == ("loop.py", room.line("model.fit", "loop.py"))
    assert (script.compile_file, script.compile_line) == ("loop.py", room.line("model.compile", "loop.py"))
    del sys.modules["loop"]


def test_a_crash_before_fit_shows_the_users_own_traceback(room: Room) -> None:
    outcome = room.run("""
        def load():
            return open("no-such-file.csv")
        try:
            load()
        except FileNotFoundError as error:
            raise RuntimeError("no data") from error
    """)
    assert outcome.exit_code == 2 and "before it called fit" in outcome.message
    shown = outcome.traceback
    assert shown.startswith("Traceback (most recent call last):") and shown.endswith("RuntimeError: no data\n")
    assert "no-such-file.csv" in shown and "direct cause" in shown and "segnosis" not in shown


def test_a_syntax_error_is_shown_as_python_shows_it(room: Room) -> None:
    outcome = room.run("model.fit(x, y")
    assert outcome.exit_code == 2 and "SyntaxError" in outcome.traceback and "segnosis" not in outcome.traceback


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("pass", "without calling fit()"),
        ("import sys; sys.exit(3)", "exit status 3"),
        ("import subprocess, sys; subprocess.run([sys.executable, '-c', 'pass', 'inner.py'])", "started"),
    ],
)
def test_a_script_that_never_trains_is_told_why(room: Room, body: str, words: str) -> None:
    outcome = room.run(body)
    assert outcome.exit_code == 2 and words in outcome.message and not outcome.diagnoses


def test_a_loop_of_its_own_that_shows_no_model_is_named_by_its_line(room: Room) -> None:
    outcome = room.run("""
        weight = keras.Variable([1.0])
        keras.optimizers.SGD(0.1).apply([weight * 0], [weight])
    """)
    assert outcome.exit_code == 2 and f"train.py:{room.line('.apply(')}" in outcome.message


LOOP = """
    images, masks = x, y
    del x, y
    def step(model, optimizer, batch, truth):
        optimizer.apply([keras.ops.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables)
    def main():
        {model}
        for start in range(0, 12, 4):
            step(unet, keras.optimizers.SGD(0.5), images[start:start + 4], masks[start:start + 4])
            Path("went on").touch()
    {before}
    main()
"""


def test_a_loop_of_its_own_is_examined_by_what_its_variables_hold(room: Room) -> None:
    model, before = "unet = net()", "bce = keras.losses.SparseCategoricalCrossentropy(from_logits=True)"
    outcome = room.run(LOOP.format(model=model, before=before))
    (case,) = room.cases
    assert outcome.exit_code == 0 and "`images`" in outcome.message and "`bce`" in outcome.message
    assert sum(len(batch.x) for batch in case.batches) == 12 and case.batches[0].y.shape[1:] == (8, 8)
    assert case.loss.from_logits and float(case.optimizer.learning_rate) == 0.5
    assert case.script.fit_line == room.line("optimizer.apply(") and not Path("went on").exists()


def test_what_several_variables_could_be_is_not_guessed(room: Room) -> None:
    before = "other = masks.copy(); a, b = keras.losses.Dice(), keras.losses.Tversky()"
    outcome = room.run(LOOP.format(model="unet = net()", before=before))
    (case,) = room.cases
    assert "`batch`" in outcome.message and len(case.batches[0].x) == 4  # whose masks there is no doubt about
    assert case.loss is None and "Its loss could not be told" in outcome.message


@pytest.mark.one_backend
def test_a_traced_tape_is_left_before_it_is_examined(room: Room) -> None:
    pytest.importorskip("tensorflow")
    room.run("""
        import tensorflow as tf
        images, masks = x, y
        del x, y
        model, adam = net(), keras.optimizers.Adam()
        def dice_loss(y_true, y_pred):
            return keras.ops.mean((keras.ops.cast(y_true, "float32") - keras.ops.softmax(y_pred)[..., 1]) ** 2)
        @tf.function
        def train_step(batch, truth):
            with tf.GradientTape() as tape:
                value = dice_loss(tf.cast(truth, "float32"), model(batch, training=True))
            adam.apply_gradients(zip(tape.gradient(value, model.trainable_variables), model.trainable_variables))
        train_set = tf.data.Dataset.from_tensor_slices((images, masks)).batch(4)
        for batch, truth in train_set:
            train_step(batch, truth)
    """)
    (case,) = room.cases
    assert case.model is not None and case.loss.__name__ == "dice_loss"


def test_a_missing_script_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        diagnose_script(tmp_path / "gone.py")


def test_train_on_batch_is_examined_as_it_was_before_the_loop(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = []

    def examine(case: Case, **_: object) -> Diagnosis:
        room.cases.append(case)
        weights.append(case.model.get_weights()[0].copy())
        return Diagnosis(())

    monkeypatch.setattr(script_module, "examine", examine)
    outcome = room.run("""
        model = compiled()
        np.save("start.npy", model.get_weights()[0])
        for step in range(1000):
            loss = model.train_on_batch(x[step % 3 * 4:][:4] + step, y[step % 3 * 4:][:4])
            print(float(np.ravel(loss)[0]))
        Path("went on").touch()
    """)
    assert outcome.exit_code == 0 and not (room.folder / "went on").exists()
    assert len(room.cases[0].batches) == 16 and room.cases[0].script.fit_line == room.line("train_on_batch")
    np.testing.assert_array_equal(weights[0], room.left("start.npy"))


def test_a_short_train_on_batch_loop_is_examined_at_its_end(room: Room) -> None:
    outcome = room.run("""
        model = compiled()
        for step in range(3):
            model.train_on_batch(x, y, sample_weight=np.ones((12, 8, 8)))
    """)
    assert outcome.exit_code == 0 and len(room.cases[0].batches) == 3
    assert room.cases[0].batches[0].sample_weight.shape == (12, 8, 8)
    assert room.cases[0].fit_arguments == {"epochs": 1, "steps_per_epoch": 3}  # all there will ever be


@pytest.mark.parametrize(("given", "expected"), [("x_train[:4, ::-1]", 3), ("x_train[:4] / 2", None)])
def test_held_out_arrays_are_found_where_the_loop_leaves_samples_as_they_are(
    room: Room, given: str, expected: int | None
) -> None:
    room.run(f"""
        model = compiled()
        x_train, y_train, x_test, y_test = x[:9], y[:9], x[9:], y[9:]
        for step in range(3):
            model.train_on_batch({given}, y_train[:4])
    """)
    (case,) = room.cases
    assert (None if case.validation_batches is None else len(case.validation_batches[0].x)) == expected


def test_a_subclassed_model_with_its_own_train_step(room: Room) -> None:
    outcome = room.run("""
        class Net(keras.Model):
            def __init__(self, layers):
                super().__init__()
                self.stack = layers
            def call(self, inputs):
                for layer in self.stack:
                    inputs = layer(inputs)
                return inputs
            def train_step(self, *args):
                return super().train_step(*args)
        model = Net([keras.layers.Conv2D(2, 1)])
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.fit(x, y)
    """)
    assert outcome.exit_code == 0 and room.cases[0].model.count_params() == 4


def test_a_fit_that_would_raise_is_examined_and_explained(room: Room) -> None:
    outcome = room.run("compiled().fit(x, y[:, :4])")
    assert len(room.cases) == 1 and outcome.exit_code == 2
    assert outcome.diagnoses[0].subject["stops"].startswith("ValueError: ")


def test_an_argument_that_keras_3_does_not_know(room: Room) -> None:
    outcome = room.run("compiled().fit(x, y, workers=4, epochs=2)")
    assert room.cases[0].fit_arguments["epochs"] == 2
    assert outcome.exit_code == 2 and "workers" in outcome.message


def test_data_that_fails_is_told_apart_from_a_doctor_that_fails(room: Room) -> None:
    outcome = room.run("""
        def batches():
            yield x[:4], y[:4]
            raise OSError("disk gone")
        compiled().fit(batches(), steps_per_epoch=5)
    """)
    assert len(room.cases[0].batches) == 1
    assert outcome.exit_code == 2 and outcome.diagnoses[0].subject["stops"] == "OSError: disk gone"


def test_an_error_of_the_doctor_is_not_swallowed_by_the_script(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(case: Case, **_: object) -> Diagnosis:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(script_module, "examine", broken)
    with pytest.raises(ZeroDivisionError, match="ours"):
        room.run("""
            try:
                compiled().fit(x, y)
            except Exception:
                pass
        """)


# Keras' legacy generators still call scipy by its old name.
LEGACY_SCIPY = pytest.mark.filterwarnings("ignore:.*scipy.ndimage.interpolation:DeprecationWarning")

TRAINS = """
    seen = []
    def batches():
        for step in range(8):
            seen.append(step)
            yield x[step % 3 * 4:][:4] + np.random.normal(size=(4, 8, 8, 1)), y[step % 3 * 4:][:4]
    model = net()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(batches(), shuffle=False, steps_per_epoch=4, epochs=2, verbose=0, validation_data=(x, y))
    model.fit(x, y, epochs=2, verbose=0)
    extra = keras.layers.Dense(2)
    np.savez("end.npz", kernel=model.get_weights()[0], name=extra.name, seen=seen)
"""


def test_continued_training_is_what_it_would_have_been(room: Room) -> None:
    import keras

    keras.backend.clear_session()
    outcome = room.run(TRAINS, continue_=True)
    assert not outcome.traceback and not outcome.message
    with_doctor = dict(room.left("end.npz"))
    keras.backend.clear_session()
    exec(compile((room.folder / "train.py").read_text(), "train.py", "exec"), {"__name__": "__main__"})
    without = dict(room.left("end.npz"))
    np.testing.assert_array_equal(with_doctor["kernel"], without["kernel"])
    assert outcome.exit_code == 0
    assert [bool(d.subject.get("after_training")) for d in room.said] == [False, True, False, True]
    assert list(with_doctor["seen"]) == list(without["seen"]) == list(range(8))
    assert with_doctor["name"] == without["name"]


def test_a_crash_in_continued_training_is_the_users(room: Room) -> None:
    outcome = room.run(
        """
        class Boom(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                raise RuntimeError("in my callback")
        compiled().fit(x, y, verbose=0, callbacks=Boom())
        """,
        continue_=True,
    )
    assert outcome.exit_code == 2 and outcome.traceback.endswith("RuntimeError: in my callback\n")


@LEGACY_SCIPY
def test_legacy_flow_gives_its_raw_arrays_and_its_augmentation(room: Room) -> None:
    room.run("""
        from keras.src.legacy.preprocessing.image import ImageDataGenerator
        flow = ImageDataGenerator(horizontal_flip=True, rotation_range=30).flow(x, y[..., None], batch_size=4)
        compiled().fit(flow)
    """)
    (case,) = room.cases
    pairs = list(case.pairs)
    assert len(pairs) == 12 and pairs[0].image.shape == (8, 8, 1)
    grid = np.arange(64.0).reshape(8, 8, 1)
    image, mask = case.augment(grid, grid)
    assert not np.array_equal(image, grid) and np.array_equal(mask, grid)


@LEGACY_SCIPY
def test_two_legacy_flows_move_alike_with_one_seed_only(room: Room) -> None:
    body = """
        from keras.src.legacy.preprocessing.image import ImageDataGenerator
        make = ImageDataGenerator(rotation_range=90)
        def both(a, b):
            while True:
                yield next(a), next(b)
        compiled().fit(both(make.flow(x, seed=1, batch_size=4), make.flow(y[..., None], seed={}, batch_size=4)),
                       steps_per_epoch=3)
    """
    room.run(body.format(1))
    room.run(body.format(2))
    grid = np.arange(64.0).reshape(8, 8, 1)
    alike, apart = (case.augment(grid, grid) for case in room.cases)
    np.testing.assert_array_equal(*alike)
    assert not np.array_equal(*apart)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # a stop ends its thread alone
def test_a_fit_in_a_thread_is_examined_and_stopped(room: Room) -> None:
    outcome = room.run("""
        import threading
        def work():
            compiled().fit(x, y)
            Path("went on").touch()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    """)
    assert outcome.exit_code == 0 and len(room.cases) == 1 and not (room.folder / "went on").exists()


def test_the_real_engine_names_the_line_and_the_fault(tmp_path: Path) -> None:
    path = Room(tmp_path).write("""
        model = net(1)
        model.compile("adam", "binary_crossentropy")
        model.fit(x, y[..., None] * 255, batch_size=4)
    """)
    outcome = diagnose_script(path, budget="static")
    assert outcome.exit_code == 1
    assert "LAB003" in {finding.code for finding in outcome.diagnoses[0].findings}
    assert outcome.diagnoses[0].subject["fit_line"] == 16


@LEGACY_SCIPY
def test_flows_of_two_folders_give_the_files_in_their_order(room: Room) -> None:
    for name, scale in (("images", 255), ("masks", 1)):
        (room.folder / name / "all").mkdir(parents=True)
        for k in range(5):
            array = (np.random.default_rng(k).random((8, 8)) > 0.5).astype("uint8") * scale
            Image.fromarray(array).save(room.folder / name / "all" / f"{k}.png")
    room.run("""
        from keras.src.legacy.preprocessing.image import ImageDataGenerator
        make = ImageDataGenerator(rotation_range=90)
        told = dict(class_mode=None, color_mode="grayscale", target_size=(8, 8), batch_size=2)
        flows = [make.flow_from_directory(name, seed=seed, **told) for name, seed in (("images", 1), ("masks", 2))]
        compiled().fit(zip(*flows), steps_per_epoch=2)
    """)
    (case,) = room.cases
    assert [(pair.image_file.name, pair.mask_file.name) for pair in case.pairs] == [(f"{k}.png",) * 2 for k in range(5)]
    moved, turned = case.augment(np.eye(8, dtype="float32")[..., None], np.eye(8, dtype="uint8"))
    assert moved.shape == (8, 8, 1) and turned.shape == (8, 8) and not np.array_equal(moved[..., 0], turned)


def test_a_script_that_chooses_another_backend_than_the_one_that_runs(room: Room) -> None:
    script = room.write("", head='import os\nos.environ["KERAS_BACKEND"] = "openvino"\nimport keras\n')
    with pytest.raises(ArgumentError, match="openvino"):
        diagnose_script(script)


PRETRAINED = """
    def denoise(images):
        coder = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(1, 3, padding="same")])
        {how}
        return coder
    def main():
        coder = denoise(x)
        model = keras.Sequential([keras.Input((8, 8, 1)), coder, keras.layers.Conv2D(2, 1)])
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        {then}
    main()
"""
BY_FIT = 'coder.compile("sgd", "mse"); coder.fit(images, images, epochs=1, verbose=0)'
BY_STEP = (
    "keras.optimizers.SGD(0.1).apply([keras.ops.zeros(v.shape) for v in coder.trainable_variables], "
    "coder.trainable_variables)"
)
BY_BATCH = """coder.compile("sgd", "mse")
        for _ in range(70):
            coder.train_on_batch(images, images)"""


@pytest.mark.parametrize("how", [BY_FIT, BY_STEP, BY_BATCH])
def test_what_prepares_for_a_later_fit_is_let_run(room: Room, how: str) -> None:
    room.run(PRETRAINED.format(how=how, then="model.fit(x, y, epochs=3)"))
    (case,) = room.cases
    assert case.fit_arguments["epochs"] == 3 and case.loss.from_logits
    assert case.script.fit_line == room.line("model.fit(")


def test_what_prepares_for_a_later_loop_of_batches_is_let_run(room: Room) -> None:
    room.run(PRETRAINED.format(how=BY_FIT, then="[model.train_on_batch(x, y) for _ in range(70)]"))
    (case,) = room.cases
    assert case.loss.from_logits


@pytest.mark.parametrize("how", [BY_FIT, BY_STEP, BY_BATCH])
@pytest.mark.parametrize("then", ["pass", "KMeans().fit(x)", "if False: model.fit(x, y)"])
def test_without_a_later_fit_the_only_training_is_examined(room: Room, how: str, then: str) -> None:
    outcome = room.run(PRETRAINED.format(how=how, then=then))
    assert len(room.cases) == 1 and outcome.exit_code == 0 and room.cases[0].model.output_shape == (None, 8, 8, 1)


def test_the_branch_that_was_not_taken_is_no_later_fit(room: Room) -> None:
    step = BY_STEP.replace("coder", "model")
    room.run(f"""
        model = compiled()
        if len(x) > 3:
            {step}
            Path("went on").touch()
        else:
            model.fit(x, y, epochs=3)
    """)
    assert len(room.cases) == 1 and not Path("went on").exists()


def test_a_healthy_first_phase_says_that_there_is_another(room: Room) -> None:
    outcome = room.run("""
        model = compiled()
        model.fit(x, y, epochs=2)
        model.compile("adam", model.loss)
        model.fit(x, y, epochs=5)
    """)
    assert len(room.cases) == 1 and outcome.exit_code == 0 and "`--continue`" in outcome.message
