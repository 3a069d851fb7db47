"""Benchmarks: figures as ratios, each beside its peers in one run. ``make bench`` starts them."""
