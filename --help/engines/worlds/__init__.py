"""Worlds: data that is made from seeds, never downloaded, with exact answers where mathematics allows."""
