"""The process that ends what is over a limit: of time, memory, silence or output; and that suspends jobs."""
