"""The config groups of memcap, as package data: installed as ``memcap.conf``."""
