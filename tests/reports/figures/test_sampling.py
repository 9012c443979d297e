"""A few images stand for all: no kind left out, nothing bunched at the beginning."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsad.reports.figures.sampling import representative_samples
from zsad.types import Sample


def samples_of(kinds, category="tile"):
    """Samples in the order of an index, which groups them by kind."""
    return [
        Sample(
            Path(f"{category}/{kind}/{i}.png"), None, category, kind, is_anomalous=kind != "good"
        )
        for kind, count in kinds.items()
        for i in range(count)
    ]


def counted(samples):
    return dict(Counter(sample.defect for sample in samples))


@pytest.mark.parametrize(
    ("per_label", "expected"),
    [
        (10, {"good": 10, "blowhole": 2, "break": 2, "crack": 2, "fray": 2, "uneven": 2}),
        (3, {"good": 3, "blowhole": 1, "break": 1, "crack": 1}),
        (0, {}),
    ],
)
def test_kinds_of_defect_take_turns(per_label, expected):
    samples = samples_of(
        {"good": 952, "blowhole": 115, "break": 85, "crack": 57, "fray": 32, "uneven": 103}
    )
    assert counted(representative_samples(samples, per_label)) == expected


def test_what_a_rare_kind_lacks_the_others_give():
    assert counted(
        representative_samples(samples_of({"good": 2, "rare": 1, "often": 50, "common": 50}), 9)
    ) == {"good": 2, "rare": 1, "often": 4, "common": 4}


def test_within_a_kind_the_samples_are_evenly_spaced():
    chosen = representative_samples(samples_of({"crack": 100}), 4)
    assert [int(sample.image_path.stem) for sample in chosen] == [12, 37, 62, 87]


@given(
    counts=st.dictionaries(
        st.tuples(st.sampled_from("ab"), st.sampled_from(["good", "x", "y", "z"])),
        st.integers(0, 30),
    ),
    per_label=st.integers(0, 40),
)
def test_each_label_gives_all_it_has_up_to_the_limit(counts, per_label):
    """Of each category, and no sample twice."""
    samples = [
        sample
        for (category, kind), n in counts.items()
        for sample in samples_of({kind: n}, category)
    ]
    chosen = representative_samples(samples, per_label)
    there, taken = (
        Counter((s.category, s.is_anomalous) for s in some) for some in (samples, chosen)
    )
    assert taken == {key: min(count, per_label) for key, count in there.items() if per_label}
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= set(samples)
