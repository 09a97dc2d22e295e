"""Server-rendered pages: set-up, sign-in, device approval, organizations and tenants."""
