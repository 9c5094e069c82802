"""Films: a show, or a performance of it, with another clock and a file for a sink; and what a running wall records of itself."""
