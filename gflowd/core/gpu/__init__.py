"""GPUs as values: device, inventory, states, faults, topology, allocation. Calls no driver."""
