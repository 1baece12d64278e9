"""Sets for zero-shot evaluation as they are written on the command line."""

import pytest

from vita_clip_hf.training.zero_shot_source import ZeroShotSource, parse_zero_shot_source, parse_zero_shot_sources


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("ucf101=list.txt", ZeroShotSource("ucf101", "list.txt")),
        ("u=l.txt,root=/v,classes=c.txt", ZeroShotSource("u", "l.txt", root="/v", classes="c.txt")),
        ("u=a=b.txt", ZeroShotSource("u", "a=b.txt")),
        ("u=a, b.txt,root=c,d", ZeroShotSource("u", "a, b.txt", root="c,d")),
        ('u="a,root=b.txt",root=c', ZeroShotSource("u", "a,root=b.txt", root="c")),
        ("u=l,class_texts=contexts", ZeroShotSource("u", "l", class_texts="contexts")),
        ('u=l,root="x,split=y"', ZeroShotSource("u", "l", root="x,split=y")),
        (
            "u=l,format=ucf101,split=test2,sampling=dense,sampling_stride=4",
            ZeroShotSource("u", "l", format="ucf101", split="test2", sampling="dense", sampling_stride=4),
        ),
    ],
)
def test_a_set_has_its_own_root_classes_and_sampling(entry, expected):
    assert parse_zero_shot_source(entry) == expected


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("ucf", "NAME=LIST"),
        ("u=l,class_texts=words", "class_texts of 'u' is 'words'; expected one of own, contexts, templates"),
        ("ucf=", "has no list"),
        ("=list.txt", "is no name of a set"),
        ("a b=list.txt", "is no name of a set"),
        ("u=l,rooot=x", "is 'root' meant"),
        ("u=l,root=", "with a value"),
        ("u=l,root=x,root=y", "'root=y'"),
        ("u=l,sampling=dnese", "dense, tsn, uniform"),
        ("u=l,sampling_stride=auto", "expected a whole number"),
        ("u=l,sampling_stride=0", "expected at least 1"),
        ('u="l', "Quotes must be closed"),
        ("u=a,b=c.txt", "must be in double quotes"),
    ],
)
def test_an_entry_of_another_form_is_named(entry, message):
    with pytest.raises(ValueError, match=f"(eval_zero_shot|sampling must be).*{message}"):
        parse_zero_shot_source(entry)


def test_two_sets_of_one_name_are_an_error():
    with pytest.raises(ValueError, match="several sets called a"):
        parse_zero_shot_sources(["a=x", "b=y", "a=z"])
