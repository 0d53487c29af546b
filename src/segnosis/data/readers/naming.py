"""What names mean: roles (image, mask), splits, the key two files of a pair share, and the group a name tells."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

# fmt: off
IMAGE_WORDS = frozenset({
    "image", "images", "img", "imgs", "im", "imgraw", "input", "inputs", "original", "originals", "orig", "raw",
    "photo", "photos", "picture", "pictures", "rgb", "jpeg", "jpegs", "still", "stills", "frame", "frames", "scan",
    "scans", "sat", "satellite", "volume", "volumes", "vol", "imaging", "x", "leftimg", "bit",
})
# fmt: on
# fmt: off
MASK_WORDS = frozenset({
    "mask", "masks", "label", "labels", "labeled", "labelled", "labelmap", "gt", "gts", "groundtruth", "truth",
    "ground", "annotation", "annotations", "annot", "annots", "anno", "annos", "seg", "segs", "segm", "segment",
    "segmentation", "segmentations", "target", "targets", "manual", "trimap", "trimaps", "matte", "mattes",
    "labelids", "labeltrainids", "y", "ho", "l", "p",
})
# fmt: on
# One or two letters mean a mask behind a name (`0001_L.png`), never as a folder or in front.
_ONLY_BEHIND = {"l", "p", "ho", "ground", "y", "x", "bit", "vol", "frame", "scan"}
_SPLITS = {
    "train": "train", "training": "train", "tr": "train", "trn": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val", "vali": "val",
    "test": "test", "testing": "test", "ts": "test", "tst": "test",
}  # fmt: skip
# Words that come with a role: `leftImg8bit`, `gtFine`, `1st_manual`, `SegmentationClass`, `masks_png`.
_FILLERS = {"left", "8", "bit", "fine", "coarse", "1", "st", "2", "nd", "full", "class", "png", "jpg", "tif"}
# Masks of something else than the wanted classes, or drawn to be looked at: never chosen while another fits.
# fmt: off
DEMOTED = frozenset({
    "color", "colour", "colors", "colours", "colored", "coloured", "instance", "instances", "instanceids", "vis",
    "visual", "visualization", "overlay", "overlays", "boundary", "boundaries", "edge", "edges", "contour",
    "contours", "skeleton", "fov", "border", "borders", "object", "preview", "depth", "weight", "weights", "distance",
    "human", "prediction", "predictions", "pred", "preds", "polygons",
})
# fmt: on
_PREFERRED = ("manual", "groundtruth", "truth", "gt", "annotation", "annotations", "labelids", "label", "labels")
_GROUP_WORDS = r"patient|pat|subject|subj|sub|case|person|volunteer|volume|vol|study|slide|video|vid|sequence|seq|scene"
_GROUP = re.compile(rf"(?:^|[_\-. /])((?:{_GROUP_WORDS})[_\- ]?[a-z]{{0,3}}\d+[a-z]?)(?![a-z0-9])", re.I)
_PREFIX = re.compile(r"^(.*?\d.*?)(?:[_\- .](?:x|y|z|s|f|t|slice|frame|tile|patch|crop|img|r|c)?[_\-]?\d{1,4})+$", re.I)
_NUMBER, _LONG_NUMBER = re.compile(r"[0-9]{1,18}"), re.compile(r"\d\d+")
_OF_ROLES = MASK_WORDS | IMAGE_WORDS
_BEFORE = _OF_ROLES - _ONLY_BEHIND
_VOLUME_TAIL = re.compile(
    r"(?:[_\-. ](?:ed|es|sa|la|sax|lax|4d|3d|cine|lge|t\d+|0000|(?:frame|slice|phase|time)[_\-]?\d+))+$",
    re.I,
)


def natural(name: str) -> str:
    """Sort key that puts 2 before 10, and numbers before letters: a number becomes its count of digits and these.

    Example:
        >>> sorted(["b10", "b2", "a"], key=natural)
        ['a', 'b2', 'b10']
    """
    return _NUMBER.sub(_counted, name)


def _counted(number: re.Match[str]) -> str:
    digits = number[0].lstrip("0")
    return f"\0{chr(len(digits))}{digits}"


def tokens(name: str) -> list[str]:
    """Words of a name, lower case: at signs, spaces, camel case and between letters and digits.

    Example:
        >>> tokens("ISIC2018_Task1_Training_GroundTruth")
        ['isic', '2018', 'task', '1', 'training', 'groundtruth']
    """
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+", name)
    out: list[str] = []
    for word in map(str.lower, words):
        if word == "truth" and out and out[-1] == "ground":
            out[-1] = "groundtruth"
        elif word == "ids" and out and out[-1] in ("label", "instance", "train"):
            out[-1] = "labelids" if out[-1] != "instance" else "instanceids"
        else:
            out.append(word)
    return out


@lru_cache(maxsize=65536)
def role_of_folder(name: str) -> str | None:
    """`"mask"`, `"image"` or `None` for one folder name; a folder named for both holds masks."""
    words = _split_glued(tokens(name))
    if name.lower() in ("x", "y"):
        return "image" if name.lower() == "x" else "mask"
    if any(word in MASK_WORDS and word not in _ONLY_BEHIND for word in words):
        return "mask"
    if any(word in IMAGE_WORDS and word not in _ONLY_BEHIND for word in words):
        return "image"
    return None


@lru_cache(maxsize=65536)
def split_of_folder(name: str) -> str | None:
    """The split a folder name stands for, if any.

    Example:
        >>> split_of_folder("training"), split_of_folder("train_masks"), split_of_folder("street")
        ('train', 'train', None)
    """
    for word in _split_glued(tokens(name)):
        if word in _SPLITS and (len(word) > 2 or role_of_folder(name)):  # `imagesTr`, but not `BraTS20`
            return _SPLITS[word]
        year = re.fullmatch(r"([a-z]+)\d{4}", word)
        if year and year[1] in _SPLITS:
            return _SPLITS[year[1]]
    return None


@lru_cache(maxsize=65536)
def base_of_folder(path: str) -> str:
    """A folder's path without the words for image and mask: equal for the two folders of a pair."""
    parts = []
    for part in path.split("/"):
        words = _split_glued(tokens(part))
        if role_of_folder(part):
            words = [word for word in words if word not in _BEFORE and word not in _FILLERS]
            words = [] if words in (["x"], ["y"]) else words
        parts.append("_".join(words))
    return "/".join(parts)


