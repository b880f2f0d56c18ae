"""GPU drivers: NVML and simulated, the PCI bus, claims between daemons. Decides nothing."""
