"""The few places where gflow touches the world: tmux, processes, GPUs, the doorbell. One module each."""
