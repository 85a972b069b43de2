"""Who may use the gateway: API keys, JSON Web Tokens, one-time tickets.

`gate.py` is where they come together; `middleware.py` puts it before every route. The checks (keys, claims, tickets,
credentials) are pure: the time is handed in.
"""
