"""Watchword as an app would mount it, for the benchmark."""
