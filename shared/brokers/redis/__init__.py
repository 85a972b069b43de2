"""The broker for many machines: the transitions of `shared.brokers.state` as Lua scripts in a Redis or Valkey server.

`lua/` holds the scripts, `scripts.py` puts them together, `calls.py` says what goes in and out, `address.py` what the
URL names, `wire.py` is one connection and `link.py` a process's way to the server over two of them.
"""
