"""Names of classes: the published ones, and how names are compared."""

import hashlib

import pytest

from nonlocal_tf import convert
from nonlocal_tf.data import class_names
from nonlocal_tf.errors import UserError


@pytest.mark.parametrize("name, count, sha256", [
    ("kinetics400", 400,
     "5fadbe2d1fcb0b5f6cb98de4f2231810c2a8262f8b79f0bc5fc4c363dd140623"),
    ("ucf101", 101,
     "ba5efe3c836f22f509531832bfbf1427af4b235bfffcb5a92309f60cb7cfd6ca")])
def test_published_names_are_in_their_order(name, count, sha256):
    names = class_names.named(name)
    assert len(names) == count
    assert hashlib.sha256("\n".join(map(
        class_names.normalised, names)).encode()).hexdigest() == sha256


def test_landmarks():
    kinetics, ucf = map(class_names.named, ("kinetics400", "ucf101"))
    assert [kinetics[index] for index in (5, 227, 308, 346, 399)] == [
        "archery", "playing cricket", "skiing (not slalom or crosscountry)",
        "tai chi", "zumba"]
    assert [ucf[index] for index in (0, 20, 34, 35, 100)] == [
        "ApplyEyeMakeup", "CleanAndJerk", "Hammering", "HammerThrow", "YoYo"]


@pytest.mark.parametrize("text, names", [
    ("b\n\n a c \r\n", ("b", "a c")),
    ("\ufeff1 b\n2 a c\n", ("b", "a c")),
    ("1 a\n0 b\n", ("b", "a")),
    ("3 point shot\n10 pin bowling\n", ("3 point shot", "10 pin bowling"))])
def test_a_file_of_names(tmp_path, text, names):
    (tmp_path / "names.txt").write_bytes(text.encode("utf-8"))
    assert class_names.named(str(tmp_path / "names.txt")) == names


def test_what_is_no_file_of_names(tmp_path):
    with pytest.raises(UserError, match="must be kinetics400, ucf101 or a te"):
        class_names.named("kinetics")
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(UserError, match="one name a line; '.*' is empty"):
        class_names.named(str(tmp_path / "empty"))


@pytest.mark.parametrize("name, index", [
    ("skiing (not slalom or crosscountry)", 308),
    ("skiing_not_slalom_or_crosscountry", 308),
    ("SkiingNotSlalomOrCrosscountry", 308), ('"tai chi"', 346),
    ("massaging person_s head", 196), ("skiing", None)])
def test_names_are_known_however_they_are_spelt(name, index):
    assert class_names.indices(
        [name], class_names.named("kinetics400")) == [index]


def test_a_name_that_is_there_as_it_is_goes_before_a_like_one():
    assert class_names.indices(
        ["c++", "c", "C", "a b"], ["c", "c++", "ab", "a-b"]) == [
            1, 0, None, None]


@pytest.mark.parametrize("names, is_so", [
    (["b", "A", "c"], True), (["a", "b", "c"], False), (["b", "a"], False)])
def test_the_same_names_in_another_order(names, is_so):
    assert class_names.in_another_order(names, ["a", "b", "c"]) == is_so


def test_convert_takes_a_set_by_its_name():
    assert convert.class_names("ucf101", 101, "paddle")[100] == "YoYo"
    with pytest.raises(UserError, match="400 names, .* 'ucf101' has 101"):
        convert.class_names("ucf101", 400, "paddle")
    assert convert.class_names("", 400, "paddle")[399] == "zumba"
    assert convert.class_names("", 20, "paddle") is None
