"""From a claim to an SMTP reply: prepare, render, compose, send, record."""
