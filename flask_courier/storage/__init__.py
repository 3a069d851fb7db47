"""All SQL, and the only writer of a message's status."""
