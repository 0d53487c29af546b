"""Checks of data and labels on arrays: what must be found, and what must not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pytest

from segnosis.core.dataset_spec import DatasetSpec
from segnosis.core.sample import Pair
from segnosis.doctor.ask import ask_loss
from segnosis.doctor.case import Batch, Case
from segnosis.doctor.check import all_checks
from segnosis.doctor.checks.data import image_mask_pair_mismatch, mask_geometry_mismatch
from segnosis.doctor.evidence import (
    Unavailable,
    drawn_again,
    heads,
    label_census,
    pair_agreement,
    sample_moves,
    validation_agreement,
)
from segnosis.doctor.evidence._batch_pairs import targets_of
from segnosis.doctor.evidence._mask_look import look
from segnosis.doctor.evidence.pair_files import stem
from segnosis.doctor.examine import examine
from segnosis.doctor.pair_patients import SPEC, batches, pairs, scenes
from segnosis.doctor.patients import segmenter
from segnosis.doctor.verdict import Finding

CHECKS = [
    check for check in all_checks() if check.code[:3] in ("DAT", "LAB") and check.code not in ("LAB002", "LAB007")
]
IDS = replace(SPEC, class_names=("background", "a", "b", "c"), values={0: 0, 1: 1, 2: 2, 3: 3})


def findings(case: Case) -> dict[str, Finding]:
    return {finding.code: finding for finding in examine(case, checks=CHECKS).findings}


def classes(count: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scenes whose blobs have the ids 1, 2 and 3 by their place."""
    images, masks = scenes(count, seed=seed)
    ids = 1 + (np.arange(64) // 22)[None, None, :]
    return images, (masks * ids).astype(np.uint8)


def test_a_ring_of_three_masks_is_found_with_its_files() -> None:
    images, masks = scenes(20, seed=3)
    order = np.arange(20)
    order[[2, 9, 14]] = 9, 14, 2
    found = findings(Case(pairs=pairs(images, masks[order]), spec=SPEC))
    assert found["DAT001"].level == "proven"
    assert set(found["DAT001"].where) == {"scene 2", "scene 9", "scene 14"}


def test_two_lists_shifted_against_each_other_are_found_whole() -> None:
    images, masks = scenes(32, seed=4)
    found = findings(Case(pairs=pairs(images, np.roll(masks, 1, axis=0)), spec=SPEC))
    assert found["DAT001"].level == "proven" and len(found["DAT001"].where) == 20


def test_a_wrong_pair_after_the_pipeline_counts_and_not_the_right_one_before() -> None:
    images, masks = scenes(32, seed=4)
    case = Case(pairs=pairs(images, masks), batches=batches(images, np.roll(masks, 1, axis=0)), num_classes=2)
    assert findings(case)["DAT001"].certain


def test_names_prove_what_pixels_cannot() -> None:
    blank = np.zeros((16, 16), np.uint8)
    masks = [2, 1, 3]
    case = Case(
        pairs=[
            Pair(blank, blank, f"{k}", f"{k}", Path(f"images/img_{k}.jpg"), Path(f"masks/img_{m}_mask.png"))
            for k, m in zip([1, 2, 3], masks, strict=True)
        ]
    )
    found = findings(case)["DAT001"]
    assert found.level == "proven" and "masks/img_2_mask.png" in found.where[0]


@pytest.mark.parametrize(
    ("image", "mask"),
    [("ISIC_0012.jpg", "ISIC_0012_segmentation.png"), ("img-7.tif", "7_label.tif"), ("a b (1).png", "a_b_1_gt.png")],
)
def test_common_ways_to_name_a_mask_are_the_same_stem(image: str, mask: str) -> None:
    assert stem(Path(image)) == stem(Path(mask))


@pytest.mark.parametrize("axis", [0, 1])
def test_one_flipped_mask_is_found(axis: int) -> None:
    images, masks = scenes(20, seed=5)
    masks[6] = np.flip(masks[6], axis)
    assert findings(Case(pairs=pairs(images, masks), spec=SPEC))["DAT002"].where[0] == "scene 6"


def test_a_constant_shift_is_measured() -> None:
    images, masks = scenes(16, seed=6)
    found = findings(Case(pairs=pairs(images, np.roll(masks, 5, axis=2)), spec=SPEC))["DAT002"]
    assert found.level == "proven" and "-5)" in found.fix


def test_two_masks_with_each_others_size_are_an_exchange() -> None:
    images, masks = scenes(8)
    small = [
        (image[:40], mask[:40]) if k == 2 else (image, mask)
        for k, (image, mask) in enumerate(zip(images, masks, strict=True))
    ]
    swapped = pairs([image for image, _ in small], [small[{2: 5, 5: 2}.get(k, k)][1] for k in range(8)])
    diagnosis = examine(Case(pairs=swapped, spec=SPEC), checks=CHECKS)
    assert diagnosis.cause is not None and diagnosis.cause.code == "DAT001"
    assert set(diagnosis.cause.where) == {"scene 2", "scene 5"} and "DAT002" in diagnosis.folded


def test_nothing_is_said_of_noise_beyond_a_suspicion() -> None:
    noise = np.random.default_rng(0)
    _, masks = scenes(40, size=48)
    case = Case(pairs=pairs(noise.normal(size=masks.shape).astype("float32"), masks), spec=SPEC)
    assert not [finding for finding in findings(case).values() if finding.certain]


def test_a_swap_is_found_beyond_the_number_of_kept_pairs() -> None:
    images, masks = scenes(60, size=32, seed=7)
    masks[[50, 55]] = masks[[55, 50]]
    scan = pair_agreement.Scan()
    kept, suspects = pair_agreement.KEPT, pair_agreement.SUSPECTS
    try:
        pair_agreement.KEPT, pair_agreement.SUSPECTS = 16, 8
        for pair in pairs(images, masks):
            scan.add(pair)
        result = scan.result()
    finally:
        pair_agreement.KEPT, pair_agreement.SUSPECTS = kept, suspects
    assert result.compared <= 24
    assert set(result.exchanges[0].masks) == {"scene 50", "scene 55"}


@pytest.mark.parametrize("value", [-2, 4, 77])
def test_an_id_beyond_the_head_is_found(value: int) -> None:
    images, masks = classes()
    masks = masks.astype("int32")
    masks[3, 10:14, 10:14] = value
    assert findings(Case(batches=batches(images, masks), num_classes=4))["LAB001"].certain


@pytest.mark.parametrize("void", [255, -1])
def test_void_is_left_to_the_check_of_void(void: int) -> None:
    images, masks = classes()
    masks = masks.astype("int32")
    masks[:, :2] = void
    assert "LAB001" not in findings(Case(batches=batches(images, masks), num_classes=4))


def test_pixels_of_weight_0_do_not_count() -> None:
    images, masks = classes(8)
    masks = masks.astype("int32")
    masks[:, :4] = 9
    case = Case(batches=[Batch(images[..., None], masks, (masks != 9).astype("float32"))], num_classes=4)
    assert "LAB001" not in findings(case)


def test_a_stray_value_of_one_file_is_found() -> None:
    images, masks = classes()
    masks[7, 20:23, 20:23] = 9
    assert findings(Case(pairs=pairs(images, masks), spec=IDS))["LAB001"].where == ("scene 7",)


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (lambda y: (y * 255).astype("float32"), "LAB003"),
        (lambda y: ((y - 0.2) / 0.4).astype("float32"), "LAB003"),
        (lambda y: (y / 255 / 255).astype("float32"), "LAB004"),
        (lambda y: (y / 255).astype("int32"), "DAT003"),
        (lambda y: np.repeat(y[..., None] * 255, 3, -1), "LAB006"),
    ],
)
def test_scaling_faults_of_a_binary_target(target: Any, code: str) -> None:
    images, masks = scenes(8)
    diagnosis = examine(Case(batches=batches(images, target(masks)), num_classes=1), checks=CHECKS)
    assert diagnosis.cause is not None and diagnosis.cause.code == code


