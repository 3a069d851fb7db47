"""The demo: Harbour, its worker and a mail server, and a journey through all three."""
