"""Who is told of what, in which words, and when again. Pure: events and times go in, values come out; sends nothing."""
