"""Words that people use for normal and for anomalous, in folder names and in tables."""

from __future__ import annotations

import re
import unicodedata

NORMAL = (
    "good",
    "ok",
    "okay",
    "normal",
    "negative",
    "healthy",
    "free",
    "no_defect",
    "no_defects",
    "non_defect",
    "non_defective",
    "not_defective",
    "without_defect",
    "without_defects",
    "defect_free",
    "fault_free",
    "no_anomaly",
    "non_anomalous",
    "intact",
    "undamaged",
    "pass",
    "passed",
)
ANOMALOUS = (
    "bad",
    "ng",
    "no_good",
    "not_good",
    "nok",
    "not_ok",
    "ko",
    "defect",
    "defects",
    "defective",
    "faulty",
    "anomaly",
    "anomalies",
    "anomalous",
    "abnormal",
    "not_normal",
    "positive",
    "unhealthy",
    "fail",
    "failed",
)
# Words that are as well a number or a name.
SHORT_NORMAL = ("0", "no", "false")
SHORT_ANOMALOUS = ("1", "yes", "true")


def normalise_word(text: str) -> str:
    """Return a word without case, spaces, hyphens, underscores and typographic variants.

    >>> normalise_word("No-Defect") == normalise_word("no defect") == normalise_word("NO_DEFECT")
    True
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"[\s_\-\u2010-\u2015]+", "", plain)


def read_label(text: str) -> bool | None:
    """Return whether a label of a table means anomalous; ``None`` where it is unknown."""
    label = normalise_word(text).removesuffix(".0")
    return _LABELS.get(label)


_LABELS = dict.fromkeys(map(normalise_word, (*NORMAL, *SHORT_NORMAL)), False) | dict.fromkeys(
    map(normalise_word, (*ANOMALOUS, *SHORT_ANOMALOUS)), True
)
