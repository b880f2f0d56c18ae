"""gflowd as a service of systemd: the text of its units, and what systemd is asked. Installs nothing by itself."""