@pytest.mark.parametrize(
    "target",
    [
        lambda y: y,
        lambda y: y[..., None].astype("float32"),
        lambda y: cv2.GaussianBlur(y.astype("float32").transpose(1, 2, 0), (0, 0), 1).transpose(2, 0, 1),
        lambda y: y.reshape(len(y), -1),
        lambda y: y.astype(bool),
    ],
)
def test_right_binary_targets_in_other_forms(target: Any) -> None:
    images, masks = scenes(8)
    assert not findings(Case(batches=batches(images, target(masks)), num_classes=1))


def test_one_hot_and_multilabel_targets_are_right() -> None:
    images, masks = classes(8)
    one_hot = np.eye(4, dtype="float32")[masks]
    labels = np.stack([masks == 1, masks >= 1, masks == 3], -1).astype("float32")
    assert not findings(Case(batches=batches(images, one_hot), num_classes=4))
    assert not findings(Case(batches=batches(images, labels)))


def test_a_scaled_one_hot_target_is_found() -> None:
    images, masks = classes(8)
    assert "LAB003" in findings(Case(batches=batches(images, np.eye(4, dtype="float32")[masks] * 255), num_classes=4))


@pytest.mark.parametrize("kind", ["jpeg", "resized"])
def test_one_smoothed_mask_among_clean_ones_is_found(kind: str) -> None:
    images, masks = scenes(12)
    masks = masks * np.uint8(255)
    if kind == "jpeg":
        masks[4] = cv2.imdecode(cv2.imencode(".jpg", masks[4])[1], cv2.IMREAD_UNCHANGED)
    else:
        masks[4] = cv2.resize(cv2.resize(masks[4], (45, 45)), (64, 64))
    spec = replace(SPEC, values={0: 0, 255: 1})
    assert findings(Case(pairs=pairs(images, masks), spec=spec))["LAB005"].where == ("scene 4",)


