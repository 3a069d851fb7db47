"""Whether two series measured side by side could come from one distribution."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence


def likelihood(one: Sequence[float], other: Sequence[float]) -> float:
    """How likely values that are alike differ as these pairs do (two-sided p).

    Wilcoxon's signed-rank test, by the normal approximation with the correction for ties (Wilcoxon
    1945; Lehmann, Nonparametrics, section 3.2), good from some 20 pairs on. The two values of a
    pair are measured one right after the other, so that a machine which is slow for a while is slow
    for both; and it looks at the order of the differences, so a few slow values hide nothing.
    """
    differences = [a - b for a, b in zip(one, other, strict=True) if a != b]
    count = len(differences)
    if count == 0:
        return 1.0
    shares = Counter(map(abs, differences))
    ranks: dict[float, float] = {}
    before = 0
    for size in sorted(shares):
        ranks[size] = before + (shares[size] + 1) / 2
        before += shares[size]
    greater = sum(ranks[abs(difference)] for difference in differences if difference > 0)
    ties = sum(share**3 - share for share in shares.values()) / 48
    variance = count * (count + 1) * (2 * count + 1) / 24 - ties
    return math.erfc(abs(greater - count * (count + 1) / 4) / math.sqrt(2 * variance))
