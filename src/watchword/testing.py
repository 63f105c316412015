"""The pytest plugin: a server in memory, a clock to move, a signed-in client."""
