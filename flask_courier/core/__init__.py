"""Decisions without effects: values in (``now`` among them), values out."""
