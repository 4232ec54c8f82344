"""Where lanes, pending events and versions are kept: the ports, a double and Redis.

Imports nothing: `models.stores.redis` alone may import redis.
"""