def preference(path: str) -> int:
    """How much a folder or file of masks looks like the wanted one; higher is better.

    Example:
        >>> preference("1st_manual") > preference("mask") > preference("mask_color")
        True
    """
    return _preference(_LONG_NUMBER.sub("00", path))  # of which there are few, however many files


@lru_cache(maxsize=65536)
def _preference(path: str) -> int:
    words = set(_split_glued(tokens(path.replace("/", "_"))))
    return 2 * bool(words & set(_PREFERRED)) - 10 * bool(words & DEMOTED) - ("2" in words and "nd" in words)


def key_of(stem: str) -> tuple[str, str | None]:
    """The name that image and mask of a pair share, and the role that the rest of the name tells.

    Example:
        >>> key_of("img_007"), key_of("007_mask"), key_of("segmentation-7")
        (('007', 'image'), ('007', 'mask'), ('7', 'mask'))
        >>> key_of("street 3")
        ('street 3', None)
    """
    role: str | None = None
    parts = re.split(r"([_\-. ]+)", stem)
    glued = re.fullmatch(r"([A-Za-z]+)(\d.*)", parts[0])
    if glued and glued[1].lower() in _BEFORE:
        parts[:1] = [glued[1], "", glued[2]]

    while len(parts) > 2:
        last = None if parts[-1].isdecimal() else _meaning(parts[-1], True)
        first = None if parts[0].isdecimal() else _meaning(parts[0], False)
        numbered = len(parts) > 4 and parts[-1].isdecimal() and _meaning(parts[-3], True) == "mask"
        if numbered:  # `case (1)_mask_2`: one of several masks of an image
            parts, role = parts[:-4], "mask"
        elif last and not parts[-1].isdecimal():
            parts, role = parts[:-2], _stronger(role, last)
        elif first and not parts[0].isdecimal():
            parts, role = parts[2:], _stronger(role, first)
        elif parts[-1].lower() in _SPLITS:  # `21_training`, `21_manual1`
            parts = parts[:-2]
        else:
            break
    words = tokens(parts[0]) if len(parts) == 1 and not parts[0].isdecimal() else []
    if words and _OF_ROLES.issuperset(words):
        role = "mask" if all(word in MASK_WORDS for word in words) else "image"
        return "", role  # the whole name is its role: `imaging.nii.gz`, `segmentation.nii.gz`
    return "".join(parts), role


