"""gflow for agents: an MCP server over standard input and output, which acts through `gflowctl.api` alone."""
