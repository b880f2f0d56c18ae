"""An attempt in the world: its directory and files, how it is detached or put into tmux, and what removes all that."""