def test_thin_nested_organs_are_no_interpolation() -> None:
    mask = np.zeros((96, 96), np.uint8)
    for radius, class_id in ((22, 2), (20, 3)):  # a ring of class 2, two pixels wide, around class 3
        cv2.circle(mask, (48, 48), radius, class_id, -1)
    cv2.circle(mask, (20, 20), 9, 2, -1)
    assert look(mask).fuzz == 0
    scan = label_census.Scan()
    scan.add(Pair(None, mask, "a", "a"))
    assert not scan.result().ridged


def test_an_instance_mask_is_no_interpolation() -> None:
    mask = np.zeros((128, 128), np.uint16)
    for k, (y, x) in enumerate(np.random.default_rng(0).integers(4, 120, (60, 2)), start=1):
        mask[y : y + 5, x : x + 5] = k
    assert look(mask).fuzz == 0


def test_a_bilinear_resize_of_ids_is_told_from_the_stored_masks() -> None:
    images, masks = classes(8)
    masks = masks * np.uint8(2) * (masks != 2)
    smooth = np.stack([cv2.resize(m.astype("float32"), (128, 128)) for m in masks]).astype("int32")
    large = np.stack([cv2.resize(image, (128, 128)) for image in images])
    case = Case(pairs=pairs(images, masks), batches=batches(large, smooth), num_classes=7)
    assert findings(case)["LAB005"].level == "proven"


@pytest.mark.parametrize("interpolation", [cv2.INTER_NEAREST, cv2.INTER_LINEAR])
def test_ids_turned_with_interpolation_show_rims_between_every_pair(interpolation: int) -> None:
    images, masks = classes(12)
    first, second = (np.where(np.arange(masks.shape[-1]) > middle, masks, 0) for middle in (24, 40))
    masks = 2 * (masks > 0) + (first > 0) + (second > 0)
    middle = (masks.shape[1] / 2, masks.shape[2] / 2)
    turned = [
        cv2.warpAffine(array.astype("float32"), cv2.getRotationMatrix2D(middle, 7, 1), (64, 64), flags=interpolation)
        for array in (*images, *masks)
    ]
    case = Case(batches=batches(np.stack(turned[:12]), np.stack(turned[12:]).round().astype("int32")), num_classes=5)
    found = findings(case).get("LAB005")
    assert (found is not None and found.level == "suspected") == (interpolation == cv2.INTER_LINEAR)


