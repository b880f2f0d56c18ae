"""Jobs as users see them: selection, state, dependencies, the history behind the queue. Prints nothing."""