def volume_group(stem: str) -> str:
    """The patient in a volume's name: the name without phase, frame and view.

    Example:
        >>> volume_group("better_G1K1V3_sa_ED"), volume_group("patient001_frame01")
        ('better_G1K1V3', 'patient001')
    """
    named = _GROUP.search(stem)
    return named[1] if named else (_VOLUME_TAIL.sub("", stem) or stem)


def groups_of(ids: Sequence[str], folders: Iterable[str]) -> tuple[list[str], str | None]:
    """Group of each image and what a group is: told by a word (`patient3_07`), a folder, or the name before a number.

    Only told when it makes a difference and leaves something to split: several groups, and images that share one.
    """
    names = [name.rsplit("/", 1)[-1] for name in ids]
    words = [match[1].lower() if (match := _GROUP.search(name)) else "" for name in ids]
    if all(words) and _worth(words, 2):
        kind = re.match(r"[a-z]+", words[0])
        return words, {"pat": "patient", "sub": "subject", "subj": "subject", "vid": "video", "seq": "sequence"}.get(
            kind[0] if kind else "", kind[0] if kind else "name"
        )
    places = list(folders)
    distinct = {place for place in places if place}
    if len(places) == len(ids) and all(places) and _worth(places, 2):
        numbered = sum(any(char.isdigit() for char in place) for place in distinct)
        if numbered == len(distinct) or len(distinct) >= 10:
            return places, "folder"
    prefixes = [match[1] if (match := _PREFIX.match(name)) else name for name in names]
    if _worth(prefixes, 5) and len(set(prefixes)) <= len(ids) / 2:
        return prefixes, "the name before the number"
    return list(ids), None


@lru_cache(maxsize=65536)
def _meaning(part: str, behind: bool) -> str | None:
    """Role that one part of a file name tells, at its end (`behind`) or its start."""
    if part.isdecimal():
        return None
    words = [word for word in tokens(part) if not word.isdecimal() and word not in ("st", "nd", "fine", "left", "bit")]
    if not words or len(words) > 2 or (not behind and words[0] in _ONLY_BEHIND):
        return None
    if len(words[0]) == 1 and part not in ("L", "P"):
        return None  # `_L` and `_P` are habits; `_l` may be left, `07L` a left eye
    if all(word in MASK_WORDS or word in DEMOTED for word in words):
        return "mask" if any(word in MASK_WORDS for word in words) else None
    numbered = (
        any(char.isdigit() for char in part) and part.lower() != "leftimg8bit"
    )  # `frame01` tells two images apart
    return "image" if all(word in IMAGE_WORDS for word in words) and not numbered else None


def _worth(groups: Sequence[str], least: int) -> bool:
    counts = Counter(groups)
    return len(counts) >= least and len(counts) < len(groups)


def _stronger(old: str | None, new: str) -> str:
    return "mask" if "mask" in (old, new) else new


def _split_glued(words: list[str]) -> list[str]:
    """`trainannot` → `train`, `annot`."""
    out = []
    for word in words:
        for split in ("train", "test", "val"):
            rest = word.removeprefix(split)
            if rest != word and rest in _OF_ROLES:
                out += [split, rest]
                break
        else:
            out.append(word)
    return out