def test_one_picture_for_every_file_in_turn_is_told() -> None:
    images, masks = classes(40)
    few = np.concatenate([images[:4]] * 10)
    found = findings(Case(batches=batches(few, masks)))["DAT004"]
    assert found.level == "proven" and found.measured["different_images"] == 4
    assert "DAT004" not in findings(Case(batches=batches(few, np.concatenate([masks[:4]] * 10))))


def test_ids_begin_at_zero_and_one_was_taken_off() -> None:
    images, masks = classes(12)
    wrapped = (masks.astype("int32") - 1) % 256
    found = findings(Case(batches=batches(images, wrapped), num_classes=int(masks.max()) + 1))
    assert "255" in found["LAB001"].says


def test_a_named_class_without_a_pixel_is_told() -> None:
    images, masks = classes(12)
    masks[masks == 2] = 0
    found = findings(Case(pairs=pairs(images, masks), spec=IDS))["LAB008"]
    assert found.where == ("2 (b)",) and found.certain


def test_many_absent_classes_are_a_note_of_an_excerpt() -> None:
    images, masks = classes(12)
    spec = DatasetSpec("voc", "", tuple(f"c{k}" for k in range(21)), 3, values={k: k for k in range(21)})
    assert findings(Case(pairs=pairs(images, masks), spec=spec))["LAB008"].severity == "note"


def test_a_patient_in_both_splits_is_named() -> None:
    images, masks = scenes(12)
    rows = [replace(pair, group=f"patient {k // 2}") for k, pair in enumerate(pairs(images, masks))]
    splits = {"train": [pair.id for pair in rows[:7]], "val": [pair.id for pair in rows[7:]]}
    found = findings(Case(pairs=rows, spec=replace(SPEC, group_by="patient"), splits=splits))["DAT005"]
    assert found.level == "proven" and found.where[0] == "patient 3"


def test_groups_told_by_the_user_prove_a_leak() -> None:
    assert findings(Case(groups=(["a", "b"], ["b", "c"])))["DAT005"].where == ("b",)


def test_blank_tiles_in_both_splits_are_no_leak() -> None:
    images, masks = scenes(40, size=32)
    images[[1, 35]], masks[[1, 35]] = 0, 0
    assert not findings(Case(pairs=pairs(images, masks, splits=["train"] * 30 + ["val"] * 10), spec=SPEC))


def test_the_same_image_for_every_sample_is_found() -> None:
    images, masks = scenes(8)
    assert findings(Case(batches=batches(images[[0] * 8], masks), num_classes=2))["DAT004"].certain


def test_legitimate_negatives_are_left_alone() -> None:
    images, masks = scenes(40, size=32)
    masks[1:38] = 0
    assert not findings(Case(pairs=pairs(images, masks), spec=SPEC))


def exchange(**fields: Any) -> pair_agreement.Exchange:
    """Two masks that fit each other's images."""
    ring = pair_agreement.Exchange(("a", "b"), ("a", "b"), 0.02, 0.74, gain=0.72, typical=0.7, alike=0.0, size=2)
    return replace(ring, **fields)


CLEAR = pair_agreement.PairAgreement(48, 48, 0.8, 0.0, unit=0.8, spread=0.05, capable=True)


@pytest.mark.parametrize(
    ("masks_met", "level"), [(1.0, "proven"), (0.5, "suspected"), (None, "suspected"), (0.0, None)]
)
def test_samples_that_were_moved_differently_cannot_have_been_exchanged(
    masks_met: float | None, level: str | None
) -> None:
    seen = replace(CLEAR, exchanges=(exchange(),))
    found = image_mask_pair_mismatch.check(
        batch_agreement=seen, drawn_again=drawn_again.DrawnAgain((), False, masks_met)
    )
    assert getattr(found, "level", None) == level


@pytest.mark.parametrize("chance", [{"typical": 0.33}, {"alike": 0.1}, {"own": 0.6}])
def test_one_mask_by_chance_makes_no_ring(chance: dict[str, float]) -> None:
    seen = replace(CLEAR, exchanges=(exchange(**chance),))
    assert not isinstance(image_mask_pair_mismatch.check(pair_agreement=seen), Finding)


