"""What the kernel says of processes, their control groups, the machine and its clocks, and signals to processes."""
