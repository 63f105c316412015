"""Protects the routes of an app; works without the server."""