def cropped(images: np.ndarray, masks: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A window of 32 of each sample, twice as large and mirrored at random, image and mask alike."""
    random, out = np.random.default_rng(seed), []
    for image, mask in zip(images, masks, strict=True):
        row, column = random.integers(0, image.shape[0] - 32, 2)
        both = [part[row : row + 32, column : column + 32].repeat(2, 0).repeat(2, 1) for part in (image, mask)]
        out.append([part[:, ::-1] for part in both] if random.random() < 0.5 else both)
    return np.stack([image for image, _ in out]), np.stack([mask for _, mask in out])


@pytest.mark.parametrize(("fault", "code"), [("rolled", "DAT001"), ("transposed", "DAT002"), ("none", "")])
def test_what_crops_hide_is_told_by_the_validation_batches(fault: str, code: str) -> None:
    images, masks = scenes(64, seed=8)
    wrong = {"rolled": np.roll(masks, 1, axis=0), "transposed": masks.transpose(0, 2, 1), "none": masks}[fault]
    train = batches(*cropped(images[:40], wrong[:40]))
    found = findings(Case(batches=train, validation_batches=batches(images[40:], wrong[40:]), num_classes=2))
    told = {name: finding for name, finding in found.items() if name in ("DAT001", "DAT002")}
    if not code:
        assert not told
        return
    assert told[code].certain and told[code].says.startswith("In the validation batches, ")


def test_validation_is_not_compared_where_the_training_masks_fit() -> None:
    images, masks = scenes(16)
    with pytest.raises(Unavailable, match="fit their images"):
        validation_agreement.measure(batches(images, masks), CLEAR)


def test_the_second_draw_tells_whether_masks_are_moved() -> None:
    images, masks = scenes(16)

    class Cropped(keras.utils.PyDataset):
        seed, moves = 0, True

        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            self.seed += 1
            rows = slice(4 * index, 4 * index + 4)
            return cropped(images[rows], masks[rows], self.seed) if self.moves else (images[rows], masks[rows])

    still = Cropped()
    still.moves = False
    assert drawn_again.measure(batches(*cropped(images, masks, 99)), {"x": Cropped()}).in_place is False
    assert drawn_again.measure(batches(images, masks), {"x": still}).in_place


def test_what_a_search_over_zooms_finds_by_chance_does_not_hide_one_turn() -> None:
    turns = {"transposed": 15, "transposed along the other diagonal": 10, "rotated by 180°": 5}
    shifts = sample_moves.Search(5.0, 5.0, 0.0, {**turns, "zoomed by 0.6": 10, "zoomed by 2": 8})
    unclear = sample_moves.Search(1.0, 1.0, 0.0, dict.fromkeys(("as given", "transposed"), 24))
    seen = sample_moves.SampleMoves(48, unclear, shifts)
    told = mask_geometry_mismatch.check(batch_agreement=CLEAR, sample_moves=seen)
    assert isinstance(told, Finding) and told.level == "suspected" and "transposed" in told.says
    by_zooms = replace(shifts, moves={"transposed": 5, "zoomed by 0.6": 10, "zoomed by 2": 9})
    assert not isinstance(
        mask_geometry_mismatch.check(batch_agreement=CLEAR, sample_moves=replace(seen, shifts=by_zooms)), Finding
    )


def test_an_exchange_is_no_proof_where_right_pairs_hardly_stand_out_from_chance() -> None:
    ring = exchange()
    tiny = pair_agreement.PairAgreement(48, 48, 0.7, 0.0, unit=0.8, spread=0.2, capable=True, exchanges=(ring,))
    large = replace(tiny, spread=0.05)
    levels = [image_mask_pair_mismatch.check(pair_agreement=found) for found in (tiny, large)]
    assert [found.level for found in levels if isinstance(found, Finding)] == ["suspected", "proven"]


def weak_edges(count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Scenes whose objects hardly differ from what surrounds them."""
    images, masks = scenes(count, seed=11)
    noise = np.random.default_rng(12)
    smooth = np.stack([cv2.GaussianBlur(noise.normal(0, 90, image.shape), (0, 0), 5) for image in images])
    return (images - 72.0 * masks + smooth).astype("float32"), masks


@pytest.mark.parametrize("order", ["rolled", "shuffled"])
def test_weak_edges_prove_a_wrong_order_as_a_whole(order: str) -> None:
    images, masks = weak_edges()
    rows = np.roll(np.arange(40), 1) if order == "rolled" else np.random.default_rng(0).permutation(40)
    found = pair_agreement.Scan()
    for pair in pairs(images, masks[rows]):
        found.add(pair)
    verdict = image_mask_pair_mismatch.check(pair_agreement=found.result())
    assert isinstance(verdict, Finding) and verdict.level == "proven"


def test_masks_that_fit_no_image_prove_no_order() -> None:
    images, _ = weak_edges()
    _, masks = scenes(40, seed=99)
    found = pair_agreement.Scan()
    for pair in pairs(images, masks):
        found.add(pair)
    verdict = image_mask_pair_mismatch.check(pair_agreement=found.result())
    assert not (isinstance(verdict, Finding) and verdict.certain)


def test_arrays_are_compared_by_their_rows() -> None:
    images, masks = scenes(40, size=32, seed=3)
    shifted = np.roll(masks, 1, axis=0)
    case = Case(
        batches=batches(images[::8], shifted[::8]), fit_arguments={"x": images[..., None], "y": shifted}, num_classes=2
    )
    found = findings(case)["DAT001"]
    assert found.certain and found.where[0].startswith("sample ")


@pytest.mark.parametrize(("surprise", "level"), [(2.4, None), (4.0, "suspected"), (9.0, "proven")])
def test_a_moved_mask_must_fit_its_own_image_better_than_others(surprise: float, level: str | None) -> None:
    moved = pair_agreement.Misplaced("a", "transposed", own=0.1, gain=0.9, surprise=surprise)
    seen = pair_agreement.PairAgreement(48, 48, 0.9, 0.0, unit=1.0, spread=0.2, capable=True, misplaced=(moved,))
    assert getattr(mask_geometry_mismatch.check(pair_agreement=seen), "level", None) == level


def test_masks_of_the_middle_are_compared_with_the_middle() -> None:
    images, masks = scenes(32, seed=5)
    assert not findings(Case(batches=batches(images, masks[:, 8:-8, 8:-8]), num_classes=2))


def test_masks_of_the_middle_are_no_moved_ones() -> None:
    images, masks = scenes(32, seed=5)
    seen = sample_moves.measure(batches(images, masks[:, 8:-8, 8:-8]))
    assert seen.turns.moves == {"as given": 32}


def test_weights_packed_beside_masks_are_no_classes() -> None:
    images, masks = scenes(8, seed=5)
    weights = 1 + 4 * (np.arange(64) % 2) * np.ones_like(masks, "float32")
    packed = np.stack([masks, weights], -1)

    def weighted(y_true: Any, y_pred: Any) -> Any:
        return keras.ops.mean(y_true[..., 1:] * keras.ops.binary_crossentropy(y_true[..., :1], y_pred))

    batch = batches(images, packed)[0]
    for loss, planes in ((weighted, 1), ("binary_crossentropy", 2)):
        model = segmenter(1, "sigmoid", size=64)
        model.compile(loss=loss)
        (head,) = heads.measure(model, model.loss, None, [batch])
        found = targets_of(batch, [head])
        assert found is not None
        np.testing.assert_array_equal(found, packed[: len(found), ..., :planes])
    (head,) = heads.measure(model, weighted, None, [batch])
    known, unknown = packed[:4, ..., :1], 1 - packed[:4, ..., :1]
    assert head.loss_name == "weighted"
    assert head.family is None
    for mask, weight in ((known, packed[:4, ..., 1:]), (unknown, np.full_like(known, packed[..., 1].mean()))):
        right = weighted(np.concatenate([mask, weight], -1), np.full_like(mask, 0.3))
        assert ask_loss(head.loss, mask, np.full_like(mask, 0.3)) == pytest.approx(float(right), rel=1e-5)


def test_a_class_that_is_ignored_is_not_missed() -> None:
    images, masks = scenes(8, seed=5)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=2)
    model = segmenter(3, size=64)
    for ignored in (None, 2):
        case = Case(
            model=model,
            loss=loss if ignored else None,
            batches=batches(images, masks),
            num_samples=8,
            ignore_class=ignored,
        )
        assert ("LAB008" in findings(case)) is (ignored is None)
