"""The delivery log: what support staff read to learn why a mail did not arrive."""
