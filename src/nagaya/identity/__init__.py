"""Who people and machines are: users, service accounts, sessions, devices, API keys."""
