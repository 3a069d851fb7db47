"""What a flow means, both halves of it: the request's and the worker's."""
